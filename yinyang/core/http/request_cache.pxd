"""The last request for the page and its response. Clients of a load balancer often send the same bytes again; a request
that equals the last one needs no parsing, and gets the same response.

Only requests for the page are stored, because their response is always the same. A stored request lies within one
segment; it is compared with the bytes of later segments.
"""

from libc.stdint cimport uint16_t, uint8_t
from libc.string cimport memcpy

from .send_queue cimport RECEIVE_MAX

cdef extern from "simd_scan.h" nogil:
    bint scan_equal(const uint8_t *one, const uint8_t *other, size_t length)

cdef struct RequestCache:
    uint16_t length  # 0: none is stored
    uint8_t response
    uint8_t ends  # whether the response ends the connection
    uint8_t bytes[RECEIVE_MAX]


cdef inline bint request_cache_matches(const RequestCache *cache, const uint8_t *pos,
                                       const uint8_t *end) noexcept nogil:
    """Whether [pos, end) begins with the stored request."""
    return cache.length and end - pos >= cache.length and scan_equal(pos, cache.bytes, cache.length)


cdef inline void request_cache_store(RequestCache *cache, const uint8_t *pos, const uint8_t *end, uint8_t response,
                                     bint ends) noexcept nogil:
    """Store the request [pos, end), which lies within one segment of RECEIVE_MAX bytes."""
    cache.length = <uint16_t>(end - pos)
    cache.response = response
    cache.ends = ends
    memcpy(cache.bytes, pos, <size_t>(end - pos))


cdef inline void request_cache_clear(RequestCache *cache) noexcept nogil:
    cache.length = 0
