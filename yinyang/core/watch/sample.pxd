"""A sample of the watch: one request, and the replica that answered it or the failure.

All times of the watch are in microseconds on one clock, CLOCK_MONOTONIC in practice, unless said otherwise.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memcpy

from ..identity.identity cimport COLOUR_LENGTH

cdef enum:
    LABEL_MAX = 255  # bytes
    US_PER_MS = 1000
    US_PER_SECOND = 1000000

cdef enum By:  # what the replicas of a group have in common
    BY_REPLICA  # each is a group of its own
    BY_VERSION
    BY_ZONE
    BY_NODE

cdef struct Label:  # UTF-8 without control characters; empty if there is none
    uint8_t length
    char bytes[LABEL_MAX]

cdef struct Described:  # a replica, as it describes itself
    Label host
    Label short_name
    Label version
    Label zone
    Label node
    char colours[2][COLOUR_LENGTH]  # of the circle and of the path in it, `#rrggbb` in lower case
    int64_t started  # seconds since 1970, by the clock of its host; 0 if it did not say
    int64_t start_ms  # how long its start took; negative if it did not say

cdef struct WatchSample:
    int64_t start, end
    bint is_answer
    Described replica  # that answered, or that a failed answer names in its header; without a host if nobody knows
    int failure  # if there is no answer: what failed, in csrc/verdict.h below 100, or a status of HTTP
    int64_t connection  # a number that each connection has for itself
    Label cookie_of  # the host of the replica whose cookies the request carried; empty if it carried none


cdef inline bint label_equals(const Label *label, const Label *other) noexcept nogil:
    return label.length == other.length and memcmp(label.bytes, other.bytes, label.length) == 0


cdef inline bint label_is(const Label *label, const char *bytes, size_t length) noexcept nogil:
    return label.length == length and memcmp(label.bytes, bytes, length) == 0


cdef inline void label_copy(Label *label, const Label *other) noexcept nogil:
    label.length = other.length
    memcpy(label.bytes, other.bytes, other.length)


cdef inline void label_set_plain(Label *label, const char *bytes, size_t length) noexcept nogil:
    """Text of at most LABEL_MAX bytes that is known to be printable."""
    label.length = <uint8_t>length
    memcpy(label.bytes, bytes, length)
