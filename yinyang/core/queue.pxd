"""What is still to be sent on one connection: the numbers of prebuilt answers, and how far into the first one.

While a segment of requests is worked through, its answers gather in the worker's one Queue, and one system call sends
them. If the client takes only a part, the rest is put away as a Rest, with the first of its redirects: that, and
nothing else, is what a slow reader costs.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from .answers cimport (
    ANSWER_PAGE, ANSWER_REDIRECT, Answer, Answers, DATE_LENGTH, answer_is_page, answer_is_redirect, date_render
)
from .redirect cimport RENDERED_MOST, Redirect, redirect_render
from .system cimport (
    EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, errno, iovec, msghdr, send, sendmsg
)
from .text cimport Text, text_open

cdef enum:
    RECEIVE_MOST = 4096  # bytes of requests taken from one connection before the others have their turn
    REQUEST_LEAST = 25  # bytes of the shortest request that keeps its connection open
    QUEUE_MOST = RECEIVE_MOST // REQUEST_LEAST + 2  # one may have begun earlier, and one may be wrong
    VECTOR_MOST = QUEUE_MOST + 1  # one answer may be in two pieces
    REDIRECTS_MOST = 16  # as many as a segment has whose targets are as long as they may be

cdef struct Rest:
    int64_t second  # that the Date of the first answer tells
    uint32_t offset  # bytes of the first answer that are sent
    uint8_t count
    uint8_t answers[QUEUE_MOST]

cdef struct Queue:
    uint8_t redirects  # how many of the answers are such
    Rest rest
    uint16_t lengths[REDIRECTS_MOST]  # of each redirect, as it was rendered last
    iovec vector[VECTOR_MOST]
    char torn[256]  # the head of an answer that was cut in its Date, with the Date it began with
    Redirect redirect[REDIRECTS_MOST]  # what each is made of
    char rendered[REDIRECTS_MOST * RENDERED_MOST]

cdef enum Sent:
    SENT_ALL
    SENT_SOME  # the client has to read before more can be sent
    SENT_FAILED  # the client is gone


cdef inline void queue_clear(Queue *queue) noexcept nogil:
    queue.rest.count = 0
    queue.rest.offset = 0
    queue.redirects = 0


cdef inline bint queue_put(Queue *queue, uint8_t answer) noexcept nogil:
    """False if there is no room, which a segment of RECEIVE_MOST bytes cannot bring about."""
    if queue.rest.count == QUEUE_MOST:
        return False
    queue.rest.answers[queue.rest.count] = answer
    queue.rest.count += 1
    return True


cdef inline Redirect *queue_room_for_redirect(Queue *queue) noexcept nogil:
    """Where to remember what the redirect that is put next is made of; NULL if there is no room."""
    if queue.redirects == REDIRECTS_MOST:
        return NULL
    queue.redirects += 1
    return &queue.redirect[queue.redirects - 1]


cdef inline size_t queue_render(Queue *queue, char *at, int which, uint8_t answer, int64_t second) noexcept nogil:
    """Render one of the redirects; its length."""
    cdef Text text
    text_open(&text, at, RENDERED_MOST)
    redirect_render(&text, &queue.redirect[which], answer, second)
    queue.lengths[which] = <uint16_t>text.length
    return text.length


cdef inline int queue_first(Queue *queue, const Answers *answers, iovec *vector) noexcept nogil:
    """The pieces of an answer that is partly sent, with the Date that it began with; in two, if it is prebuilt and the
    Date has changed since."""
    cdef const Answer *answer = &answers.table[queue.rest.answers[0]]
    cdef const char *bytes = answers.bytes + answer.at
    cdef size_t length = answer.length
    cdef uint32_t offset = queue.rest.offset
    cdef uint32_t date_end = answer.date + DATE_LENGTH
    cdef int count = 0
    if answer_is_redirect(queue.rest.answers[0]):
        bytes = queue.rendered
        length = queue_render(queue, queue.rendered, 0, queue.rest.answers[0], queue.rest.second)
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
    cdef char *room = queue.rendered
    cdef uint32_t run
    cdef int redirect = 0
    cdef int count = 0
    if queue.rest.offset:
        count = queue_first(queue, answers, vector)
        if answer_is_redirect(number[0]):
            redirect = 1
            room += RENDERED_MOST
        number += 1
    while number != end:
        run = 1
        if answer_is_redirect(number[0]):
            vector[count].iov_base = room
            vector[count].iov_len = queue_render(queue, room, redirect, number[0], answers.second)
            redirect += 1
            room += RENDERED_MOST
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
    cdef uint8_t done = 0, redirects = 0
    cdef uint32_t left
    cdef bint is_redirect
    while sent:
        is_redirect = answer_is_redirect(rest.answers[done])
        left = queue.lengths[redirects] if is_redirect else answers.table[rest.answers[done]].length
        left -= rest.offset
        if sent < left:
            if rest.offset == 0:
                rest.second = answers.second
            rest.offset += <uint32_t>sent
            break
        sent -= left
        rest.offset = 0
        redirects += is_redirect
        done += 1
    rest.count -= done
    memmove(rest.answers, rest.answers + done, rest.count)
    queue.redirects -= redirects
    if redirects:
        memmove(queue.redirect, queue.redirect + redirects, queue.redirects * sizeof(Redirect))


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


cdef inline int queue_put_away(Queue *queue, Rest *rest, Redirect *redirect) noexcept nogil:
    """`queue` has something to send, as after SENT_SOME. Only one redirect can be kept: what comes after it is answered
    with the page, which is as good an answer; how many pages that makes."""
    cdef int kept = 0, pages = 0
    cdef int i
    for i in range(queue.rest.count if queue.redirects else 0):
        if answer_is_redirect(queue.rest.answers[i]):
            if kept:
                queue.rest.answers[i] += ANSWER_PAGE - ANSWER_REDIRECT
                pages += answer_is_page(queue.rest.answers[i])
            kept = 1
    if kept:
        memcpy(redirect, &queue.redirect[0], sizeof(Redirect))
    memcpy(rest, &queue.rest, sizeof(Rest) - QUEUE_MOST + queue.rest.count)
    return pages


cdef inline void queue_take_back(Queue *queue, const Rest *rest, const Redirect *redirect) noexcept nogil:
    cdef int i
    memcpy(&queue.rest, rest, sizeof(Rest))
    queue.redirects = 0
    for i in range(queue.rest.count):
        if answer_is_redirect(queue.rest.answers[i]):
            queue.redirects = 1
            memcpy(&queue.redirect[0], redirect, sizeof(Redirect))
