"""Host name -> hash -> colours, and a short form of the name."""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

cdef extern from "palette.h" nogil:
    enum:
        PALETTE_SIZE
    const uint8_t palette[256][3]

cdef enum:
    NAME_MAX = 255  # bytes, as in DNS and more than gethostname(2) gives
    COLOUR_LENGTH = 7
    SHORT_ENOUGH = 8  # bytes; a name of this length is not shortened
    SHORT_MAX = 12
    SHORT_PART_MIN = 4  # bytes; the least length of the end of a name that is its short form

cdef enum Palette:  # in the order of the words in csrc/option_table.h
    PALETTE_ORIGINAL
    PALETTE_DISTINCT

cdef struct Identity:
    const char *name  # NAME_MAX bytes at most; borrowed
    size_t length
    int64_t hash
    int palette
    char colours[2][8]  # of the two halves of the symbol: "#rrggbb" and a NUL
    char short[13]  # the name in SHORT_MAX bytes or fewer, and a NUL


cdef inline int64_t identity_hash(const char *name, size_t length) noexcept nogil:
    """h = b + (h << 5) - h for each byte b, wrapping around in 64 bits."""
    cdef uint64_t h = 0
    cdef size_t i
    for i in range(length):
        h = <uint8_t>name[i] + (h << 5) - h
    return <int64_t>h


cdef inline void colour_render(char *colour, const uint8_t *bytes) noexcept nogil:
    """Red, green and blue in hex."""
    cdef const char *digits = "0123456789abcdef"
    cdef int i
    colour[0] = b'#'
    for i in range(3):
        colour[1 + 2 * i] = digits[bytes[i] >> 4]
        colour[2 + 2 * i] = digits[bytes[i] & 15]
    colour[COLOUR_LENGTH] = 0


cdef inline void identity_original(Identity *identity) noexcept nogil:
    """Byte i of the colour is (hash >> i) * 8, so similar hashes give similar colours. The other half is black."""
    cdef uint8_t bytes[3]
    cdef int i
    for i in range(3):
        bytes[i] = <uint8_t>((<uint64_t>identity.hash >> i) << 3)
    colour_render(identity.colours[0], bytes)
    memset(bytes, 0, sizeof(bytes))
    colour_render(identity.colours[1], bytes)


cdef inline void identity_distinct(Identity *identity) noexcept nogil:
    """Choose two different colours of the table in csrc/palette.h, by the number at the end of the name and by a hash
    of the rest."""
    cdef uint64_t h = <uint64_t>0xcbf29ce484222325ULL
    cdef uint64_t number = 0
    cdef uint64_t first, second
    cdef size_t stem = identity.length
    cdef size_t i
    while stem and 48 <= identity.name[stem - 1] <= 57:
        stem -= 1
    for i in range(stem, identity.length):
        number = number * 10 + <uint64_t>(identity.name[i] - 48)
    for i in range(stem):
        h = (h ^ <uint8_t>identity.name[i]) * <uint64_t>0x100000001b3ULL
    h = (h ^ h >> 33) * <uint64_t>0xff51afd7ed558ccdULL
    h = (h ^ h >> 33) * <uint64_t>0xc4ceb9fe1a85ec53ULL
    h ^= h >> 33
    first = ((h >> 32) + 11 * number) % <uint64_t>PALETTE_SIZE
    second = (<uint32_t>h + 13 * number) % <uint64_t>(PALETTE_SIZE - 1)
    second += second >= first
    colour_render(identity.colours[0], palette[first])
    colour_render(identity.colours[1], palette[second])


cdef inline void identity_shorten(Identity *identity) noexcept nogil:
    """The part of a name that differs between replicas: `x2x4k` of `web-6d5f8c7b9-x2x4k`, `web-12` of
    `my-web-12.default`. Readers who do not see colours need it. It is cut between characters."""
    cdef const char *name = identity.name
    cdef size_t begin = 0, end = 0, pos, length_max
    while end < identity.length and (end == 0 or name[end] != b'.'):
        end += 1
    length_max = end
    if end > SHORT_ENOUGH:
        length_max = SHORT_ENOUGH
        for pos in range(1, end):
            if name[pos - 1] == b'-' and end - pos >= SHORT_PART_MIN:
                begin = pos
                length_max = SHORT_MAX
    if end - begin > length_max:
        end = begin + length_max
        while <uint8_t>name[end] & 0xC0 == 0x80 and end > begin + 1:  # in the middle of a character (UTF-8)
            end -= 1
    memset(identity.short, 0, sizeof(identity.short))
    memcpy(identity.short, name + begin, end - begin)


cdef inline void identity_set(Identity *identity, const char *name, size_t length, int chosen) noexcept nogil:
    identity.name = name
    identity.length = length
    identity.hash = identity_hash(name, length)
    identity.palette = chosen
    if chosen == PALETTE_DISTINCT:
        identity_distinct(identity)
    else:
        identity_original(identity)
    identity_shorten(identity)
