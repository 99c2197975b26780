"""A buffer for text of any length: memory that is mapped anew when a text does not fit."""

from ..os.syscalls cimport MAP_PRIVATE, map_memory, munmap
from ..text.buffer cimport Text, text_fits, text_open

cdef enum:
    FIRST_ROOM = 65536  # bytes

cdef struct Page:
    char *bytes  # NULL: none yet
    size_t room


cdef inline bint page_open(Page *page, Text *text) noexcept nogil:
    """Begin a text; False if there is no memory for it."""
    if page.bytes == NULL:
        page.room = FIRST_ROOM
        page.bytes = <char *>map_memory(page.room, MAP_PRIVATE)
    text_open(text, page.bytes, page.room if page.bytes != NULL else 0)
    return page.bytes != NULL


cdef inline bint page_must_grow(Page *page, const Text *text) noexcept nogil:
    """Whether the text was cut off, and there is room now to write it again."""
    cdef size_t room = page.room
    if text_fits(text) or page.bytes == NULL:
        return False
    munmap(page.bytes, page.room)
    while room < text.length:
        room *= 2
    page.room = room
    page.bytes = <char *>map_memory(room, MAP_PRIVATE)
    return page.bytes != NULL
