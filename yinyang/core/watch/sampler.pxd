"""Sends requests for whoami at a constant mean rate, however long the answers take.

The times between requests are random, from an exponential distribution with the mean 1 / rate: what happens at random
times sees a rotation as it is, while two clients with exact timers may each keep step with a part of it. If no slot is
free, a request waits for one. Requests that are later than MAX_LAG do not come in a burst.

While the watch itself is held up, because it was stopped or its reader takes nothing, no time passes for its requests.

A slot has at most one request at a time, and one connection. All sockets are watched by one epoll, edge-triggered.
"""

from libc.math cimport log
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from ..os.address cimport Address
from ..os.syscalls cimport (
    EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINPROGRESS, EMFILE,
    ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, EPIPE, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP,
    EPOLL_CTL_ADD, ETIMEDOUT, MAP_NORESERVE, MAP_PRIVATE, MSG_NOSIGNAL, MSG_PEEK, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOCK_STREAM, SYS_getrandom, close, connect_socket, epoll_ctl, epoll_event, errno, map_memory, monotonic_us,
    open_socket, recv, send, sockaddr, socket_error, syscall
)
from ..text.buffer cimport Text, hex_digit, text_open, text_put, text_string
from .answer cimport (
    ANSWER_CUT, ANSWER_DONE, ANSWER_MAX, ANSWER_MORE, ANSWER_NOT_HTTP, Answer, answer_begin, answer_end, answer_open,
    answer_parse
)
from .cookies cimport COOKIES_MAX, CookieJar, Cookies, jar_choose, jar_open, jar_store
from .describe cimport answer_describe, failure_describe
from .options cimport NOT_GIVEN, WATCH_CONCURRENCY_MAX, WATCH_URL_MAX, WatchOptions
from .resolver cimport LOOK_UP_AGAIN, Resolver, resolver_ask, resolver_take_turn
from .sample cimport Label, US_PER_MS, US_PER_SECOND, WatchSample, label_copy
from .url cimport Part, Url, text_whoami_path, text_whoami_query

cdef extern from "verdict.h" nogil:
    enum:
        FAILURE_FAILED
        FAILURE_TIMED_OUT
        FAILURE_REFUSED
        FAILURE_RESET
        FAILURE_CLOSED
        FAILURE_UNREACHABLE
        FAILURE_NAME_NOT_FOUND
        FAILURE_NOT_HTTP
        FAILURE_NOT_WHOAMI
        FAILURE_NO_LOCAL_PORT

cdef enum:
    MAX_LAG = 100 * US_PER_MS  # of lateness that are made up for
    MIN_HELD_UP = 500 * US_PER_MS  # of lateness that no busy host explains
    INTERVAL_MAX = 366 * 24 * 3600  # seconds
    REQUEST_HEAD_MAX = 3 * WATCH_URL_MAX + 1024  # bytes of a request without its cookies
    NAME_PATIENCE = US_PER_SECOND  # for which a name may have no address
    NO_FAILURE = -1
    NO_PLACE = -1  # in the jar
    STATUS_OK = 200

cdef enum SlotState:
    SLOT_FREE  # perhaps with a connection that may be used again
    SLOT_LOOKING_UP  # the name of the host
    SLOT_CONNECTING
    SLOT_ASKING  # the request is being sent, or the answer received

cdef struct Slot:
    int state
    int fd  # -1: no connection
    int64_t connection  # its number; 0: none yet
    int64_t begin  # us, when the request was sent or began to wait for the name
    int64_t start  # when it went to the network
    int address  # the number of the one that was tried first
    int tries  # of others
    Label cookie_of  # the host of the replica whose cookies the request carries; empty if it carries none
    size_t cookies_length
    char cookies[COOKIES_MAX]
    size_t sent  # bytes of the request
    bint is_sent  # all of them
    int failure  # of sending it; NO_FAILURE: none yet
    Answer answer

