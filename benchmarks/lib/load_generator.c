/* A load generator for one server on 127.0.0.1, in one thread.
 *
 *     load_generator PORT FILE DEPTH CONNECTIONS SECONDS LENGTH            closed loop: as fast as the server responds
 *     load_generator PORT FILE DEPTH CONNECTIONS SECONDS LENGTH RATE       open loop: RATE requests per second
 *
 * FILE has requests without a body, all of the same length; they are sent in turn. DEPTH requests are sent at once on each
 * connection, and the next ones after all their responses; a DEPTH of 0 is a connection for each request, which the server
 * closes. A response has LENGTH bytes. Without RATE, it prints the number of responses and the seconds; with RATE, a line for
 * each request: the nanoseconds from the moment at which it was due (not from when it could be sent) to the end of its
 * response. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, BUFFER = 1 << 16, SOURCES = 64 };

struct connection {
    int fd;
    size_t missing; /* bytes of responses */
    int64_t due;    /* time at which its request was due; 0: it is free */
};

static struct sockaddr_in server;
static struct connection *connections;
static char *requests;  /* those of the file, repeated so that DEPTH - 1 others follow each of them */
static size_t length;   /* of one request */
static size_t together; /* number sent at once */
static size_t kinds, next_kind;
static size_t response;
static int epoll, depth, count;
static uint64_t answered;
static char buffer[BUFFER];

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void request(struct connection *c)
{
    size_t size = length * together;
    c->missing = response * together;
    if (send(c->fd, requests + length * next_kind, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail("send");
    next_kind = (next_kind + together) % kinds;
}

static void open_connection(struct connection *c)
{
    static unsigned number;
    int on = 1;
    /* from several addresses, because one does not have enough ports for a connection per request */
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number++ % SOURCES)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(c->fd, (struct sockaddr *)&source, sizeof source))
        fail("bind");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server))
        fail("connect");
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
        fail("epoll_ctl");
}

/* Receive; 1 if all requested responses are complete. */
static int receive(struct connection *c)
{
    ssize_t size = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size < 0)
        fail("recv");
    if (size == 0) {
        if (depth || c->missing) {
            fprintf(stderr, "the server closed a connection\n");
            exit(1);
        }
        close(c->fd);
        return 1;
    }
    if ((size_t)size > c->missing) {
        fprintf(stderr, "a response has more than %zu bytes\n", response);
        exit(1);
    }
    c->missing -= (size_t)size;
    return depth && !c->missing;
}

static void run_closed(double seconds)
{
    struct epoll_event events[EVENTS];
    int64_t begin = now(), end = begin + (int64_t)(seconds * 1e9);
    for (int i = 0; i < count; i++)
        request(&connections[i]);
    while (now() < end) {
        int ready = epoll_wait(epoll, events, EVENTS, 1000);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c))
                continue;
            answered += together;
            if (!depth)
                open_connection(c);
            request(c);
        }
    }
    printf("%llu %.9f\n", (unsigned long long)answered, (double)(now() - begin) / 1e9);
}

/* It never sleeps, so it is never late. A request without a free connection waits, and this time counts. */
static void run_open(double seconds, double rate)
{
    size_t total = (size_t)(seconds * rate), sent = 0, done = 0;
    int64_t *taken = calloc(total, sizeof *taken), begin = now() + 1000000;
    int next = 0;
    struct epoll_event events[EVENTS];
    if (!taken)
        fail("calloc");
    while (done < total) {
        int64_t time = now();
        int64_t due = begin + (int64_t)((double)sent * 1e9 / rate);
        if (time > begin + (int64_t)(seconds * 2e9)) {
            fprintf(stderr, "%zu of %zu requests have no response in time\n", total - done, total);
            exit(1);
        }
        for (int tries = 0; sent < total && due <= time && tries < count; tries++) {
            struct connection *c = &connections[next];
            next = (next + 1) % count;
            if (c->due)
                continue;
            c->due = due;
            request(c);
            sent++;
            due = begin + (int64_t)((double)sent * 1e9 / rate);
            tries = 0;
        }
        int ready = epoll_wait(epoll, events, EVENTS, 0);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (receive(c)) {
                taken[done++] = now() - c->due;
                c->due = 0;
            }
        }
    }
    for (size_t i = 0; i < total; i++)
        printf("%lld\n", (long long)taken[i]);
}

/* Set requests, length and kinds. */
static void read_requests(const char *path)
{
    static const char end[] = "\r\n\r\n";
    int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status))
        fail(path);
    size_t size = (size_t)status.st_size;
    char *content = malloc(size);
    if (!content)
        fail("malloc");
    if (read(file, content, size) != (ssize_t)size)
        fail(path);
    char *found = memmem(content, size, end, sizeof end - 1);
    length = found ? (size_t)(found - content) + sizeof end - 1 : 0;
    if (!length || size % length) {
        fprintf(stderr, "%s does not have requests of one length\n", path);
        exit(1);
    }
    kinds = size / length;
    requests = malloc(size + together * length);
    if (!requests)
        fail("malloc");
    for (size_t pos = 0; pos < size + together * length; pos++)
        requests[pos] = content[pos % size];
    free(content);
    close(file);
}

int main(int number, char **arguments)
{
    if (number != 7 && number != 8) {
        fprintf(stderr, "usage: load_generator PORT FILE DEPTH CONNECTIONS SECONDS LENGTH [RATE]\n");
        return 2;
    }
    depth = atoi(arguments[3]);
    count = atoi(arguments[4]);
    response = (size_t)atol(arguments[6]);
    together = (size_t)(depth ? depth : 1);
    read_requests(arguments[2]);
    connections = calloc((size_t)count, sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || epoll < 0)
        fail("memory");
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < count; i++)
        open_connection(&connections[i]);
    if (number == 8)
        run_open(atof(arguments[5]), atof(arguments[7]));
    else
        run_closed(atof(arguments[5]));
    return 0;
}
