"""A fuzz target (libFuzzer) for the header of the PROXY protocol.

For any bytes: the outcome, the source and the number of bytes that belong to the header are the same wherever they are
cut; and a source can be written as an address with a port.
"""

from libc.stdint cimport uint16_t, uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset

from yinyang.core.http.parser cimport TARGET_KEPT
from yinyang.core.http.proxy_header cimport (
    PROXY_HEADER_COMPLETE, PROXY_HEADER_MORE, Source, proxy_header_feed, source_address
)
from yinyang.core.os.address cimport Address, text_address_and_port
from yinyang.core.text.buffer cimport Text, is_printable, text_fits, text_open

cdef enum:
    ADDRESS_MAX = 64

cdef struct Result:
    int outcome
    size_t end  # of what was read
    Source source


cdef void read_header(const uint8_t *data, size_t size, size_t step, Result *result) noexcept nogil:
    """Read all, cut into pieces of `step` bytes, each in memory of its own."""
    cdef uint8_t kept[TARGET_KEPT]
    cdef uint16_t received = 0
    cdef size_t length
    cdef uint8_t *piece
    cdef const uint8_t *pos
    memset(result, 0, sizeof(Result))
    result.outcome = PROXY_HEADER_MORE
    while result.end < size and result.outcome == PROXY_HEADER_MORE:
        length = min(step, size - result.end)
        piece = <uint8_t *>malloc(length)
        memcpy(piece, data + result.end, length)
        pos = piece
        result.outcome = proxy_header_feed(&result.source, kept, &received, &pos, piece + length)
        result.end += <size_t>(pos - piece)
        free(piece)


cdef void check_source(const Source *source) noexcept nogil:
    cdef char bytes[ADDRESS_MAX]
    cdef Text text
    cdef Address address
    if not source_address(source, &address):
        return
    text_open(&text, bytes, ADDRESS_MAX)
    text_address_and_port(&text, &address)
    if not text_fits(&text) or text.length < 6 or not is_printable(bytes, text.length):
        abort()


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """The first byte tells how the rest is cut."""
    cdef Result whole, bytewise, cut
    if size < 2:
        return 0
    read_header(data + 1, size - 1, size - 1, &whole)
    read_header(data + 1, size - 1, 1, &bytewise)
    read_header(data + 1, size - 1, <size_t>data[0] + 2, &cut)
    if whole.outcome != bytewise.outcome or whole.outcome != cut.outcome:
        abort()
    if whole.end != bytewise.end or whole.end != cut.end:
        abort()
    if whole.outcome == PROXY_HEADER_COMPLETE:
        if whole.source.length != cut.source.length or whole.source.length and (
                whole.source.port != cut.source.port
                or memcmp(whole.source.bytes, cut.source.bytes, whole.source.length) != 0):
            abort()
        check_source(&whole.source)
    return 0