cdef struct Sampler:
    const WatchOptions *options
    Resolver *resolver
    int epoll
    void (*on_sample)(void *context, const WatchSample *sample, const Answer *answer) noexcept nogil
    void *context  # of on_sample
    Slot *slots  # as many as options.concurrency
    int free_slots[WATCH_CONCURRENCY_MAX]  # their numbers
    int free_count
    int64_t latest_due  # us, when the next request is to be sent
    int64_t end  # us, when no more are sent; NOT_GIVEN: never
    int64_t waits_since, due  # us, when it had nothing to do, and when it was to have
    int64_t sent
    int lack  # errno, why the latest request was put off
    int64_t lacking_since  # us, since when no socket could be opened; 0: the latest could
    int64_t connections
    uint64_t random_state
    CookieJar jar
    char head[REQUEST_HEAD_MAX]  # of each request, up to its cookies
    size_t head_length
    WatchSample sample  # that was made last


cdef inline int sampler_open(Sampler *s, const WatchOptions *options, const Url *url, Resolver *resolver,
                             int epoll) noexcept nogil:
    """Have room for all requests; 0 or -errno."""
    cdef size_t slots = sizeof(Slot) * <size_t>options.concurrency
    cdef char *memory = <char *>map_memory(slots + <size_t>ANSWER_MAX * <size_t>options.concurrency,
                                           MAP_PRIVATE | MAP_NORESERVE)
    cdef int i
    if memory == NULL:
        return -ENOMEM
    s.options = options
    s.resolver = resolver
    s.epoll = epoll
    s.slots = <Slot *>memory
    for i in range(options.concurrency):
        s.slots[i].fd = -1
        answer_open(&s.slots[i].answer, memory + slots + <size_t>ANSWER_MAX * <size_t>i)
        s.free_slots[i] = i
    s.free_count = options.concurrency
    jar_open(&s.jar, False)
    syscall(SYS_getrandom, &s.random_state, sizeof(s.random_state), 0)
    s.random_state |= 1
    sampler_write_head(s, url)
    return 0


cdef inline void sampler_begin(Sampler *s, int64_t now) noexcept nogil:
    """Send the first request, and have the duration begin."""
    s.latest_due = s.waits_since = s.due = now
    s.end = now + s.options.duration if s.options.duration != NOT_GIVEN else NOT_GIVEN
    sampler_turn(s, now)


cdef inline uint64_t sampler_random(Sampler *s) noexcept nogil:
    """64 bits (xorshift64*, Vigna 2016): nothing depends on their being secret."""
    s.random_state ^= s.random_state >> 12
    s.random_state ^= s.random_state << 25
    s.random_state ^= s.random_state >> 27
    return s.random_state * <uint64_t>0x2545F4914F6CDD1DULL


cdef inline double sampler_interval(Sampler *s) noexcept nogil:
    """The us until the next request, half of one added, as what is behind the point will be cut off."""
    cdef double part = <double>(sampler_random(s) >> 11) / <double>(<uint64_t>1 << 53)
    return min(-log(1 - part) / s.options.rate, <double>INTERVAL_MAX) * US_PER_SECOND + 0.5


# ---- the request --------------------------------------------------------------------------------------------------

cdef inline void sampler_write_head(Sampler *s, const Url *url) noexcept nogil:
    cdef Text text
    text_open(&text, s.head, REQUEST_HEAD_MAX)
    text_string(&text, "GET ")
    text_target(&text, url, s.options.keep_alive)
    text_string(&text, " HTTP/1.1\r\nHost: ")
    text_put(&text, url.authority.bytes, url.authority.length)
    text_string(&text, "\r\nUser-Agent: yinyang-watch\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n")
    if url.user.bytes != NULL:
        text_string(&text, "Authorization: Basic ")
        text_base64(&text, &url.user)
        text_string(&text, "\r\n")
    if not s.options.keep_alive:
        text_string(&text, "Connection: close\r\n")
    s.head_length = text.length


