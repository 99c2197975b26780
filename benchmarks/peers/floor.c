/* The floor: a server that receives anything and sends fixed bytes, with as few system calls as possible. It does not parse
 * what it receives, so no HTTP server can take less time; the difference is the cost of HTTP.
 *
 *     floor PORT DEPTH FILE     whenever bytes arrive, sends the response in FILE, DEPTH times
 *     floor PORT 0 FILE         for each connection, sends the response and closes */
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
#include <unistd.h>

enum { EVENTS = 64, RECEIVE_MAX = 4096 };

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int number, char **arguments)
{
    if (number != 4) {
        fprintf(stderr, "usage: floor PORT DEPTH FILE\n");
        return 2;
    }
    int depth = atoi(arguments[2]), on = 1, file = open(arguments[3], O_RDONLY), epoll = epoll_create1(0);
    struct stat status;
    if (file < 0 || fstat(file, &status))
        fail(arguments[3]);
    size_t length = (size_t)status.st_size * (size_t)(depth ? depth : 1);
    char *responses = malloc(length), buffer[RECEIVE_MAX];
    for (size_t pos = 0; pos < length; pos += (size_t)status.st_size)
        if (pread(file, responses + pos, (size_t)status.st_size, 0) != status.st_size)
            fail(arguments[3]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!depth)
        setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        fail("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
                if (size > 0)
                    send(fd, responses, length, MSG_DONTWAIT | MSG_NOSIGNAL);
                else if (size == 0 || errno != EAGAIN)
                    close(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (depth) {
                    event.data.fd = fd;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                } else {
                    recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
                    send(fd, responses, length, MSG_DONTWAIT | MSG_NOSIGNAL);
                    close(fd);
                }
            }
        }
    }
}
