"""The request that was answered last. Clients of a load balancer ask for the same again and again, byte for byte: what
is equal to a whole request that was framed needs no framing, and gets the answer that it got.

Only a request for the page is remembered, as its answer is always the same, and only as a whole: it began and ended in
one segment, and so must whatever is compared with it.
"""

from libc.stdint cimport uint16_t, uint8_t
from libc.string cimport memcpy

from .send_queue cimport RECEIVE_MAX

cdef extern from "simd_scan.h" nogil:
    bint scan_equal(const uint8_t *one, const uint8_t *other, size_t length)

cdef struct RequestCache:
    uint16_t length  # 0: nothing is remembered
    uint8_t response
    uint8_t ends  # the connection, with that answer
    uint8_t bytes[RECEIVE_MAX]


cdef inline bint request_cache_matches(const RequestCache *cache, const uint8_t *pos,
                                       const uint8_t *end) noexcept nogil:
    """Does [pos, end) begin with that request?"""
    return cache.length and end - pos >= cache.length and scan_equal(pos, cache.bytes, cache.length)


cdef inline void request_cache_store(RequestCache *cache, const uint8_t *pos, const uint8_t *end, uint8_t response,
                                     bint ends) noexcept nogil:
    """[pos, end) is a whole request, and within one segment of RECEIVE_MAX bytes."""
    cache.length = <uint16_t>(end - pos)
    cache.response = response
    cache.ends = ends
    memcpy(cache.bytes, pos, <size_t>(end - pos))


cdef inline void request_cache_clear(RequestCache *cache) noexcept nogil:
    cache.length = 0
