"""What is still to be sent on one connection: the numbers of prebuilt answers, and how far into the first one.

While a segment of requests is worked through, its answers gather in the worker's one Queue, and one system call sends
them. If the client takes only a part, the rest is put away as a Rest: that, and nothing else, is what a slow reader
costs.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from .answers cimport Answer, Answers, DATE_LENGTH, RENDERED_MOST, answer_is_redirect, date_render
from .redirect cimport Redirect, redirect_render
from .system cimport (
    EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, errno, iovec, msghdr, send, sendmsg
)
from .text cimport Text, text_open

cdef enum:
    RECEIVE_MOST = 4096  # bytes of requests taken from one connection before the others have their turn
    REQUEST_LEAST = 25  # bytes of the shortest request that keeps its connection open
    QUEUE_MOST = RECEIVE_MOST // REQUEST_LEAST + 2  # one may have begun earlier, and one may be wrong
    VECTOR_MOST = QUEUE_MOST + 1  # one answer may be in two pieces

cdef struct Rest:
    int64_t second  # that the Date of the first answer tells
    uint32_t offset  # bytes of the first answer that are sent
    uint8_t count
    uint8_t answers[QUEUE_MOST]

cdef struct Queue:
    bint has_redirect  # at most one is unsent at a time
    Rest rest
    Redirect redirect
    char torn[256]  # the head of an answer that was cut in its Date, with the Date it began with
    iovec vector[VECTOR_MOST]

cdef enum Sent:
    SENT_ALL
    SENT_SOME  # the client has to read before more can be sent
    SENT_FAILED  # the client is gone


cdef inline void queue_clear(Queue *queue) noexcept nogil:
    queue.rest.count = 0
    queue.rest.offset = 0
    queue.has_redirect = False


cdef inline bint queue_put(Queue *queue, uint8_t answer) noexcept nogil:
    """False if there is no room, which a segment of RECEIVE_MOST bytes cannot bring about."""
    if queue.rest.count == QUEUE_MOST:
        return False
    queue.rest.answers[queue.rest.count] = answer
    queue.rest.count += 1
    return True


cdef inline void queue_render(Queue *queue, Answers *answers) noexcept nogil:
    """Render the redirect; with the Date that it began with, if it has begun."""
    cdef bint begun = queue.rest.offset != 0 and answer_is_redirect(queue.rest.answers[0])
    cdef Answer *answer
    cdef Text text
    cdef int i
    text_open(&text, answers.bytes + answers.rendered, RENDERED_MOST)
    for i in range(queue.rest.count):
        if answer_is_redirect(queue.rest.answers[i]):
            redirect_render(&text, &queue.redirect, queue.rest.answers[i],
                            queue.rest.second if begun else answers.second)
            answer = &answers.table[queue.rest.answers[i]]
            answer.at = answers.rendered
            answer.length = <uint32_t>text.length


cdef inline int queue_first(Queue *queue, const Answers *answers, iovec *vector) noexcept nogil:
    """The pieces of an answer that is partly sent; in two, if its Date has changed since."""
    cdef const Answer *answer = &answers.table[queue.rest.answers[0]]
    cdef const char *bytes = answers.bytes + answer.at
    cdef uint32_t offset = queue.rest.offset
    cdef uint32_t date_end = answer.date + DATE_LENGTH
    cdef int count = 0
    if answer.copies and offset < date_end and queue.rest.second != answers.second:
        memcpy(queue.torn, bytes, date_end)
        date_render(queue.torn + answer.date, queue.rest.second)
        vector[0].iov_base = queue.torn + offset
        vector[0].iov_len = date_end - offset
        offset = date_end
        count = 1
    vector[count].iov_base = <char *>bytes + offset
    vector[count].iov_len = answer.length - offset
    return count + 1


cdef inline int queue_vector(Queue *queue, const Answers *answers, iovec *vector) noexcept nogil:
    """All that is to be sent: runs of equal answers come straight from the copies that stand in a row."""
    cdef const uint8_t *number = queue.rest.answers
    cdef const uint8_t *end = number + queue.rest.count
    cdef const Answer *answer
    cdef uint32_t run
    cdef int count = 0
    if queue.rest.offset:
        count = queue_first(queue, answers, vector)
        number += 1
    while number != end:
        answer = &answers.table[number[0]]
        run = 1
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
    while sent:
        left = answers.table[rest.answers[done]].length - rest.offset
        if sent < left:
            if rest.offset == 0:
                rest.second = answers.second
            rest.offset += <uint32_t>sent
            break
        sent -= left
        rest.offset = 0
        if answer_is_redirect(rest.answers[done]):
            queue.has_redirect = False
        done += 1
    rest.count -= done
    memmove(rest.answers, rest.answers + done, rest.count)


cdef inline int queue_send(Queue *queue, Answers *answers, int fd) noexcept nogil:
    """Send what the client takes; one of Sent."""
    cdef msghdr message
    cdef ssize_t sent
    cdef int count
    while queue.rest.count:
        if queue.has_redirect:
            queue_render(queue, answers)
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


cdef inline void queue_put_away(const Queue *queue, Rest *rest) noexcept nogil:
    """`queue` has something to send, as after SENT_SOME."""
    memcpy(rest, &queue.rest, sizeof(Rest) - QUEUE_MOST + queue.rest.count)


cdef inline void queue_take_back(Queue *queue, const Rest *rest) noexcept nogil:
    memcpy(&queue.rest, rest, sizeof(Rest))