cdef inline void text_target(Text *text, const Url *url, bint keep_alive) noexcept nogil:
    """Path and query, with what is not ASCII in percent-encoding (RFC 3986 section 2.1)."""
    cdef const char *digits = "0123456789ABCDEF"
    cdef char bytes[WATCH_URL_MAX]
    cdef uint8_t byte
    cdef Text plain
    cdef size_t i
    text_open(&plain, bytes, WATCH_URL_MAX)
    text_whoami_path(&plain, url)
    text_whoami_query(&plain, url, keep_alive)
    for i in range(min(plain.length, plain.room)):
        byte = <uint8_t>bytes[i]
        if byte < 128:
            text_put(text, bytes + i, 1)
        else:
            text_string(text, "%")
            text_put(text, digits + (byte >> 4), 1)
            text_put(text, digits + (byte & 15), 1)


cdef inline void text_base64(Text *text, const Part *user) noexcept nogil:
    """User and password of a URL, percent-decoded, in base64 (RFC 7617, RFC 4648)."""
    cdef const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cdef uint32_t bits = 0
    cdef int count = 0  # of bits
    cdef bint has_password = False
    cdef size_t i = 0
    cdef size_t written = 0
    cdef uint8_t byte
    while i < user.length or not has_password:
        byte = b':'  # behind a user without a password
        if i < user.length:
            byte = <uint8_t>user.bytes[i]
            has_password = has_password or byte == b':'
            if byte == b'%' and i + 2 < user.length and hex_pair(user.bytes + i + 1) >= 0:
                byte = <uint8_t>hex_pair(user.bytes + i + 1)
                i += 2
        else:
            has_password = True
        i += 1
        bits = bits << 8 | byte
        count += 8
        while count >= 6:
            count -= 6
            text_put(text, letters + (bits >> count & 63), 1)
            written += 1
    if count:
        text_put(text, letters + (bits << (6 - count) & 63), 1)
        written += 1
    while written % 4:
        text_string(text, "=")
        written += 1


cdef inline int hex_pair(const char *digits) noexcept nogil:
    """The byte of two hexadecimal digits; -1 if they are none."""
    cdef int high = hex_digit(digits[0])
    cdef int low = hex_digit(digits[1])
    return high << 4 | low if high >= 0 and low >= 0 else -1


cdef inline bint slot_send(Sampler *s, Slot *slot) noexcept nogil:
    """Send what the kernel takes of the request; False if the connection has failed (errno)."""
    cdef char bytes[REQUEST_HEAD_MAX + COOKIES_MAX + 16]
    cdef Text request
    cdef ssize_t sent
    text_open(&request, bytes, sizeof(bytes))
    text_put(&request, s.head, s.head_length)
    if slot.cookies_length:
        text_string(&request, "Cookie: ")
        text_put(&request, slot.cookies, slot.cookies_length)
        text_string(&request, "\r\n")
    text_string(&request, "\r\n")
    while slot.sent < request.length:
        sent = send(slot.fd, bytes + slot.sent, request.length - slot.sent, MSG_NOSIGNAL)
        if sent < 0:
            return errno == EAGAIN
        slot.sent += <size_t>sent
    slot.is_sent = True
    return True


# ---- from the request to the sample -------------------------------------------------------------------------------

cdef inline bint sampler_is_sending(const Sampler *s, int64_t now) noexcept nogil:
    """Whether there are requests to send, now or later."""
    if s.options.count != NOT_GIVEN and s.sent >= s.options.count:
        return False
    return s.end == NOT_GIVEN or now < s.end


cdef inline bint sampler_is_done(const Sampler *s, int64_t now) noexcept nogil:
    """Whether all requests were sent, and have ended."""
    return not sampler_is_sending(s, now) and s.free_count == s.options.concurrency


cdef inline int64_t sampler_due(Sampler *s, int64_t now) noexcept nogil:
    """When sampler_turn has something to do next, unless something happens before."""
    cdef int64_t due = now + US_PER_SECOND
    cdef int i
    if sampler_is_sending(s, now):
        if s.free_count:
            due = min(due, s.latest_due)
        if s.end != NOT_GIVEN:
            due = min(due, s.end)
    for i in range(s.options.concurrency):
        if s.slots[i].state != SLOT_FREE:
            due = min(due, s.slots[i].begin + s.options.timeout)
        if s.slots[i].state == SLOT_LOOKING_UP:
            due = min(due, now + LOOK_UP_AGAIN)
    s.waits_since = now
    s.due = due
    return due


