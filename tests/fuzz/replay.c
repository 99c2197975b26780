/* Gives a fuzz target the files that are named, where there is no libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **paths)
{
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "rb");
        uint8_t *data = malloc(1 << 20);
        size_t size;
        if (!file || !data) {
            fprintf(stderr, "cannot read %s\n", paths[i]);
            return 1;
        }
        size = fread(data, 1, 1 << 20, file);
        fprintf(stderr, "%s\n", paths[i]);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        fclose(file);
    }
    return 0;
}
