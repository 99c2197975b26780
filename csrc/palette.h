/* The palette `distinct`: a colour for each half of the symbol, so that replicas can be told apart.
 *
 * 47 colours of sRGB, red, green and blue, from dark to light. Any two of them are at least 20 apart by CIEDE2000
 * (the two closest 20.01). Black and white are among them, so each of the others is as far from a white page and
 * from a black one. Made of 64 sets of random points that push each other away:
 *
 *     python tools/palette.py --search
 *
 * How far that goes: docs/palette.md. From the bytes of a name to its colours, all in unsigned integers:
 *
 *     number = what the digits at the end of the name say, modulo 2^64, or 0; its stem is what stands before them
 *     h = 0xcbf29ce484222325                                   FNV-1a, modulo 2^64
 *     for each byte b of the stem:  h = (h ^ b) * 0x100000001b3
 *     h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd                 the finaliser of MurmurHash3, modulo 2^64, as the
 *     h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53                 last bytes of names hardly reach the upper bits
 *     h = h ^ (h >> 33)
 *     i = ((h >> 32) + 11 * number) % PALETTE_SIZE             the first half has the colour palette[i]
 *     j = ((h & 0xffffffff) + 13 * number) % (PALETTE_SIZE - 1)
 *     if (j >= i)  j = j + 1                                   the second half has palette[j], never the same
 *
 * So all PALETTE_SIZE * (PALETTE_SIZE - 1) looks are equally likely, and both halves of a symbol are 20 apart too.
 * Names with a stem in common and numbers in a row, such as web-0, web-1 and so on, go through all colours before one
 * of them comes again, and through all looks: 11 and 13 only make neighbours less alike than the next darker or lighter
 * colour, and have no divisor in common with their moduli. tests/vectors/palette.json has 200 names and their colours.
 * Neither the table, nor its order, nor the algorithm may change: people know their replicas by their colours. */
#ifndef YINYANG_PALETTE_H
#define YINYANG_PALETTE_H

enum { PALETTE_SIZE = 47 };
static const unsigned char palette[PALETTE_SIZE][3] = {
    {0x00, 0x00, 0x00}, {0x2e, 0x00, 0x18}, {0x00, 0x14, 0x45}, {0x00, 0x23, 0x01}, {0x43, 0x1a, 0x00},
    {0x66, 0x00, 0x71}, {0x45, 0x3c, 0x00}, {0x00, 0x44, 0x4b}, {0x45, 0x41, 0x4d}, {0x94, 0x00, 0x3f},
    {0x00, 0x04, 0xff}, {0x00, 0x5e, 0x01}, {0x00, 0x52, 0x92}, {0xa4, 0x0c, 0x00}, {0x91, 0x59, 0x00},
    {0x85, 0x5e, 0x57}, {0x69, 0x6b, 0x5f}, {0xcb, 0x00, 0xa1}, {0x73, 0x75, 0x00}, {0x00, 0x80, 0x68},
    {0x06, 0x7e, 0x97}, {0x72, 0x76, 0x92}, {0xf4, 0x02, 0x5b}, {0x95, 0x5b, 0xff}, {0xff, 0x28, 0x00},
    {0x00, 0x99, 0x16}, {0x0e, 0x82, 0xff}, {0xb6, 0x7b, 0x98}, {0xa9, 0x8d, 0x66}, {0x04, 0xb4, 0xb4},
    {0xfd, 0x84, 0x01}, {0x98, 0xad, 0x8f}, {0xa0, 0xb1, 0x08}, {0xaf, 0xaa, 0xaf}, {0xff, 0x78, 0xff},
    {0xff, 0x8d, 0x85}, {0x02, 0xbc, 0xff}, {0xac, 0xae, 0xff}, {0xf4, 0xb9, 0x00}, {0x00, 0xe8, 0xae},
    {0xff, 0xcd, 0xa9}, {0x50, 0xfd, 0x00}, {0xff, 0xd0, 0xf5}, {0xad, 0xfe, 0xff}, {0xe4, 0xff, 0xc3},
    {0xfe, 0xff, 0x00}, {0xff, 0xff, 0xff},
};

#endif