cdef inline void sampler_wake(Sampler *s, int64_t now) noexcept nogil:
    """Leave out of account the time for which the watch was held up, before anything depends on it."""
    cdef int64_t late = now - s.due
    cdef int64_t waited = now - s.waits_since
    cdef int i
    s.waits_since = s.due = now
    if late < MIN_HELD_UP:
        return
    for i in range(s.options.concurrency):
        s.slots[i].begin += waited
        s.slots[i].start += waited


cdef inline void sampler_turn(Sampler *s, int64_t now) noexcept nogil:
    """Give up what takes too long, and send the requests that are due."""
    cdef int i, left
    sampler_wake(s, now)
    for i in range(s.options.concurrency):
        if s.slots[i].state == SLOT_LOOKING_UP:
            slot_look_up(s, i, now)
        if s.slots[i].state != SLOT_FREE and now >= s.slots[i].begin + s.options.timeout:
            slot_fail(s, i, FAILURE_TIMED_OUT)
    left = s.free_count  # what fails at once frees its slot for the next turn only, as signals come first
    while left and sampler_is_sending(s, now) and s.latest_due <= now:
        left -= 1
        sampler_send(s, now)
        s.latest_due = max(s.latest_due + <int64_t>sampler_interval(s), now - MAX_LAG)


cdef inline void sampler_send(Sampler *s, int64_t now) noexcept nogil:
    """Send a request by a free slot that is chosen at random."""
    cdef int place = <int>(sampler_random(s) % <uint64_t>s.free_count)
    cdef int number = s.free_slots[place]
    cdef Slot *slot = &s.slots[number]
    s.free_count -= 1
    s.free_slots[place] = s.free_slots[s.free_count]
    s.sent += 1
    slot.begin = slot.start = now
    slot.sent = 0
    slot.is_sent = False
    slot.failure = NO_FAILURE
    slot.tries = 0
    slot_take_cookies(s, slot)
    answer_begin(&slot.answer)
    if slot.fd >= 0 and not is_quiet(slot.fd):
        slot_close(slot)
    if slot.fd >= 0:
        slot_ask(s, number)
        return
    slot.connection = 0
    slot.state = SLOT_LOOKING_UP
    slot_look_up(s, number, now)


cdef inline bint is_quiet(int fd) noexcept nogil:
    """Whether the server has neither ended the connection, nor sent anything that nobody has asked for. It may have
    done so together with the last answer, and epoll tells that once."""
    cdef char byte = 0
    return recv(fd, &byte, 1, MSG_PEEK) < 0 and errno == EAGAIN


cdef inline void slot_take_cookies(Sampler *s, Slot *slot) noexcept nogil:
    """Have the request carry the cookies of a replica, or none."""
    cdef int place = NO_PLACE
    cdef const Cookies *cookies
    slot.cookies_length = 0
    slot.cookie_of.length = 0
    if not s.options.keep_alive:
        place = jar_choose(&s.jar, sampler_random(s))
    if place != NO_PLACE:
        cookies = &s.jar.cookies[place]
        slot.cookies_length = cookies.length
        memcpy(slot.cookies, cookies.bytes, cookies.length)
        label_copy(&slot.cookie_of, &cookies.host)


cdef inline void sampler_looked_up(Sampler *s, int64_t now) noexcept nogil:
    """The resolver has answered: connect those that wait for it."""
    cdef int i
    for i in range(s.options.concurrency):
        if s.slots[i].state == SLOT_LOOKING_UP:
            slot_look_up(s, i, now)


cdef inline void slot_look_up(Sampler *s, int number, int64_t now) noexcept nogil:
    """Connect if the host has addresses; give up if it has had none for long."""
    resolver_ask(s.resolver, now)
    if s.resolver.found.count:
        slot_connect(s, number, now)
    elif s.resolver.has_answered and now >= s.slots[number].begin + NAME_PATIENCE:
        slot_fail(s, number, FAILURE_NAME_NOT_FOUND)


