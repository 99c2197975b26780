"""The request that was answered last. Clients of a load balancer ask for the same again and again, byte for byte: what
is equal to a whole request that was framed needs no framing, and gets the answer that it got.

Only a request for the page is remembered, as its answer is always the same, and only as a whole: it began and ended in
one segment, and so must whatever is compared with it.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy

from .queue cimport RECEIVE_MOST

cdef extern from "scan.h" nogil:
    bint scan_equal(const uint8_t *one, const uint8_t *other, size_t length)

cdef struct Again:
    uint16_t length  # 0: nothing is remembered
    uint8_t answer
    uint8_t ends  # the connection, with that answer
    uint8_t bytes[RECEIVE_MOST]


cdef inline bint again_is(const Again *again, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Does [at, end) begin with that request?"""
    return again.length and end - at >= again.length and scan_equal(at, again.bytes, again.length)


cdef inline void again_remember(Again *again, const uint8_t *at, const uint8_t *end, uint8_t answer,
                                bint ends) noexcept nogil:
    """[at, end) is a whole request, and within one segment of RECEIVE_MOST bytes."""
    again.length = <uint16_t>(end - at)
    again.answer = answer
    again.ends = ends
    memcpy(again.bytes, at, <size_t>(end - at))


cdef inline void again_forget(Again *again) noexcept nogil:
    again.length = 0
