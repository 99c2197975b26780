"""Host name -> hash -> colour: what makes one replica look different from the next."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    NAME_MOST = 255  # bytes, as in DNS and more than gethostname(2) gives
    COLOUR_LENGTH = 7

cdef enum Palette:  # in the order of the words in options.pxd
    PALETTE_ORIGINAL
    PALETTE_DISTINCT

cdef struct Identity:
    const char *name  # NAME_MOST bytes at most; borrowed
    size_t length
    int64_t hash
    int palette
    char colours[2][8]  # of the two halves of the symbol: "#rrggbb" and a NUL


cdef inline int64_t identity_hash(const char *name, size_t length) noexcept nogil:
    """h = b + (h << 5) - h for each byte b, wrapping around in 64 bits."""
    cdef uint64_t h = 0
    cdef size_t i
    for i in range(length):
        h = <uint8_t>name[i] + (h << 5) - h
    return <int64_t>h


cdef inline void identity_colour(int64_t hash, char *colour) noexcept nogil:
    """Three bytes in hex, byte i = (hash >> i) * 8; so neighbours differ little, as they do in the original."""
    cdef const char *digits = "0123456789abcdef"
    cdef uint8_t byte
    cdef int i
    colour[0] = b'#'
    for i in range(3):
        byte = <uint8_t>((<uint64_t>hash >> i) << 3)
        colour[1 + 2 * i] = digits[byte >> 4]
        colour[2 + 2 * i] = digits[byte & 15]
    colour[COLOUR_LENGTH] = 0


cdef inline void identity_set(Identity *identity, const char *name, size_t length, int palette) noexcept nogil:
    identity.name = name
    identity.length = length
    identity.hash = identity_hash(name, length)
    identity.palette = palette
    identity_colour(identity.hash, identity.colours[0])
    memcpy(identity.colours[1], "#000000", COLOUR_LENGTH + 1)