cdef inline void slot_connect(Sampler *s, int number, int64_t now) noexcept nogil:
    """Begin to connect to the host's address whose turn it is."""
    cdef Slot *slot = &s.slots[number]
    slot.start = now
    slot.tries = 0
    slot.connection = 0
    slot.address = resolver_take_turn(s.resolver)
    slot_try(s, number)


cdef inline void slot_try(Sampler *s, int number) noexcept nogil:
    """Connect to an address, or to those behind it that do not fail at once. A server on the same host may have
    accepted, or refused, when connect(2) returns, although that says EINPROGRESS; then there is nothing to wait for."""
    cdef Slot *slot = &s.slots[number]
    cdef const Address *address
    cdef int error = 0
    while slot.tries < s.resolver.found.count:
        address = &s.resolver.found.list[(slot.address + slot.tries) % s.resolver.found.count]
        slot.fd = open_socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        if slot.fd < 0:
            error = errno
            if is_own_lack(error):
                slot_put_off(s, number, error)
                return
            slot.tries += 1
            continue
        s.lacking_since = 0
        if connect_begins(slot.fd, address) and (slot_send(s, slot) or slot.sent):
            slot_await(s, number)
            slot.state = SLOT_CONNECTING
            if slot.sent:
                slot_connected(s, number)
            return
        error = errno
        slot_close(slot)
        slot.tries += 1
    slot_fail(s, number, failure_of(error))


cdef inline bint is_own_lack(int error) noexcept nogil:
    """Whether it says something of this host, and nothing of the one that is asked."""
    return error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM


cdef inline void slot_put_off(Sampler *s, int number, int error) noexcept nogil:
    """Send the request later, as if it had not been sent yet."""
    cdef int64_t now = monotonic_us()
    s.slots[number].state = SLOT_FREE
    s.free_slots[s.free_count] = number
    s.free_count += 1
    s.sent -= 1
    s.latest_due = max(s.latest_due, now + LOOK_UP_AGAIN)
    s.lack = error
    if s.lacking_since == 0:
        s.lacking_since = now


cdef inline bint sampler_lacks_sockets(const Sampler *s, int64_t now) noexcept nogil:
    """Whether this host has had none for so long that a request would have been given up, or until the end."""
    if s.lacking_since == 0:
        return False
    return now - s.lacking_since >= s.options.timeout or sampler_is_done(s, now)


cdef inline bint connect_begins(int fd, const Address *address) noexcept nogil:
    """Whether the connection is made, or about to be."""
    return connect_socket(fd, <const sockaddr *>&address.storage, address.size) == 0 or errno == EINPROGRESS


cdef inline void slot_await(Sampler *s, int number) noexcept nogil:
    """Have a new connection watched; for room only if there will be something to send."""
    cdef epoll_event event
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET
    if s.options.keep_alive or not s.slots[number].is_sent:
        event.events |= EPOLLOUT
    event.data.u64 = <uint64_t>number
    epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.slots[number].fd, &event)


cdef inline void slot_connected(Sampler *s, int number) noexcept nogil:
    """The connection has a number from now on."""
    s.connections += 1
    s.slots[number].connection = s.connections
    s.slots[number].state = SLOT_ASKING


cdef inline void slot_ask(Sampler *s, int number) noexcept nogil:
    """Send the request. If the connection fails, the server may have said why before."""
    cdef Slot *slot = &s.slots[number]
    slot.state = SLOT_ASKING
    if not slot_send(s, slot):
        slot.failure = failure_of(errno)
        slot_receive(s, number)


