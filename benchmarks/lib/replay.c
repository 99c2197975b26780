/* replay FILE TIMES REQUESTS: parses the bytes of a file so many times; each time so many requests must end. */
#include <stdio.h>
#include <stdlib.h>

long replay(const unsigned char *data, size_t size, long times);

/* where setup.py has the compiler use a global one; with -fwhole-program, what only the compiler uses would be dropped */
__attribute__((used, externally_visible)) unsigned long __stack_chk_guard = 0x2a2a2a2a;

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
