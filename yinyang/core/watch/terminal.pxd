"""The terminal that a watch is drawn in: its size, what it can show, and the sequences that begin and end a frame.

Sequences are those of ECMA-48 and xterm; a terminal ignores what it does not know, as it does the synchronized output
of https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036.
"""

from libc.stdint cimport int64_t
from libc.string cimport strcmp, strlen, strrchr

from ..os.syscalls cimport TIOCGWINSZ, getenv, ioctl, winsize
from ..text.buffer cimport Text, number_parse, text_string

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *text, const char *other, size_t length)

cdef extern from "terminals.h" nogil:
    const char *const true_colour_terminals[]

cdef enum:
    DEFAULT_WIDTH = 80  # columns, if the terminal does not know
    DEFAULT_HEIGHT = 24  # lines
    SIDE_MAX = 1000  # columns or lines that are drawn
    TRUE_COLOUR = 1 << 24  # colours of a terminal that shows all

cdef struct Terminal:
    int fd
    bint is_terminal  # or else a file, a pipe ...
    bint is_dumb  # it cannot move its cursor; nobody knows of one that has no name
    int width, height
    int colours  # 0: none, 16, 256 or TRUE_COLOUR
    bint unicode  # it takes UTF-8


cdef inline void terminal_open(Terminal *t, int fd) noexcept nogil:
    """Find out what is behind the descriptor."""
    cdef const char *name = getenv("TERM")
    cdef winsize size
    t.fd = fd
    t.is_terminal = ioctl(fd, TIOCGWINSZ, &size) == 0  # whatever is a terminal has a size, if only of 0 by 0
    t.is_dumb = name == NULL or not name[0] or strcmp(name, "dumb") == 0 or strcmp(name, "unknown") == 0
    t.colours = 0 if t.is_dumb else terminal_colours(name)
    t.unicode = is_utf8(name)
    t.width = DEFAULT_WIDTH
    t.height = DEFAULT_HEIGHT
    terminal_resize(t)


cdef inline bint terminal_resize(Terminal *t) noexcept nogil:
    """Take its present size, unless COLUMNS and LINES say another one; whether it has changed. It stays the same if
    nobody knows."""
    cdef int width = t.width
    cdef int height = t.height
    cdef winsize size
    if ioctl(t.fd, TIOCGWINSZ, &size) < 0:
        size.ws_col = size.ws_row = 0
    t.width = side_of("COLUMNS", size.ws_col, width)
    t.height = side_of("LINES", size.ws_row, height)
    return t.width != width or t.height != height


cdef inline int side_of(const char *variable, int measured, int unknown) noexcept nogil:
    """The width or the height: of the variable, if it is a number, or as measured, or else the last argument."""
    cdef const char *value = getenv(variable)
    cdef int64_t given = -1
    if value != NULL:
        given = number_parse(&value)
        if value[0]:
            given = -1
    if given <= 0:
        given = measured if measured > 0 else unknown
    return <int>min(given, SIDE_MAX)


cdef inline bint is_set(const char *variable) noexcept nogil:
    cdef const char *value = getenv(variable)
    return value != NULL and value[0] != 0


cdef inline bint is_one_of(const char *word, const char *const *words) noexcept nogil:
    """Whether it is in a list that NULL ends."""
    while words[0] != NULL:
        if strcmp(word, words[0]) == 0:
            return True
        words += 1
    return False


cdef inline int terminal_colours(const char *name) noexcept nogil:
    """How many colours the terminal of this name (TERM) has. COLORTERM is not handed on by ssh and by containers, so
    the names of some terminals that have all colours are known. https://no-color.org"""
    cdef const char *colour_term = getenv("COLORTERM")
    cdef const char *kind = strrchr(name, b"-")
    kind = name if kind == NULL else kind + 1
    if is_set("NO_COLOR") or strcmp(kind, "mono") == 0:
        return 0
    if colour_term != NULL and (strcmp(colour_term, "truecolor") == 0 or strcmp(colour_term, "24bit") == 0):
        return TRUE_COLOUR
    if is_one_of(kind, true_colour_terminals):
        return TRUE_COLOUR
    return 256 if strcmp(kind, "256color") == 0 else 16


cdef inline bint is_utf8(const char *name) noexcept nogil:
    """Whether the terminal takes UTF-8, by the locale: the first of these variables that is set and not empty. Most
    containers have none of them, and then the terminal on the user's side takes UTF-8 nearly always; but Linux's own
    console, which TERM names, lacks the characters."""
    cdef const char *locale
    if is_set("LC_ALL"):
        locale = getenv("LC_ALL")
    elif is_set("LC_CTYPE"):
        locale = getenv("LC_CTYPE")
    elif is_set("LANG"):
        locale = getenv("LANG")
    else:
        return name == NULL or strcmp(name, "linux") != 0
    while locale[0]:
        if strncasecmp(locale, "UTF-8", strlen("UTF-8")) == 0 or strncasecmp(locale, "UTF8", strlen("UTF8")) == 0:
            return True
        locale += 1
    return False


cdef inline void terminal_begin(Text *text) noexcept nogil:
    """A screen of its own, without the cursor."""
    text_string(text, "\x1b[?1049h\x1b[?25l")


cdef inline void terminal_home(Text *text) noexcept nogil:
    """Before a frame: it is shown at once, and no line wraps, whatever width the terminal gives its characters."""
    text_string(text, "\x1b[?2026h\x1b[?7l\x1b[H")


cdef inline void terminal_frame_end(Text *text) noexcept nogil:
    """Behind a frame."""
    text_string(text, "\x1b[?7h\x1b[?2026l")


cdef inline void terminal_end(Text *text) noexcept nogil:
    """The cursor, and the screen that was there before; also where a frame was not written to its end."""
    text_string(text, "\x1b[0m\x1b[?7h\x1b[?2026l\x1b[?25h\x1b[?1049l")
