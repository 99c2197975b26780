// How many columns of a terminal characters take, as far as that is not one.
//
// Ranges are coarse, so that they are few and hold for later versions of Unicode: what is not assigned yet is in them.
// A character that takes fewer columns than is said here makes a line shorter than the terminal; the other way round,
// it would wrap.
#ifndef YINYANG_CHAR_WIDTHS_H
#define YINYANG_CHAR_WIDTHS_H

#include <stddef.h>
#include <stdint.h>

struct char_range {
    uint32_t first, last;
};

// Marks that are drawn onto the character before them (general categories Mn and Me).
static const struct char_range combining_chars[] = {
    {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},     {0x64b, 0x65f},   {0x6d6, 0x6dc},
    {0xe34, 0xe3a},   {0xe47, 0xe4e},   {0x1ab0, 0x1ace}, {0x1dc0, 0x1dff},   {0x20d0, 0x20f0}, {0x302a, 0x302d},
    {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef},
};

// East Asian wide and full-width characters (UAX #11), and symbols that became wide later.
static const struct char_range wide_chars[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23f3},   {0x25fd, 0x25fe},
    {0x2614, 0x2615},   {0x2630, 0x2637},   {0x2648, 0x2653},   {0x267f, 0x267f},   {0x268a, 0x2693},
    {0x26a1, 0x26a1},   {0x26aa, 0x26ab},   {0x26bd, 0x26be},   {0x26c4, 0x26d4},   {0x26ea, 0x26ea},
    {0x26f2, 0x26fd},   {0x2705, 0x2705},   {0x270a, 0x270b},   {0x2728, 0x2728},   {0x274c, 0x2757},
    {0x2795, 0x2797},   {0x27b0, 0x27bf},   {0x2b1b, 0x2b1c},   {0x2b50, 0x2b55},   {0x2e80, 0x303e},
    {0x3041, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe1f},
    {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x1b2ff}, {0x1d300, 0x1d37f},
    {0x1f004, 0x1f004}, {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f1ff}, {0x1f200, 0x1faff}, {0x20000, 0x3fffd},
};

// Characters that do not show, or that change the order of others (general categories Cc, Cf, Zl, Zp and Co).
static const struct char_range hidden_chars[] = {
    {0x00, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},      {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},      {0x180e, 0x180e},
    {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},   {0xe000, 0xf8ff},    {0xfeff, 0xfeff},
    {0xfff0, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd},  {0x13430, 0x1343f},
    {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xf0000, 0x10ffff},
};

static inline int in_ranges(uint32_t code, const struct char_range *ranges, size_t count)
{
    for (size_t i = 0; i < count && ranges[i].first <= code; i++)
        if (code <= ranges[i].last)
            return 1;
    return 0;
}

static inline int char_is_hidden(uint32_t code)
{
    return in_ranges(code, hidden_chars, sizeof hidden_chars / sizeof *hidden_chars);
}

// The columns of a character that shows: 0, 1 or 2.
static inline int char_width(uint32_t code)
{
    if (code < combining_chars[0].first)
        return 1;
    if (in_ranges(code, combining_chars, sizeof combining_chars / sizeof *combining_chars))
        return 0;
    return in_ranges(code, wide_chars, sizeof wide_chars / sizeof *wide_chars) ? 2 : 1;
}

#endif
