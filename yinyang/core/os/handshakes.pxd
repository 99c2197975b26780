"""Connections that the kernel holds back because their clients have said nothing (TCP_DEFER_ACCEPT in tcp(7)).

A client that sends its request is accepted with the request, which saves the server one wait per connection. A silent
one is accepted a second later, when the kernel has repeated its part of the handshake. For the client, the connection
is open all the time. If the listening socket is closed meanwhile, the client's request is reset; so before a server
ends, it asks the kernel's list of sockets (proc_pid_net(5)) whether there are such clients, and gives them that time.
"""

from libc.stdint cimport uint32_t, uint8_t

from ..text.buffer cimport hex_digit
from .address cimport Address, address_port
from .syscalls cimport AF_INET6, IPPROTO_TCP, O_CLOEXEC, O_RDONLY, TCP_DEFER_ACCEPT, open, read, socket_option

cdef enum:
    DEFERRED_FOR = 1  # s
    DEFERRED_END = 1200  # ms until a client that was held back is accepted, with some time for its last packet
    LIST_MAX = 16 * 1024 * 1024  # bytes of the list that are read: some 100,000 connections
    SYN_RECEIVED = 3  # the state of a handshake, as in the list
    LF = 10
    SP = 32
    COLON = 58


cdef inline void handshakes_defer(int listener, bint deferred) noexcept nogil:
    """Hold back silent clients from now on, or no longer."""
    socket_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFERRED_FOR if deferred else 0)


cdef inline int handshakes_list(const Address *address) noexcept nogil:
    """A descriptor of the kernel's list of sockets of this family, which can be read once; or -1."""
    return open("/proc/self/net/tcp6" if address.storage.ss_family == AF_INET6 else "/proc/self/net/tcp",
                O_RDONLY | O_CLOEXEC)


cdef inline bint handshakes_wait(int list_fd, const Address *address) noexcept nogil:
    """Whether a handshake with this port is incomplete, or may be, as there is no list or it is too long. Its lines are
    `number: address:port address:port state ...`, in hexadecimal digits."""
    cdef uint32_t ours = <uint32_t>address_port(address)
    cdef uint32_t number = 0
    cdef int colons = 0
    cdef int digits = 0
    cdef bint is_ours = False
    cdef uint8_t buffer[4096]
    cdef uint8_t byte
    cdef ssize_t size, i
    cdef ssize_t left = LIST_MAX
    while left > 0:
        size = read(list_fd, buffer, sizeof(buffer))
        if size <= 0:
            return size < 0
        left -= size
        for i in range(size):
            byte = buffer[i]
            if byte == LF:
                colons = 0
            elif byte == COLON:
                colons += 1
                digits = 0
                number = 0
            elif byte != SP and digits < 6:
                digits += 1
                number = number << 4 | <uint32_t>hex_digit(<char>byte)
                if colons == 2 and digits == 4:
                    is_ours = number == ours
                elif colons == 3 and digits == 6 and is_ours and number & 0xff == SYN_RECEIVED:
                    return True
    return True
