"""What a replica is, as whoever started it says: all that its answers tell and that never changes."""

from libc.stdint cimport uint8_t

from .identity cimport Identity

cdef enum:  # what may be told of where it runs: in the order of the options
    ABOUT_VERSION
    ABOUT_NODE
    ABOUT_NAMESPACE
    ABOUT_ZONE
    ABOUTS

cdef enum:
    SHORT_ENOUGH = 8  # bytes of a name that need not be shortened
    SHORT_MOST = 12
    PART_LEAST = 4  # bytes of the last parts of a name that tell it from others

cdef struct Replica:
    Identity identity
    const char *title
    const char *about[ABOUTS]  # NULL where it is not told
    bint plain  # every path is the page, as in the original


cdef inline const char *short_name(const Identity *identity, size_t *length) noexcept nogil:
    """The part of a name that tells it from its siblings': `x2x4k` of `web-6d5f8c7b9-x2x4k`, `web-12` of
    `my-web-12.default`. A second cue for those who do not see colours; at most SHORT_MOST bytes, whole characters."""
    cdef const char *name = identity.name
    cdef size_t begin = 0, end = 0, at, most
    while end < identity.length and (end == 0 or name[end] != b'.'):
        end += 1
    most = end
    if end > SHORT_ENOUGH:
        most = SHORT_ENOUGH
        for at in range(1, end):
            if name[at - 1] == b'-' and end - at >= PART_LEAST:
                begin = at
                most = SHORT_MOST
    if end - begin > most:
        end = begin + most
        while <uint8_t>name[end] & 0xC0 == 0x80 and end > begin + 1:  # in the middle of a character (UTF-8)
            end -= 1
    length[0] = end - begin
    return name + begin
