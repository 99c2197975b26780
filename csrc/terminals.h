// Terminals that show all colours, by the last part of their names in TERM.
#ifndef YINYANG_TERMINALS_H
#define YINYANG_TERMINALS_H

#include <stddef.h>

static const char *const true_colour_terminals[] = {
    "alacritty", "contour", "direct", "foot", "ghostty", "kitty", "truecolor", "wezterm", NULL,
};

#endif