cdef inline void sampler_event(Sampler *s, int number, uint32_t events) noexcept nogil:
    """Something has happened to the connection of a slot."""
    cdef Slot *slot = &s.slots[number]
    cdef int error
    if slot.state == SLOT_FREE:  # the server has ended a connection that nobody uses, or sends without being asked
        if slot.fd >= 0 and events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            slot_close(slot)
        return
    if slot.state == SLOT_CONNECTING and events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
        error = socket_error(slot.fd)
        if error:
            slot_close(slot)
            slot.tries += 1
            if slot.tries < s.resolver.found.count:
                slot_try(s, number)
            else:
                slot_fail(s, number, failure_of(error))
            return
        slot_connected(s, number)
        slot_ask(s, number)
    elif slot.state == SLOT_ASKING and events & EPOLLOUT:
        slot_ask(s, number)
    if slot.state == SLOT_ASKING and events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        slot_receive(s, number)


cdef inline void slot_receive(Sampler *s, int number) noexcept nogil:
    """Receive what there is of the answer."""
    cdef Slot *slot = &s.slots[number]
    cdef Answer *answer = &slot.answer
    cdef ssize_t size
    cdef int state = ANSWER_MORE
    while state == ANSWER_MORE:
        size = recv(slot.fd, answer.buffer + answer.length, ANSWER_MAX - answer.length, 0)
        if size < 0:
            if slot.failure != NO_FAILURE:
                slot_fail(s, number, slot.failure)
            elif errno != EAGAIN:
                slot_fail(s, number, failure_of(errno))
            return
        answer.length += <size_t>size
        state = answer_parse(answer) if size else answer_end(answer)
        if answer.head and answer.status != STATUS_OK and state != ANSWER_NOT_HTTP:
            slot_end(s, number, answer.status, state == ANSWER_DONE)
            return
    if state == ANSWER_CUT:
        slot_fail(s, number, slot.failure if slot.failure != NO_FAILURE else FAILURE_CLOSED)
    elif state == ANSWER_NOT_HTTP:
        slot_fail(s, number, FAILURE_NOT_HTTP)
    elif state == ANSWER_DONE and answer_describe(answer, &s.sample.replica):
        slot_end(s, number, NO_FAILURE, True)
    else:
        slot_end(s, number, FAILURE_NOT_WHOAMI, state == ANSWER_DONE)


cdef inline void slot_fail(Sampler *s, int number, int failure) noexcept nogil:
    """There is no answer."""
    s.slots[number].answer.head = 0
    slot_end(s, number, failure, False)


cdef inline void slot_end(Sampler *s, int number, int failure, bint is_whole) noexcept nogil:
    """Hand over the sample, whose replica is set if nothing failed; `is_whole`: all of the answer was received."""
    cdef Slot *slot = &s.slots[number]
    cdef WatchSample *sample = &s.sample
    cdef Answer *answer = &slot.answer
    sample.start = slot.start
    sample.end = monotonic_us()
    sample.is_answer = failure == NO_FAILURE
    sample.failure = failure
    sample.connection = slot.connection
    label_copy(&sample.cookie_of, &slot.cookie_of)
    if not sample.is_answer and not (answer.head and failure_describe(answer, &sample.replica)):
        sample.replica.host.length = 0
    if not (s.options.keep_alive and is_whole and answer.keeps_alive):
        slot_close(slot)
    slot.state = SLOT_FREE
    s.free_slots[s.free_count] = number
    s.free_count += 1
    if sample.is_answer and slot.cookies_length == 0 and not s.options.keep_alive:
        jar_store(&s.jar, &sample.replica.host, answer)
    s.on_sample(s.context, sample, answer if answer.head else NULL)


cdef inline void slot_close(Slot *slot) noexcept nogil:
    if slot.fd >= 0:
        close(slot.fd)
    slot.fd = -1


cdef inline int failure_of(int error) noexcept nogil:
    """The kind of failure that an errno is."""
    if error == ECONNREFUSED:
        return FAILURE_REFUSED
    if error == ECONNRESET or error == EPIPE or error == ECONNABORTED:
        return FAILURE_RESET
    if error == EHOSTUNREACH or error == ENETUNREACH or error == EHOSTDOWN or error == ENETDOWN:
        return FAILURE_UNREACHABLE
    if error == EADDRNOTAVAIL:
        return FAILURE_NO_LOCAL_PORT
    return FAILURE_TIMED_OUT if error == ETIMEDOUT else FAILURE_FAILED
