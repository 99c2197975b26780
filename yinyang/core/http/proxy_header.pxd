"""The header of the PROXY protocol, by which a proxy tells where a connection comes from: version 1, a line of text, or
version 2, which is binary (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
"""

from libc.stdint cimport uint16_t, uint8_t
from libc.string cimport memcmp, memcpy, memset, strlen, strncmp

from ..os.address cimport Address, address_4_parse, address_6_parse, address_set
from ..text.buffer cimport number_parse
from .parser cimport CR, LF, SP, TARGET_KEPT

cdef enum:
    SIGNATURE = 12  # bytes that version 2 begins with
    HEADER_2 = 16  # bytes of it before the addresses
    LINE_MAX = 107  # bytes of version 1, its CR LF included (section 2.1)
    PROXY_HEADER_MAX = 16384  # bytes of version 2, with all that it may tell besides the addresses
    COMMAND_LOCAL = 0x20  # of version 2: the proxy speaks for itself
    COMMAND_PROXY = 0x21
    FAMILY_TCP_4 = 0x11
    FAMILY_TCP_6 = 0x21
    FAMILY_LAST = 3  # Unix
    PROTOCOL_LAST = 2  # datagrams

cdef enum ProxyHeader:
    PROXY_HEADER_MORE
    PROXY_HEADER_COMPLETE
    PROXY_HEADER_MISSING  # the bytes are the beginning of something else
    PROXY_HEADER_WRONG

cdef struct Source:  # of a connection
    uint8_t bytes[16]  # of the address
    uint16_t port
    uint8_t length  # of the address; 0: the header tells none


cdef inline int proxy_header_feed(Source *source, uint8_t *kept, uint16_t *received, const uint8_t **pos,
                                  const uint8_t *end) noexcept nogil:
    """Read [*pos, end) as far as the end of the header. `kept` has room for TARGET_KEPT bytes, more than matter;
    `received` counts those of the header, from 0 on."""
    cdef size_t whole
    while pos[0] != end:
        if received[0] < TARGET_KEPT:
            kept[received[0]] = pos[0][0]
        received[0] += 1
        pos[0] += 1
        if kept[0] == CR:
            if received[0] <= SIGNATURE:
                if memcmp(kept, "\r\n\r\n\0\r\nQUIT\n", received[0]) != 0:
                    return PROXY_HEADER_MISSING
            elif received[0] >= HEADER_2:
                whole = HEADER_2 + (<size_t>kept[14] << 8 | kept[15])
                if whole > PROXY_HEADER_MAX or kept[12] != COMMAND_LOCAL and kept[12] != COMMAND_PROXY:
                    return PROXY_HEADER_WRONG
                if received[0] == whole:
                    return addresses_2(source, kept, whole - HEADER_2)
        elif received[0] <= strlen("PROXY ") and strncmp(<const char *>kept, "PROXY ", received[0]) != 0:
            return PROXY_HEADER_MISSING
        elif received[0] > LINE_MAX:
            return PROXY_HEADER_WRONG
        elif kept[received[0] - 1] == LF:
            return addresses_1(source, kept, received[0])
    return PROXY_HEADER_MORE


cdef inline int addresses_2(Source *source, const uint8_t *header, size_t length) noexcept nogil:
    """The addresses are followed by more, which is not read. Those of other families are not either (section 2.2)."""
    cdef uint8_t size = 0
    if header[13] >> 4 > FAMILY_LAST or header[13] & 15 > PROTOCOL_LAST:
        return PROXY_HEADER_WRONG
    if header[12] == COMMAND_PROXY and header[13] == FAMILY_TCP_4:
        size = 4
    elif header[12] == COMMAND_PROXY and header[13] == FAMILY_TCP_6:
        size = 16
    source.length = size
    if size == 0:
        return PROXY_HEADER_COMPLETE
    if length < <size_t>(2 * size + 4):  # both addresses and ports
        return PROXY_HEADER_WRONG
    memcpy(source.bytes, header + HEADER_2, size)
    source.port = <uint16_t>(header[HEADER_2 + 2 * size] << 8 | header[HEADER_2 + 2 * size + 1])
    return PROXY_HEADER_COMPLETE


cdef inline int addresses_1(Source *source, const uint8_t *header, size_t length) noexcept nogil:
    """`PROXY TCP4 source destination port port CR LF`, or TCP6, or `PROXY UNKNOWN` and anything."""
    cdef char line[108]
    cdef char *words[5]
    cdef const char *pos
    cdef int count = 0
    cdef size_t i
    cdef uint8_t destination[16]
    memcpy(line, header + 6, length - 6)
    if header[length - 2] != CR:
        return PROXY_HEADER_WRONG
    line[length - 8] = 0
    source.length = 0
    if strncmp(line, "UNKNOWN", 7) == 0 and (line[7] == 0 or line[7] == SP):
        return PROXY_HEADER_COMPLETE
    words[0] = line
    for i in range(length - 8):
        if line[i] == SP:
            line[i] = 0
            count += 1
            if count == 5:
                return PROXY_HEADER_WRONG
            words[count] = line + i + 1
    if count != 4 or not is_port(words[3]) or not is_port(words[4]):
        return PROXY_HEADER_WRONG
    pos = words[3]
    source.port = <uint16_t>number_parse(&pos)
    memset(source.bytes, 0, sizeof(source.bytes))
    memset(destination, 0, sizeof(destination))
    if strncmp(words[0], "TCP4", 5) == 0:
        source.length = 4
        if address_4_parse(words[1], source.bytes) and address_4_parse(words[2], destination):
            return PROXY_HEADER_COMPLETE
    elif strncmp(words[0], "TCP6", 5) == 0:
        source.length = 16
        if address_6_parse(words[1], source.bytes) and address_6_parse(words[2], destination):
            return PROXY_HEADER_COMPLETE
    return PROXY_HEADER_WRONG


cdef inline bint is_port(const char *word) noexcept nogil:
    """A number without leading zeros."""
    if word[0] == b'0' and word[1]:
        return False
    return 0 <= number_parse(&word) <= 65535 and word[0] == 0


cdef inline bint source_address(const Source *source, Address *address) noexcept nogil:
    """The address that a header has told; False if it has told none."""
    if source.length:
        address_set(address, source.bytes, source.length == 16, source.port)
    return source.length != 0
