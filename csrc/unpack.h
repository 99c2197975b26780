/* Constant data of the static program, which its file has packed: text, most of it, and half as long that way.
 *
 * setup.py packs the compiler's section of constants (RFC 1951) and leaves its place empty; this fills it in at the
 * start, in less than a tenth of a millisecond, and lets nobody write there again. Until then no constant data can be used, but what is marked UNPACKED. */
#ifndef YINYANG_UNPACK_H
#define YINYANG_UNPACK_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define UNPACKED __attribute__((section(".rodata.unpacked")))

extern const uint8_t packed[] __attribute__((visibility("hidden")));

/* The place, which begins with a page, and with which what can be written ends; the linker says where it is. */
extern uint8_t __start_constants[] __attribute__((visibility("hidden")));
extern uint8_t __stop_constants[] __attribute__((visibility("hidden")));

enum { CODE_LENGTHS = 19, LITERALS = 288, DISTANCES = 32, LONGEST = 15, END_OF_BLOCK = 256 };
enum { AS_IT_IS, FIXED_CODES }; /* kinds of blocks, beside those with codes of their own */

struct packed_bits { /* a stream of bits, the lowest of each byte first */
    const uint8_t *from;
    unsigned int at;
};

struct packed_code { /* of Huffman: its symbols, those of the shortest codes first */
    uint16_t counts[LONGEST + 1]; /* of the codes of each length */
    uint16_t symbols[LITERALS + DISTANCES];
};

/* At least the next 25 bits. */
static inline unsigned int bits_ahead(const struct packed_bits *bits)
{
    unsigned int ahead;
    memcpy(&ahead, bits->from + bits->at / 8, sizeof ahead);
    return ahead >> bits->at % 8;
}

static unsigned int bits_take(struct packed_bits *bits, unsigned int count)
{
    unsigned int value = bits_ahead(bits) & ~(~0U << count);
    bits->at += count;
    return value;
}

/* A code is known by the length of each symbol's. */
static void code_make(struct packed_code *code, const uint8_t *lengths, int symbols)
{
    uint16_t *end = code->symbols;
    for (int length = 1; length <= LONGEST; length++) {
        const uint16_t *first = end;
        for (int symbol = 0; symbol < symbols; symbol++)
            if (lengths[symbol] == length)
                *end++ = (uint16_t)symbol;
        code->counts[length] = (uint16_t)(end - first);
    }
}

static unsigned int code_take(const struct packed_code *code, struct packed_bits *bits)
{
    const uint16_t *counts = code->counts, *end = code->symbols;
    unsigned int ahead = bits_ahead(bits);
    int place = 0; /* among the codes that are as long as what is taken, from their end on */
    do {
        place = place * 2 + (int)(ahead & 1);
        ahead >>= 1;
        bits->at++;
        end += *++counts;
        place -= *counts;
    } while (place >= 0);
    return end[place];
}

/* A length or distance: a symbol for its highest bits, 1 + `precise` of them, and the others as they are. */
static unsigned int number_take(struct packed_bits *bits, unsigned int symbol, unsigned int precise)
{
    unsigned int more = symbol >> precise;
    if (more-- < 2)
        return symbol;
    return (((symbol & ~(~0U << precise)) | 1U << precise) << more) + bits_take(bits, more);
}

static void lengths_take(struct packed_bits *bits, uint8_t *lengths, int count, struct packed_code *code)
{
    for (const uint8_t *end = lengths + count; lengths < end;) {
        unsigned int symbol = code_take(code, bits), times = 1;
        uint8_t length = 0;
        if (symbol < 16)
            length = (uint8_t)symbol;
        else if (symbol == 16)
            length = lengths[-1], times = 3 + bits_take(bits, 2);
        else
            times = symbol == 17 ? 3 + bits_take(bits, 3) : 11 + bits_take(bits, 7);
        while (times--)
            *lengths++ = length;
    }
}

/* The lengths of the codes of a block, those of the distances behind those of the literals; how many of the latter. */
static inline int block_lengths(struct packed_bits *bits, int is_fixed, uint8_t *lengths)
{
    static const uint8_t order[CODE_LENGTHS] UNPACKED = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    struct packed_code code;
    int literals, count, order_count;
    if (is_fixed) {
        for (int i = 0; i < LITERALS + DISTANCES; i++)
            lengths[i] = i < 144 ? 8 : i < END_OF_BLOCK ? 9 : i < 280 ? 7 : i < LITERALS ? 8 : 5;
        return LITERALS;
    }
    literals = 257 + (int)bits_take(bits, 5);
    count = literals + 1 + (int)bits_take(bits, 5);
    order_count = 4 + (int)bits_take(bits, 4);
    for (int i = 0; i < order_count; i++)
        lengths[order[i]] = (uint8_t)bits_take(bits, 3);
    code_make(&code, lengths, CODE_LENGTHS);
    lengths_take(bits, lengths, count, &code);
    return literals;
}

/* A block; where the next one puts its bytes. */
static inline uint8_t *block_unpack(struct packed_bits *bits, uint8_t *to)
{
    struct packed_code literals, distances;
    uint8_t lengths[LITERALS + DISTANCES] = {0};
    int literal_count;
    unsigned int kind = bits_take(bits, 3) >> 1;
    if (kind == AS_IT_IS) {
        unsigned int length;
        bits->at = (bits->at + 7) & ~7U;
        length = bits_take(bits, 16);
        bits->at += 16;
        while (length--)
            *to++ = (uint8_t)bits_take(bits, 8);
        return to;
    }
    literal_count = block_lengths(bits, kind == FIXED_CODES, lengths);
    code_make(&literals, lengths, literal_count);
    code_make(&distances, lengths + literal_count, DISTANCES);
    for (;;) {
        unsigned int symbol = code_take(&literals, bits), length;
        const uint8_t *from;
        if (symbol < END_OF_BLOCK) {
            *to++ = (uint8_t)symbol;
            continue;
        }
        if (symbol == END_OF_BLOCK)
            return to;
        length = symbol == 285 ? 258 : 3 + number_take(bits, symbol - 257, 2);
        from = to - 1 - number_take(bits, code_take(&distances, bits), 1);
        while (length--)
            *to++ = *from++;
    }
}

static inline void constants_unpack(void)
{
    struct packed_bits bits = {packed, 0};
    uint8_t *to = __start_constants;
    while (to < __stop_constants)
        to = block_unpack(&bits, to);
    mprotect(__start_constants, (size_t)(__stop_constants - __start_constants), PROT_READ);
}

#endif
