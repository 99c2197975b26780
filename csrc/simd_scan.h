/* Scans over runs of bytes: 16 at a time where each CPU of the architecture can do that (SSE2 on x86-64, NEON on 64-bit
 * ARM), else one at a time. Both ways use the same expression for a class of bytes: GCC and clang apply an operator to
 * each byte of a vector, and a comparison is 255 or 0 for each. */
#ifndef YINYANG_SIMD_SCAN_H
#define YINYANG_SIMD_SCAN_H

#include "http_chars.h"

#if defined(YINYANG_NO_SIMD)
/* for tests of what other architectures do */
#elif defined(__SSE2__)
#include <emmintrin.h>
#define SCAN_BLOCKS
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#define SCAN_BLOCKS
#endif

enum { BLOCK = 16 };

/* field-value, RFC 9110 section 5.5: visible bytes, SP, HTAB and obs-text; no other control byte, no DEL. */
#define IN_VALUE(byte) ((((byte) > 0x1f) & ((byte) != 0x7f)) | ((byte) == '\t'))

static inline int byte_in_value(unsigned char byte)
{
    return IN_VALUE(byte);
}

/* Letters and `-`: nearly all bytes of field names. */
#define IN_NAME(byte, letter) \
    (((letter) < 26) | ((byte) == '-')) /* letter: its position in the alphabet, if it is one */

static inline int byte_in_name(unsigned char byte)
{
    unsigned char letter = (unsigned char)((byte | 0x20) - 'a');
    return IN_NAME(byte, letter);
}

#ifdef SCAN_BLOCKS
typedef unsigned char Block __attribute__((vector_size(BLOCK)));

static inline Block block_at(const unsigned char *pos)
{
    Block block;
    __builtin_memcpy(&block, pos, BLOCK);
    return block;
}

/* The number of bytes that are 255 before the first that is 0, without the first `before` bytes, of which there are
 * less than 16. */
static inline int block_run(Block block, int before)
{
#ifdef __SSE2__
    return __builtin_ctz(~((unsigned int)_mm_movemask_epi8((__m128i)block) >> before));
#else /* there is no such instruction; this one narrows each byte to 4 bits of a number */
    unsigned long bits = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16((uint16x8_t)block, 4)), 0);
    return ~bits || before ? __builtin_ctzl(~(bits >> 4 * before)) / 4 : BLOCK;
#endif
}

static inline Block block_in_value(Block block)
{
    return (Block)IN_VALUE(block);
}

static inline Block block_in_name(Block block)
{
    Block letter = (block | 0x20) - 'a';
    return (Block)IN_NAME(block, letter);
}
#endif

/* The first byte in [pos, end) that is not in a class, or end. From `begin` on, memory may be read: if less than 16
 * bytes are left, the last 16 are looked at. */
#define DEFINE_SCAN(class) \
    static inline const unsigned char *scan_##class(const unsigned char *begin, const unsigned char *pos, \
                                                    const unsigned char *end) \
    { \
        WITH_BLOCKS(class) \
        while (pos != end && byte_in_##class(*pos)) \
            pos++; \
        return pos; \
    }
#ifdef SCAN_BLOCKS
#define WITH_BLOCKS(class) \
    for (; end - pos >= BLOCK; pos += BLOCK) { \
        int run = block_run(block_in_##class(block_at(pos)), 0); \
        if (run < BLOCK) \
            return pos + run; \
    } \
    if (end - begin >= BLOCK && pos != end) \
        return pos + block_run(block_in_##class(block_at(end - BLOCK)), BLOCK - (int)(end - pos));
#else
#define WITH_BLOCKS(class) (void)begin;
#endif

DEFINE_SCAN(value)
DEFINE_SCAN(name)

/* Whether [pos, pos + length) is this word, in either case. It is in lower case, of letters and hyphens, in WORD_SIZE
 * bytes; no other byte that is valid in a field becomes one of these by the bit that is set here. Up to `end`, memory
 * may be read. */
static inline int is_word(const unsigned char *pos, long length, const unsigned char *end, const char *word)
{
    if (length >= WORD_SIZE || word[length])
        return 0;
#ifdef SCAN_BLOCKS
    if (end - pos >= BLOCK && length <= BLOCK)
        return block_run((Block)((block_at(pos) | 0x20) == block_at((const unsigned char *)word)), 0) >= length;
#else
    (void)end;
#endif
    while (length && (*pos | 0x20) == (unsigned char)*word)
        pos++, word++, length--;
    return length == 0;
}

#endif
