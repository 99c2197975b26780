"""Answers http://127.0.0.1:PORT/metrics while the watch runs, to a few clients at a time (RFC 9112)."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strchr, strlen, strncmp, strstr

from ..os.address cimport Address, address_parse
from ..os.listener cimport bound_socket
from ..os.syscalls cimport (
    EAGAIN, EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_MOD, MSG_NOSIGNAL, accept_client,
    close, epoll_ctl, epoll_event, errno, listen, recv, send
)
from ..text.buffer cimport Text, text_fits, text_number, text_open, text_string
from .exporter cimport text_watch_metrics
from .page cimport Page, page_must_grow, page_open
from .sample cimport US_PER_SECOND
from .tally cimport Tally

cdef enum:
    SCRAPES_MAX = 4  # clients at a time
    SCRAPE_HEAD_MAX = 8192  # bytes of a request
    SCRAPE_TIMEOUT = 5 * US_PER_SECOND
    LISTEN_QUEUE = 16

cdef struct Scrape:
    int fd  # -1: none
    int64_t deadline
    char head[SCRAPE_HEAD_MAX + 1]  # ends with NUL
    size_t received
    Page page
    size_t length  # of the response; 0: the request is not whole
    size_t sent

cdef struct Scrapes:
    int listener  # -1: none
    bint has_refused  # the kernel, another descriptor: somebody may wait to be accepted
    int epoll
    uint64_t first_event  # the data of the events of the first client; those of the others follow
    Scrape clients[SCRAPES_MAX]


cdef inline int scrapes_open(Scrapes *s, int port) noexcept nogil:
    """Listen; 0 or -errno. Without a port, nobody can ask."""
    cdef Address address
    cdef int i
    s.listener = -1
    for i in range(SCRAPES_MAX):
        s.clients[i].fd = -1
    if port == 0:
        return 0
    address_parse(&address, "127.0.0.1", port)
    s.listener = bound_socket(&address)
    if s.listener >= 0 and listen(s.listener, LISTEN_QUEUE) < 0:
        return -errno
    return min(s.listener, 0)


cdef inline void scrapes_accept(Scrapes *s, int64_t now) noexcept nogil:
    """Take in clients while there is room; those beyond are let go. The listener is watched edge-triggered, so that
    one who cannot be accepted, as there is no descriptor left, keeps nobody busy."""
    cdef epoll_event event
    cdef Scrape *client
    cdef int fd = accept_client(s.listener)
    cdef int i = 0
    while fd >= 0:
        while i < SCRAPES_MAX and s.clients[i].fd >= 0:
            i += 1
        if i == SCRAPES_MAX:
            close(fd)
        else:
            client = &s.clients[i]
            client.fd = fd
            client.deadline = now + SCRAPE_TIMEOUT
            client.received = client.length = client.sent = 0
            event.events = EPOLLIN
            event.data.u64 = s.first_event + <uint64_t>i
            epoll_ctl(s.epoll, EPOLL_CTL_ADD, fd, &event)
        fd = accept_client(s.listener)
    s.has_refused = errno != EAGAIN


cdef inline void scrapes_turn(Scrapes *s, int64_t now) noexcept nogil:
    """Close those who take too long, and see to those who could not be accepted."""
    cdef int i
    if s.has_refused:
        scrapes_accept(s, now)
    for i in range(SCRAPES_MAX):
        if s.clients[i].fd >= 0 and now >= s.clients[i].deadline:
            scrape_close(&s.clients[i])


cdef inline void scrape_close(Scrape *client) noexcept nogil:
    close(client.fd)
    client.fd = -1


cdef inline void scrapes_event(Scrapes *s, int number, const Tally *tally, int64_t now) noexcept nogil:
    """Receive from a client, or send to it."""
    cdef Scrape *client = &s.clients[number]
    cdef epoll_event event
    cdef ssize_t size
    if client.fd < 0:
        return
    if client.length == 0:
        size = recv(client.fd, client.head + client.received, SCRAPE_HEAD_MAX - client.received, 0)
        if size <= 0:
            if size == 0 or errno != EAGAIN:
                scrape_close(client)
            return
        client.received += <size_t>size
        client.head[client.received] = 0
        if strstr(client.head, "\r\n\r\n") == NULL:
            if client.received == SCRAPE_HEAD_MAX:
                scrape_close(client)
            return
        scrape_write(client, tally, now)
        if client.length == 0:  # for want of memory
            scrape_close(client)
            return
        event.events = EPOLLOUT
        event.data.u64 = s.first_event + <uint64_t>number
        epoll_ctl(s.epoll, EPOLL_CTL_MOD, client.fd, &event)
    while client.sent < client.length:
        size = send(client.fd, client.page.bytes + client.sent, client.length - client.sent, MSG_NOSIGNAL)
        if size < 0:
            if errno != EAGAIN:
                scrape_close(client)
            return
        client.sent += <size_t>size
    scrape_close(client)


cdef inline void scrape_write(Scrape *client, const Tally *tally, int64_t now) noexcept nogil:
    """Write the response to the request."""
    cdef Text text
    page_open(&client.page, &text)
    scrape_render(&text, client.head, tally, now)
    while page_must_grow(&client.page, &text):
        page_open(&client.page, &text)
        scrape_render(&text, client.head, tally, now)
    client.length = text.length if client.page.bytes != NULL and text_fits(&text) else 0


cdef inline void scrape_render(Text *text, const char *head, const Tally *tally, int64_t now) noexcept nogil:
    cdef const char *target = strchr(head, b" ")
    cdef bint is_head = strncmp(head, "HEAD ", strlen("HEAD ")) == 0
    cdef Text measured
    text_open(&measured, NULL, 0)
    if target == NULL or (
        strncmp(target, " /metrics ", strlen(" /metrics ")) != 0
        and strncmp(target, " /metrics?", strlen(" /metrics?")) != 0
    ):
        text_string(text, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    if not is_head and strncmp(head, "GET ", strlen("GET ")) != 0:
        text_string(text, "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\n"
                    "Connection: close\r\n\r\n")
        return
    text_watch_metrics(&measured, tally, now)
    text_string(text, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: ")
    text_number(text, measured.length)
    text_string(text, "\r\nConnection: close\r\n\r\n")
    if not is_head:
        text_watch_metrics(text, tally, now)
