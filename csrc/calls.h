/* System calls that are given a place for a struct, as functions of what is in it.
 *
 * Each is in one place and is not watched by -fstack-protector-strong, which would add itself wherever the address of a
 * variable is taken: here that is a struct, and whoever gets its address is the kernel, which knows its size. */
#ifndef YINYANG_CALLS_H
#define YINYANG_CALLS_H

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define UNGUARDED __attribute__((noinline, no_stack_protector))

/* Milliseconds since some fixed moment; to the tick (4 ms or so), which is what deadlines need and is cheap. */
UNGUARDED static int64_t monotonic_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return time.tv_sec * (int64_t)1000 + time.tv_nsec / 1000000;
}

/* Seconds since 1970, as of the last tick. */
UNGUARDED static int64_t wall_second(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME_COARSE, &time);
    return time.tv_sec;
}

/* epoll_ctl(2), to be told of the descriptor by its number. */
UNGUARDED static int epoll_watch(int epoll, int operation, int fd, uint32_t events)
{
    struct epoll_event event;
    event.events = events;
    event.data.u64 = (uint64_t)fd;
    return epoll_ctl(epoll, operation, fd, &event);
}

/* setsockopt(2) of an option that is a number. */
UNGUARDED static void socket_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof value);
}

/* Have SIGPROF sent when this process has used so many seconds of CPU time from now on (setitimer(2)). */
UNGUARDED static void cpu_time_limit(int seconds)
{
    struct itimerval limit = {{0, 0}, {seconds, 0}};
    syscall(SYS_setitimer, ITIMER_PROF, &limit, NULL);
}

/* Add 1 to an event (eventfd(2)), which wakes all that wait for it. */
UNGUARDED static void eventfd_signal(int fd)
{
    const uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return; /* it is at its highest value, and so raised */
}

#endif
