"""The responses that are not sent yet: their numbers, the offset in the first one, and the bytes of rendered ones.

The responses to a segment of requests are queued in the worker's SendQueue, and one system call sends them. If the
client takes only a part, the rest is saved as a PendingSend, and its rendered responses in KeptBytes, which has limited
room for all slow readers of a worker: a place for each. If there are more rendered responses than the queue has room
for, the rest of the segment is saved there too, and parsed when they are sent.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint8_t
from libc.string cimport memcpy, memmove

from ..os.syscalls cimport EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, errno, iovec, send, writev
from ..text.buffer cimport Text, text_fits, text_open
from ..text.calendar cimport HTTP_DATE_LENGTH, http_date_render
from .free_places cimport FreePlaces, free_places_give_back, free_places_open, free_places_take
from .responses cimport RESPONSE_RENDERED, Response, Responses, response_is_rendered

cdef enum:
    RECEIVE_MAX = 4096  # bytes of requests taken from one connection before the others have their turn
    REQUEST_MIN = 25  # bytes of the shortest request that keeps its connection open
    SEND_QUEUE_MAX = RECEIVE_MAX // REQUEST_MIN + 2  # one may have begun earlier, and one may be an error
    VECTOR_MAX = SEND_QUEUE_MAX + 1  # one response may be in two pieces
    RENDERED_COUNT = 16  # rendered responses
    RENDERED_MAX = 40960  # bytes of one
    RENDERED_ALL = RENDERED_MAX + 16384  # bytes of all of them: another one is begun as long as the longest one fits
    KEPT_RESPONSES = 64  # slow readers whose rendered responses are kept
    KEPT_RESTS = 512  # rests of segments that are kept for them, and for late responses

cdef struct PendingSend:
    int64_t second  # of the Date of the first response
    uint32_t offset  # bytes of the first response that are sent
    uint16_t lengths[RENDERED_COUNT]  # of the rendered responses
    uint16_t place  # of them all, in KeptBytes
    uint16_t rest_place
    uint16_t rest_length
    uint8_t kept  # number of rendered responses
    uint8_t has_rest
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
    uint32_t starts[RENDERED_COUNT + 1]  # of the rendered responses in `bytes`, and the end of the last one
    char bytes[RENDERED_ALL]
    uint8_t rest[RECEIVE_MAX]  # of a segment, which is not parsed yet

cdef struct Places:  # for bytes of limited length
    char *bytes
    size_t size  # of a place
    FreePlaces free

cdef struct KeptBytes:
    Places responses
    Places rests

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
    if not send_queue_has_room(send_queue):
        return False
    text_open(text, send_queue.bytes + send_queue.starts[send_queue.rendered], RENDERED_MAX)
    return True


cdef inline bint send_queue_has_room(const SendQueue *send_queue) noexcept nogil:
    """Whether there is room for a rendered response."""
    return (send_queue.rendered < RENDERED_COUNT
            and send_queue.starts[send_queue.rendered] <= RENDERED_ALL - RENDERED_MAX)


cdef inline void send_queue_put_rest(SendQueue *send_queue, const uint8_t *begin, const uint8_t *end) noexcept nogil:
    """Keep the rest of a segment of RECEIVE_MAX bytes; the segment may itself be such a rest."""
    send_queue.rest_length = <uint16_t>(end - begin)
    memmove(send_queue.rest, begin, send_queue.rest_length)


cdef inline bint send_queue_put_rendered(SendQueue *send_queue, const Text *text) noexcept nogil:
    """Queue the response in the reserved buffer; False if it is too long or the queue is full, which must not
    happen."""
    if not text_fits(text):
        return False
    send_queue.lengths[send_queue.rendered] = <uint16_t>text.length
    send_queue.starts[send_queue.rendered + 1] = send_queue.starts[send_queue.rendered] + <uint32_t>text.length
    send_queue.rendered += 1
    return send_queue_put(send_queue, RESPONSE_RENDERED)


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
        bytes = send_queue.bytes + send_queue.starts[send_queue.gone]
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
            vector[count].iov_base = send_queue.bytes + send_queue.starts[place]
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


cdef inline size_t kept_bytes_size() noexcept nogil:
    """Bytes of memory that it needs."""
    return KEPT_RESPONSES * RENDERED_ALL + KEPT_RESTS * RECEIVE_MAX


cdef inline void kept_bytes_open(KeptBytes *kept, char *memory) noexcept nogil:
    places_open(&kept.responses, memory, KEPT_RESPONSES, RENDERED_ALL)
    places_open(&kept.rests, memory + KEPT_RESPONSES * RENDERED_ALL, KEPT_RESTS, RECEIVE_MAX)


cdef inline void places_open(Places *places, char *memory, uint16_t count, size_t size) noexcept nogil:
    places.bytes = memory
    places.size = size
    free_places_open(&places.free, count)


cdef inline uint16_t place_take(Places *places, const char *bytes, size_t length) noexcept nogil:
    """Keep bytes in a place, of which at least one is free."""
    cdef uint16_t number = free_places_take(&places.free)
    memcpy(places.bytes + number * places.size, bytes, length)
    return number


cdef inline bint send_queue_save(SendQueue *send_queue, PendingSend *pending, KeptBytes *kept,
                                 bint with_rest) noexcept nogil:
    """Save the queue after SENT_SOME; False if there is no room for its bytes."""
    cdef PendingSend *own = &send_queue.pending
    cdef uint32_t begin = send_queue.starts[send_queue.gone]
    own.kept = send_queue.rendered - send_queue.gone
    if own.kept and kept.responses.free.count == 0 or with_rest and kept.rests.free.count == 0:
        return False
    memcpy(own.lengths, &send_queue.lengths[send_queue.gone], own.kept * sizeof(own.lengths[0]))
    if own.kept:
        own.place = place_take(&kept.responses, send_queue.bytes + begin,
                               send_queue.starts[send_queue.rendered] - begin)
    own.rest_length = send_queue.rest_length if with_rest else 0
    own.has_rest = with_rest
    if with_rest:
        own.rest_place = place_take(&kept.rests, <const char *>send_queue.rest, own.rest_length)
    memcpy(pending, own, sizeof(PendingSend) - SEND_QUEUE_MAX + own.count)
    return True


cdef inline void send_queue_restore(SendQueue *send_queue, PendingSend *pending, KeptBytes *kept) noexcept nogil:
    cdef uint8_t i
    memcpy(&send_queue.pending, pending, sizeof(PendingSend))
    send_queue.sent = 0
    send_queue.gone = 0
    send_queue.rendered = pending.kept
    for i in range(pending.kept):
        send_queue.lengths[i] = pending.lengths[i]
        send_queue.starts[i + 1] = send_queue.starts[i] + pending.lengths[i]
    if pending.kept:
        memcpy(send_queue.bytes, kept.responses.bytes + pending.place * kept.responses.size,
               send_queue.starts[pending.kept])
    send_queue.rest_length = pending.rest_length
    if pending.has_rest:
        memcpy(send_queue.rest, kept.rests.bytes + pending.rest_place * kept.rests.size, pending.rest_length)
    pending_send_drop(pending, kept)


cdef inline void pending_send_drop(PendingSend *pending, KeptBytes *kept) noexcept nogil:
    """Free the places of its bytes."""
    if pending.kept:
        pending.kept = 0
        free_places_give_back(&kept.responses.free, pending.place)
    if pending.has_rest:
        pending.has_rest = False
        free_places_give_back(&kept.rests.free, pending.rest_place)
