"""Numeric addresses, IPv4 and IPv6: from text to what the kernel takes.

Not by inet_pton(3): it is larger than this, and its C libraries differ in what they let pass.
"""

from libc.stdint cimport int64_t, uint16_t, uint8_t
from libc.string cimport memmove, memset, strlen

from ..text.buffer cimport Text, llu, number_parse, text_format
from .syscalls cimport AF_INET, AF_INET6, port_bytes, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t

cdef struct Address:
    sockaddr_storage storage
    socklen_t size


cdef inline bint address_parse(Address *address, const char *host, int port) noexcept nogil:
    """From a numeric address, IPv4 or IPv6; False if it is neither."""
    cdef sockaddr_in *four = <sockaddr_in *>&address.storage
    cdef sockaddr_in6 *six = <sockaddr_in6 *>&address.storage
    memset(address, 0, sizeof(Address))
    four.sin_port = port_bytes(<uint16_t>port)  # in the same place for both
    if address_is_six(host):
        six.sin6_family = AF_INET6
        address.size = sizeof(sockaddr_in6)
        return address_6_parse(host, six.sin6_addr.s6_addr)
    four.sin_family = AF_INET
    address.size = sizeof(sockaddr_in)
    return address_4_parse(host, <uint8_t *>&four.sin_addr)


cdef inline bint address_is_six(const char *host) noexcept nogil:
    while host[0]:
        if host[0] == b':':
            return True
        host += 1
    return False


cdef inline bint address_4_parse(const char *pos, uint8_t *bytes) noexcept nogil:
    """Four numbers, without leading zeros, which some take for octal."""
    cdef const char *begin
    cdef int64_t number
    cdef int i
    for i in range(4):
        if i:
            if pos[0] != b'.':
                return False
            pos += 1
        begin = pos
        number = number_parse(&pos)
        if not 0 <= number <= 255 or begin[0] == b'0' and pos - begin > 1:
            return False
        bytes[i] = <uint8_t>number
    return pos[0] == 0


cdef inline bint address_6_parse(const char *pos, uint8_t *bytes) noexcept nogil:
    """Eight groups of up to four hexadecimal digits, of which `::` stands for one or more that are zero; in place of
    the last two, perhaps an IPv4 address (RFC 4291 section 2.2). `bytes` are zeros before."""
    cdef const char *begin
    cdef unsigned int group
    cdef int count = 0
    cdef int gap = -1  # the group before which `::` stands
    if pos[0] == b':' and pos[1] == b':':
        gap = 0
        pos += 2
    while count < 8 and (pos[0] or gap != count):
        begin = pos
        group = 0
        while pos - begin < 4 and hex_digit(pos[0]) >= 0:
            group = group << 4 | <unsigned int>hex_digit(pos[0])
            pos += 1
        if pos[0] == b'.' and count <= 6:
            count += 2
            if not address_4_parse(begin, bytes + 2 * count - 4):
                return False
            pos += strlen(pos)
            break
        if pos == begin:
            return False
        bytes[2 * count] = <uint8_t>(group >> 8)
        bytes[2 * count + 1] = <uint8_t>group
        count += 1
        if pos[0] != b':' or count == 8:
            break
        pos += 1
        if pos[0] == b':' and gap < 0:
            pos += 1
            gap = count
    if pos[0] or count == 8 and gap >= 0 or count < 8 and gap < 0:
        return False
    if gap >= 0:
        memmove(bytes + 16 - 2 * (count - gap), bytes + 2 * gap, 2 * (count - gap))
        memset(bytes + 2 * gap, 0, 16 - 2 * count)
    return True


cdef inline int hex_digit(char digit) noexcept nogil:
    """-1 if it is none."""
    if b'0' <= digit <= b'9':
        return digit - 48
    digit |= 0x20
    return digit - 87 if b'a' <= digit <= b'f' else -1


cdef inline void text_url(Text *text, const char *host, int port) noexcept nogil:
    cdef bint six = address_is_six(host)
    cdef const char *template = "http://[%s]:%llu" if six else "http://%s:%llu"
    text_format(text, template, host, <llu>port)
