"""Numeric addresses, IPv4 and IPv6: from text to the form of the kernel, and back.

inet_pton(3) and inet_ntop(3) are not used: they are larger, and C libraries differ in what they accept and write.
"""

from libc.stdint cimport int64_t, uint16_t, uint8_t
from libc.string cimport memcmp, memcpy, memmove, memset, strlen

from ..text.buffer cimport Text, hex_digit, llu, number_parse, text_format, text_put, text_string
from .syscalls cimport (
    AF_INET, AF_INET6, port_bytes, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socket_address, socklen_t
)

cdef enum:
    MAPPED_PREFIX = 12  # bytes before the IPv4 address in an IPv4-mapped one

cdef struct Address:
    sockaddr_storage storage
    socklen_t size


cdef inline bint address_parse(Address *address, const char *host, int port) noexcept nogil:
    """Parse a numeric address, IPv4 or IPv6; False if it is neither."""
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
    """Four numbers without leading zeros, which some programs read as octal."""
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
    """Eight groups of up to four hexadecimal digits (RFC 4291 section 2.2). `::` stands for one or more groups of
    zeros, and an IPv4 address may stand for the last two groups. The caller sets `bytes` to zeros."""
    cdef const char *begin
    cdef unsigned int group
    cdef int count = 0
    cdef int gap = -1  # the number of groups before `::`
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


cdef inline void address_set(Address *address, const uint8_t *bytes, bint six, int port) noexcept nogil:
    """An address of these bytes, in the order of the network: 4 of IPv4 or 16 of IPv6. An IPv4-mapped one, which a
    client of a socket for both has, becomes one of IPv4."""
    cdef sockaddr_in *four = <sockaddr_in *>&address.storage
    if six and is_mapped(bytes):
        six = False
        bytes += MAPPED_PREFIX
    memset(address, 0, sizeof(Address))
    four.sin_port = port_bytes(<uint16_t>port)  # in the same place for both
    four.sin_family = AF_INET6 if six else AF_INET
    address.size = sizeof(sockaddr_in6) if six else sizeof(sockaddr_in)
    memcpy(<uint8_t *>address_bytes(address), bytes, 16 if six else 4)


cdef inline bint address_of_socket(Address *address, int fd, bint of_peer) noexcept nogil:
    """The address of a connection, or that of its client; False if there is none any more."""
    cdef uint8_t bytes[16]
    address.size = sizeof(address.storage)
    if socket_address(fd, of_peer, <sockaddr *>&address.storage, &address.size) < 0:
        return False
    if address.storage.ss_family == AF_INET6 and is_mapped(address_bytes(address)):
        memcpy(bytes, address_bytes(address), sizeof(bytes))
        address_set(address, bytes, True, address_port(address))
    return True


cdef inline int address_port(const Address *address) noexcept nogil:
    return port_bytes((<const sockaddr_in *>&address.storage).sin_port)  # in the same place for both


cdef inline const uint8_t *address_bytes(const Address *address) noexcept nogil:
    """The bytes of the address: 4 of IPv4, 16 of IPv6."""
    if address.storage.ss_family == AF_INET6:
        return (<const sockaddr_in6 *>&address.storage).sin6_addr.s6_addr
    return <const uint8_t *>&(<const sockaddr_in *>&address.storage).sin_addr


cdef inline bint address_is_of_many(const Address *address) noexcept nogil:
    """Whether it is for groups of hosts: a socket can be bound to it, but nobody can connect to it. IPv4 has these from
    224.0.0.0 on, up to the broadcast address (RFC 5771, RFC 919), IPv6 in ff00::/8 (RFC 4291 section 2.7)."""
    return address_bytes(address)[0] >= (224 if address.storage.ss_family == AF_INET else 255)


cdef inline bint address_is_any(const Address *address) noexcept nogil:
    """Whether it stands for all addresses of this host."""
    cdef uint8_t zeros[16]
    memset(zeros, 0, sizeof(zeros))
    return memcmp(address_bytes(address), zeros, 16 if address.storage.ss_family == AF_INET6 else 4) == 0


cdef inline void address_make_local(Address *address, bint has_both) noexcept nogil:
    """Replace the address for all addresses by the loopback address. It is the one of IPv4 if the IPv6 socket accepts
    IPv4 too (`has_both`), because ::1 does not exist where IPv6 is disabled."""
    cdef int port = address_port(address)
    if not address_is_any(address):
        return
    if address.storage.ss_family == AF_INET6 and not has_both:
        address_parse(address, "::1", port)
    else:
        address_parse(address, "127.0.0.1", port)


# ---- as text ------------------------------------------------------------------------------------------------------

cdef inline void text_address(Text *text, const Address *address) noexcept nogil:
    if address.storage.ss_family == AF_INET6:
        text_address_6(text, address_bytes(address))
    else:
        text_address_4(text, address_bytes(address))


cdef inline void text_address_4(Text *text, const uint8_t *bytes) noexcept nogil:
    text_format(text, "%llu.%llu.%llu.%llu", <llu>bytes[0], <llu>bytes[1], <llu>bytes[2], <llu>bytes[3])


cdef inline void text_address_6(Text *text, const uint8_t *bytes) noexcept nogil:
    """Append an address as in RFC 5952: `::` replaces the first of the longest runs of two or more zero groups, and an
    IPv4-mapped address ends in IPv4 notation."""
    cdef int groups = 6 if is_mapped(bytes) else 8
    cdef int gap = -1, gap_length = 1, run, i
    for i in range(groups):
        run = 0
        while i + run < groups and group_at(bytes, i + run) == 0:
            run += 1
        if run > gap_length:
            gap = i
            gap_length = run
    i = 0
    while i < groups:
        if i == gap:
            text_string(text, "::")
            i += gap_length
            continue
        if i and i != gap + gap_length:
            text_string(text, ":")
        text_hex(text, group_at(bytes, i))
        i += 1
    if groups == 6:
        text_string(text, ":")
        text_address_4(text, bytes + MAPPED_PREFIX)


cdef inline bint is_mapped(const uint8_t *bytes) noexcept nogil:
    """Whether this is an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2)."""
    cdef uint8_t prefix[MAPPED_PREFIX]
    memset(prefix, 0, 10)
    memset(prefix + 10, 0xFF, 2)
    return memcmp(bytes, prefix, MAPPED_PREFIX) == 0


cdef inline unsigned int group_at(const uint8_t *bytes, int index) noexcept nogil:
    return <unsigned int>bytes[2 * index] << 8 | bytes[2 * index + 1]


cdef inline void text_hex(Text *text, unsigned int number) noexcept nogil:
    """Append a number as at most four hexadecimal digits, without leading zeros."""
    cdef const char *digits = "0123456789abcdef"
    cdef int shift = 12
    while shift and number >> shift == 0:
        shift -= 4
    while shift >= 0:
        text_put(text, digits + (number >> shift & 0xF), 1)
        shift -= 4


cdef inline void text_url(Text *text, const Address *address) noexcept nogil:
    text_string(text, "http://")
    text_address_and_port(text, address)


cdef inline void text_address_and_port(Text *text, const Address *address) noexcept nogil:
    """Append both as in a URL."""
    cdef bint six = address.storage.ss_family == AF_INET6
    text_string(text, "[" if six else "")
    text_address(text, address)
    text_format(text, "]:%llu" if six else ":%llu", <llu>address_port(address))
