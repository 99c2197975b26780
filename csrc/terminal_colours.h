// The basic colours of terminals, as most of them show these, by their numbers in ECMA-48: 8 colours, and 8 bright ones.
#ifndef YINYANG_TERMINAL_COLOURS_H
#define YINYANG_TERMINAL_COLOURS_H

#include <stdint.h>

static const uint8_t basic_colours[16][3] = {
    {0, 0, 0},     {170, 0, 0},     {0, 170, 0},    {170, 85, 0},    {0, 0, 170},   {170, 0, 170},
    {0, 170, 170}, {170, 170, 170}, {85, 85, 85},   {255, 85, 85},   {85, 255, 85}, {255, 255, 85},
    {85, 85, 255}, {255, 85, 255},  {85, 255, 255}, {255, 255, 255},
};

#endif
