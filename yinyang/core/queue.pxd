"""What is still to be sent on one connection: the numbers of prebuilt answers, and how far into the first one.

While a segment of requests is worked through, its answers gather in the worker's one Queue, and one system call sends
them. If the client takes only a part, the rest is put away as a Rest, with the first of its rendered answers: that, and
nothing else, is what a slow reader costs.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from .answers cimport Answer, Answers, DATE_LENGTH, answer_is_rendered, date_render
from .system cimport (
    EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, errno, iovec, msghdr, send, sendmsg
)
from .text cimport Text, text_fits, text_open

cdef enum:
    RECEIVE_MOST = 4096  # bytes of requests taken from one connection before the others have their turn
    REQUEST_LEAST = 25  # bytes of the shortest request that keeps its connection open
    QUEUE_MOST = RECEIVE_MOST // REQUEST_LEAST + 2  # one may have begun earlier, and one may be wrong
    VECTOR_MOST = QUEUE_MOST + 1  # one answer may be in two pieces
    RENDERED_LOT = 16  # answers: as many as a segment has unclean targets that are as long as they may be
    RENDERED_MOST = 5120  # bytes of one

cdef struct Rest:
    int64_t second  # that the Date of the first answer tells
    uint32_t offset  # bytes of the first answer that are sent
    uint16_t kept  # bytes of the one that is rendered
    uint8_t count
    uint8_t answers[QUEUE_MOST]

cdef struct Queue:
    uint8_t rendered  # how many such answers have a place
    uint8_t gone  # how many of these are sent
    Rest rest
    uint16_t lengths[RENDERED_LOT]
    iovec vector[VECTOR_MOST]
    char torn[256]  # the head of an answer that was cut in its Date, with the Date it began with
    char bytes[RENDERED_LOT][RENDERED_MOST]  # of the rendered answers

cdef enum Sent:
    SENT_ALL
    SENT_SOME  # the client has to read before more can be sent
    SENT_FAILED  # the client is gone


cdef inline void queue_clear(Queue *queue) noexcept nogil:
    queue.rest.count = 0
    queue.rest.offset = 0
    queue.rendered = 0
    queue.gone = 0


cdef inline bint queue_put(Queue *queue, uint8_t answer) noexcept nogil:
    """False if there is no room, which a segment of RECEIVE_MOST bytes cannot bring about."""
    if queue.rest.count == QUEUE_MOST:
        return False
    queue.rest.answers[queue.rest.count] = answer
    queue.rest.count += 1
    return True


cdef inline bint queue_place(Queue *queue, Text *text) noexcept nogil:
    """Where the next rendered answer goes; False if there is no room for one."""
    if queue.rendered == RENDERED_LOT:
        return False
    text_open(text, queue.bytes[queue.rendered], RENDERED_MOST)
    return True


cdef inline bint queue_put_rendered(Queue *queue, uint8_t answer, const Text *text) noexcept nogil:
    """The answer that now stands in the place; False if it is too long, which it cannot be, or there is no room."""
    queue.lengths[queue.rendered] = <uint16_t>text.length
    queue.rendered += 1
    return text_fits(text) and queue_put(queue, answer)


cdef inline int queue_first(Queue *queue, const Answers *answers, iovec *vector) noexcept nogil:
    """The pieces of an answer that is partly sent, with the Date that it began with; in two, if it is prebuilt and the
    Date has changed since."""
    cdef const Answer *answer = &answers.table[queue.rest.answers[0]]
    cdef const char *bytes = answers.bytes + answer.at
    cdef size_t length = answer.length
    cdef uint32_t offset = queue.rest.offset
    cdef uint32_t date_end = answer.date + DATE_LENGTH
    cdef int count = 0
    if answer_is_rendered(queue.rest.answers[0]):
        bytes = queue.bytes[queue.gone]
        length = queue.lengths[queue.gone]
    elif offset < date_end and queue.rest.second != answers.second:
        memcpy(queue.torn, bytes, date_end)
        date_render(queue.torn + answer.date, queue.rest.second)
        vector[0].iov_base = queue.torn + offset
        vector[0].iov_len = date_end - offset
        offset = date_end
        count = 1
    vector[count].iov_base = <char *>bytes + offset
    vector[count].iov_len = length - offset
    return count + 1


cdef inline int queue_vector(Queue *queue, const Answers *answers, iovec *vector) noexcept nogil:
    """All that is to be sent: runs of equal answers come straight from the copies that stand in a row."""
    cdef const uint8_t *number = queue.rest.answers
    cdef const uint8_t *end = number + queue.rest.count
    cdef const Answer *answer
    cdef uint32_t run
    cdef uint8_t place = queue.gone
    cdef int count = 0
    if queue.rest.offset:
        count = queue_first(queue, answers, vector)
        place += answer_is_rendered(number[0])
        number += 1
    while number != end:
        run = 1
        if answer_is_rendered(number[0]):
            vector[count].iov_base = queue.bytes[place]
            vector[count].iov_len = queue.lengths[place]
            place += 1
        else:
            answer = &answers.table[number[0]]
            while number + run != end and number[run] == number[0] and run < answer.copies:
                run += 1
            vector[count].iov_base = answers.bytes + answer.at
            vector[count].iov_len = run * answer.length
        number += run
        count += 1
    return count


cdef inline void queue_advance(Queue *queue, const Answers *answers, size_t sent) noexcept nogil:
    """Take `sent` bytes off the front."""
    cdef Rest *rest = &queue.rest
    cdef uint8_t done = 0
    cdef uint32_t left
    cdef bint is_rendered
    while sent:
        is_rendered = answer_is_rendered(rest.answers[done])
        left = queue.lengths[queue.gone] if is_rendered else answers.table[rest.answers[done]].length
        left -= rest.offset
        if sent < left:
            if rest.offset == 0:
                rest.second = answers.second
            rest.offset += <uint32_t>sent
            break
        sent -= left
        rest.offset = 0
        queue.gone += is_rendered
        done += 1
    rest.count -= done
    memmove(rest.answers, rest.answers + done, rest.count)
    if rest.count == 0:
        queue_clear(queue)


cdef inline int queue_send(Queue *queue, const Answers *answers, int fd) noexcept nogil:
    """Send what the client takes; one of Sent."""
    cdef msghdr message
    cdef ssize_t sent
    cdef int count
    while queue.rest.count:
        count = queue_vector(queue, answers, queue.vector)
        if count == 1:
            sent = send(fd, queue.vector[0].iov_base, queue.vector[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
        else:
            memset(&message, 0, sizeof(message))
            message.msg_iov = queue.vector
            message.msg_iovlen = count
            sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent >= 0:
            queue_advance(queue, answers, <size_t>sent)
        elif errno == EAGAIN:
            return SENT_SOME
        elif errno != EINTR:
            return SENT_FAILED
    return SENT_ALL


cdef inline bint queue_put_away(Queue *queue, Rest *rest, char *kept) noexcept nogil:
    """`queue` has something to send, as after SENT_SOME; `kept` has room for RENDERED_MOST bytes, so one rendered
    answer can be kept. False if there are more: then all from the second one on is given up."""
    cdef uint8_t left = queue.rendered - queue.gone
    cdef uint8_t i
    queue.rest.kept = 0
    if left:
        queue.rest.kept = queue.lengths[queue.gone]
        memcpy(kept, queue.bytes[queue.gone], queue.rest.kept)
    if left > 1:
        i = queue.rest.count
        while left > 1:  # it is the last one but `left`
            i -= 1
            left -= answer_is_rendered(queue.rest.answers[i])
        queue.rest.count = i
    memcpy(rest, &queue.rest, sizeof(Rest) - QUEUE_MOST + queue.rest.count)
    return queue.rendered - queue.gone <= 1


cdef inline void queue_take_back(Queue *queue, const Rest *rest, const char *kept) noexcept nogil:
    memcpy(&queue.rest, rest, sizeof(Rest))
    queue.gone = 0
    queue.rendered = rest.kept != 0
    queue.lengths[0] = rest.kept
    memcpy(queue.bytes[0], kept, rest.kept)
