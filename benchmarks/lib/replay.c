/* replay FILE TIMES REQUESTS: takes the bytes of a file so many times; each time so many requests must end. */
#include <stdio.h>
#include <stdlib.h>

long replay(const unsigned char *data, size_t size, long times);

int main(int count, char **arguments)
{
    static unsigned char data[1 << 16];
    FILE *file = count == 4 ? fopen(arguments[1], "rb") : NULL;
    if (!file)
        return 2;
    size_t size = fread(data, 1, sizeof data, file);
    long times = atol(arguments[2]);
    return replay(data, size, times) == times * atol(arguments[3]) ? 0 : 1;
}
