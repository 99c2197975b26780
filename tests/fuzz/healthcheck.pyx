"""A fuzz target (libFuzzer) for the client of --healthcheck.

For any answer, however it is cut: it is healthy if and only if it begins with a whole status line's `HTTP/1.1 200 ` and
goes on; and what is said of another one is a printable line that fits its buffer.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort
from libc.string cimport memcmp

from yinyang.core.cli.healthcheck cimport PATIENCE, STATUS_LENGTH, exchange, is_healthy, text_problem
from yinyang.core.os.syscalls cimport (
    AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, close, monotonic_ms, send, shutdown, socketpair
)
from yinyang.core.text.buffer cimport Text, is_printable, text_fits, text_open

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOCK_SEQPACKET  # which keeps the pieces apart

cdef enum:
    MESSAGE_MAX = 256


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """The first byte tells how the rest is cut."""
    cdef char status[STATUS_LENGTH]
    cdef char words[MESSAGE_MAX]
    cdef int ends[2]
    cdef Text response, message
    cdef size_t step, piece, sent = 0
    cdef bint begins_well
    cdef int error
    if size == 0:
        return 0
    step = <size_t>data[0] + 1
    data += 1
    size -= 1
    if socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0:
        return 0
    while sent < size:
        piece = min(step, size - sent)
        if send(ends[1], data + sent, piece, MSG_DONTWAIT | MSG_NOSIGNAL) < 0:
            break  # the socket is full
        sent += piece
    shutdown(ends[1], SHUT_WR)
    text_open(&response, status, STATUS_LENGTH)
    error = exchange(ends[0], monotonic_ms() + PATIENCE, False, &response)
    close(ends[0])
    close(ends[1])
    if error or response.length != sent:
        abort()
    begins_well = sent > STATUS_LENGTH and memcmp(data, "HTTP/1.1 200 ", STATUS_LENGTH) == 0
    if is_healthy(&response) != begins_well:
        abort()
    text_open(&message, words, MESSAGE_MAX)
    text_problem(&message, error, &response)
    if not text_fits(&message) or not is_printable(words, message.length):
        abort()
    return 0
