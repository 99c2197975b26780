"""The responses that are not sent yet: their numbers, the offset in the first one, and the bytes of rendered ones.

The responses to a segment of requests are queued in the worker's SendQueue, and one system call sends them. If the
client takes only a part, the rest is saved as a PendingSend, and its rendered responses in KeptBytes, which has limited
room for all slow readers of a worker. If there are more rendered responses than the queue has room for, the rest of the
segment is saved there too, and parsed when they are sent.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint8_t
from libc.string cimport memcpy, memmove

from ..os.syscalls cimport EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, errno, iovec, send, writev
from ..text.buffer cimport Text, text_fits, text_open
from ..text.calendar cimport HTTP_DATE_LENGTH, http_date_render
from .responses cimport RESPONSE_RENDERED, Response, Responses, response_is_rendered

cdef extern from "atomic.h" nogil:
    void static_assert "STATIC_ASSERT"(bint condition)

cdef enum:
    RECEIVE_MAX = 4096  # bytes of requests taken from one connection before the others have their turn
    REQUEST_MIN = 25  # bytes of the shortest request that keeps its connection open
    SEND_QUEUE_MAX = RECEIVE_MAX // REQUEST_MIN + 2  # one may have begun earlier, and one may be an error
    VECTOR_MAX = SEND_QUEUE_MAX + 1  # one response may be in two pieces
    RENDERED_COUNT = 16  # rendered responses: as many as a segment has unclean targets of the greatest length
    RENDERED_MAX = 5120  # bytes of one
    KEPT_MAX = 256  # rendered responses and rests of segments that are kept

cdef struct PendingSend:
    int64_t second  # of the Date of the first response
    uint32_t offset  # bytes of the first response that are sent
    uint8_t kept  # number of places: rendered responses, and 1 for the rest of the segment, if there is one
    uint16_t places[RENDERED_COUNT + 1]  # in KeptBytes
    uint16_t lengths[RENDERED_COUNT + 1]
    uint8_t count
    uint8_t responses[SEND_QUEUE_MAX]

cdef struct SendQueue:
    uint8_t rendered  # number of rendered responses
    uint8_t gone  # number of these that are sent
    uint16_t rest_length  # bytes
    size_t sent  # bytes, since the pending ones were restored
    PendingSend pending
    uint16_t lengths[RENDERED_COUNT]
    iovec vector[VECTOR_MAX]
    char torn[256]  # the head of a response that was cut in its Date, with its first Date
    char bytes[RENDERED_COUNT][RENDERED_MAX]  # of the rendered responses
    uint8_t rest[RECEIVE_MAX]  # of a segment, which is not parsed yet

cdef struct KeptBytes:
    uint32_t free  # number of places
    uint16_t places[KEPT_MAX]  # the free ones
    char (*bytes)[RENDERED_MAX]  # KEPT_MAX of them

cdef enum Sent:
    SENT_ALL
    SENT_SOME  # the client has to read before more can be sent
    SENT_FAILED  # the client is gone


cdef inline void send_queue_clear(SendQueue *send_queue) noexcept nogil:
    send_queue.pending.count = 0
    send_queue.pending.offset = 0
    send_queue.rendered = 0
    send_queue.gone = 0


cdef inline bint send_queue_put(SendQueue *send_queue, uint8_t response) noexcept nogil:
    """False if the queue is full, which a segment of RECEIVE_MAX bytes cannot cause."""
    if send_queue.pending.count == SEND_QUEUE_MAX:
        return False
    send_queue.pending.responses[send_queue.pending.count] = response
    send_queue.pending.count += 1
    return True


cdef inline bint send_queue_reserve(SendQueue *send_queue, Text *text) noexcept nogil:
    """The buffer for the next rendered response; False if there is none left, which must not happen."""
    if send_queue.rendered == RENDERED_COUNT:
        return False
    text_open(text, send_queue.bytes[send_queue.rendered], RENDERED_MAX)
    return True


cdef inline bint send_queue_has_room(const SendQueue *send_queue) noexcept nogil:
    """Whether there is room for a rendered response."""
    return send_queue.rendered < RENDERED_COUNT


cdef inline void send_queue_put_rest(SendQueue *send_queue, const uint8_t *begin, const uint8_t *end) noexcept nogil:
    """Keep the rest of a segment of RECEIVE_MAX bytes; the segment may itself be such a rest."""
    send_queue.rest_length = <uint16_t>(end - begin)
    memmove(send_queue.rest, begin, send_queue.rest_length)


cdef inline bint send_queue_put_rendered(SendQueue *send_queue, const Text *text) noexcept nogil:
    """Queue the response in the reserved buffer; False if it is too long or the queue is full, which must not
    happen."""
    send_queue.lengths[send_queue.rendered] = <uint16_t>text.length
    send_queue.rendered += 1
    return text_fits(text) and send_queue_put(send_queue, RESPONSE_RENDERED)


cdef inline int send_queue_first(SendQueue *send_queue, const Responses *responses, iovec *vector) noexcept nogil:
    """The pieces of a response that is partly sent, with its first Date. There are two if it is prebuilt and the Date
    has changed since."""
    cdef const Response *response = &responses.table[send_queue.pending.responses[0]]
    cdef const char *bytes = responses.bytes + response.start
    cdef size_t length = response.length
    cdef uint32_t offset = send_queue.pending.offset
    cdef uint32_t date_end = response.date + HTTP_DATE_LENGTH
    cdef int count = 0
    if response_is_rendered(send_queue.pending.responses[0]):
        bytes = send_queue.bytes[send_queue.gone]
        length = send_queue.lengths[send_queue.gone]
    elif offset < date_end and send_queue.pending.second != responses.second:
        memcpy(send_queue.torn, bytes, date_end)
        http_date_render(send_queue.torn + response.date, send_queue.pending.second)
        vector[0].iov_base = send_queue.torn + offset
        vector[0].iov_len = date_end - offset
        offset = date_end
        count = 1
    vector[count].iov_base = <char *>bytes + offset
    vector[count].iov_len = length - offset
    return count + 1


cdef inline int send_queue_vector(SendQueue *send_queue, const Responses *responses, iovec *vector) noexcept nogil:
    """The vector of all bytes to be sent. A run of equal responses is sent from the copies in a row."""
    cdef const uint8_t *number = send_queue.pending.responses
    cdef const uint8_t *end = number + send_queue.pending.count
    cdef const Response *response
    cdef uint32_t run
    cdef uint8_t place = send_queue.gone
    cdef int count = 0
    if send_queue.pending.offset:
        count = send_queue_first(send_queue, responses, vector)
        place += response_is_rendered(number[0])
        number += 1
    while number != end:
        run = 1
        if response_is_rendered(number[0]):
            vector[count].iov_base = send_queue.bytes[place]
            vector[count].iov_len = send_queue.lengths[place]
            place += 1
        else:
            response = &responses.table[number[0]]
            while number + run != end and number[run] == number[0] and run < response.copies:
                run += 1
            vector[count].iov_base = responses.bytes + response.start
            vector[count].iov_len = run * response.length
        number += run
        count += 1
    return count


cdef inline void send_queue_advance(SendQueue *send_queue, const Responses *responses, size_t sent) noexcept nogil:
    """Remove `sent` bytes from the front."""
    cdef PendingSend *pending = &send_queue.pending
    cdef uint8_t done = 0
    cdef uint32_t left
    cdef bint is_rendered
    send_queue.sent += sent
    while sent:
        is_rendered = response_is_rendered(pending.responses[done])
        left = send_queue.lengths[send_queue.gone] if is_rendered else responses.table[pending.responses[done]].length
        left -= pending.offset
        if sent < left:
            if pending.offset == 0:
                pending.second = responses.second
            pending.offset += <uint32_t>sent
            break
        sent -= left
        pending.offset = 0
        send_queue.gone += is_rendered
        done += 1
    pending.count -= done
    memmove(pending.responses, pending.responses + done, pending.count)
    if pending.count == 0:
        send_queue_clear(send_queue)


cdef inline int send_queue_send(SendQueue *send_queue, const Responses *responses, int fd) noexcept nogil:
    """Send as much as the client takes; one of Sent. writev(2) is used because the sandbox cannot see the address in a
    message of sendmsg(2). It needs no flags: the socket does not block, and a worker blocks SIGPIPE."""
    cdef ssize_t sent
    cdef int count
    while send_queue.pending.count:
        count = send_queue_vector(send_queue, responses, send_queue.vector)
        if count == 1:
            sent = send(fd, send_queue.vector[0].iov_base, send_queue.vector[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
        else:
            sent = writev(fd, send_queue.vector, count)
        if sent >= 0:
            send_queue_advance(send_queue, responses, <size_t>sent)
        elif errno == EAGAIN:
            return SENT_SOME
        elif errno != EINTR:
            return SENT_FAILED
    return SENT_ALL


cdef inline void kept_bytes_open(KeptBytes *kept, char (*bytes)[RENDERED_MAX]) noexcept nogil:
    cdef uint16_t place
    static_assert(RECEIVE_MAX <= RENDERED_MAX)
    for place in range(KEPT_MAX):
        kept.places[place] = place
    kept.free = KEPT_MAX
    kept.bytes = bytes


cdef inline bint send_queue_save(SendQueue *send_queue, PendingSend *pending, KeptBytes *kept,
                                 bint with_rest) noexcept nogil:
    """Save the queue after SENT_SOME; False if there is no room for its bytes."""
    if <uint32_t>(send_queue.rendered - send_queue.gone + with_rest) > kept.free:
        return False
    send_queue.pending.kept = 0
    while send_queue.gone != send_queue.rendered:
        pending_send_keep(&send_queue.pending, kept, send_queue.bytes[send_queue.gone],
                          send_queue.lengths[send_queue.gone])
        send_queue.gone += 1
    if with_rest:
        pending_send_keep(&send_queue.pending, kept, <const char *>send_queue.rest, send_queue.rest_length)
    memcpy(pending, &send_queue.pending, sizeof(PendingSend) - SEND_QUEUE_MAX + send_queue.pending.count)
    return True


cdef inline void pending_send_keep(PendingSend *pending, KeptBytes *kept, const char *bytes,
                                   uint16_t length) noexcept nogil:
    kept.free -= 1
    pending.places[pending.kept] = kept.places[kept.free]
    pending.lengths[pending.kept] = length
    memcpy(kept.bytes[kept.places[kept.free]], bytes, length)
    pending.kept += 1


cdef inline void send_queue_restore(SendQueue *send_queue, PendingSend *pending, KeptBytes *kept,
                                    bint with_rest) noexcept nogil:
    cdef uint8_t i
    memcpy(&send_queue.pending, pending, sizeof(PendingSend))
    send_queue.sent = 0
    send_queue.gone = 0
    send_queue.rendered = pending.kept - with_rest
    for i in range(send_queue.rendered):
        send_queue.lengths[i] = pending.lengths[i]
        memcpy(send_queue.bytes[i], kept.bytes[pending.places[i]], pending.lengths[i])
    if with_rest:
        send_queue.rest_length = pending.lengths[send_queue.rendered]
        memcpy(send_queue.rest, kept.bytes[pending.places[send_queue.rendered]], send_queue.rest_length)
    pending_send_drop(pending, kept)


cdef inline void pending_send_drop(PendingSend *pending, KeptBytes *kept) noexcept nogil:
    """Free the places of its bytes."""
    while pending.kept:
        pending.kept -= 1
        kept.places[kept.free] = pending.places[pending.kept]
        kept.free += 1
