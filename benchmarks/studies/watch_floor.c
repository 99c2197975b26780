/* What a sample costs the kernel: the system calls of the watch for a request and its answer, and nothing else.
 *
 *     watch_floor PORT RATE SECONDS new|same REQUEST
 *
 * Asks 127.0.0.1 at random intervals, half of the mean to one and a half, on a new connection each, or on one that is
 * used again. Prints how many answers came. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};
static int poll_fd, timer, connection = -1; /* one that is used again */
static const char *request;

static void set_timer(double at)
{
    struct itimerspec due = {.it_value = {.tv_sec = (time_t)at, .tv_nsec = (long)((at - (double)(time_t)at) * 1e9)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &due, NULL);
}

static void ask(int reuse)
{
    int fd = connection;
    if (fd < 0) {
        struct epoll_event event = {.events = EPOLLIN};
        int yes = 1;
        event.data.fd = fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (reuse)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connect(fd, (struct sockaddr *)&address, sizeof address);
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
        if (reuse)
            connection = fd;
    }
    send(fd, request, strlen(request), MSG_NOSIGNAL);
}

int main(int count, char **arguments)
{
    struct epoll_event events[64], event = {.events = EPOLLIN};
    struct timespec now;
    char answer[16384];
    long answers = 0;
    if (count != 6)
        return 2;
    int reuse = strcmp(arguments[4], "same") == 0;
    double interval = 1 / atof(arguments[2]);
    address.sin_port = htons((in_port_t)atoi(arguments[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    request = arguments[5];
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &event);
    clock_gettime(CLOCK_MONOTONIC, &now);
    double due = (double)now.tv_sec + (double)now.tv_nsec / 1e9, end = due + atof(arguments[3]);
    for (set_timer(due); due < end;) {
        int ready = epoll_wait(poll_fd, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == timer) {
                ask(reuse);
                due += interval * (0.5 + drand48());
                set_timer(due);
                continue;
            }
            int answered = recv(fd, answer, sizeof answer, 0) > 0;
            answers += answered;
            if (!reuse || !answered)
                close(fd);
            if (!answered)
                connection = -1;
        }
    }
    printf("%ld\n", answers);
    return 0;
}
