"""What a replica is, as whoever started it says: all that its answers tell and that never changes."""

from libc.stdint cimport uint8_t

from .identity cimport Identity

cdef extern from "whoami.h" nogil:
    enum:  # optional texts, in the order of their options
        ABOUT_VERSION
        ABOUT_NODE
        ABOUT_NAMESPACE
        ABOUT_ZONE
        ABOUTS

cdef struct Replica:
    Identity identity
    const char *title
    const char *about[ABOUTS]  # NULL where it is not told
    bint plain  # every path is the page, as in the original
