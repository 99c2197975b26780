/* For the static program: the system calls that it needs, without the C library's wrappers around them.
 *
 * musl's wrappers emulate calls that old kernels lack and mark points where a thread can be cancelled. Without threads,
 * on kernels that have these calls (Linux 5.9 has all), that is several KiB of code for nothing. Included before anything
 * else (-include), after the headers that declare what it replaces. */
#ifndef YINYANG_DIRECT_H
#define YINYANG_DIRECT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIRECT(call, ...) syscall(SYS_##call, __VA_ARGS__)

#define accept4(fd, address, size, flags) (int)DIRECT(accept4, fd, address, size, flags)
#define bind(fd, address, size) (int)DIRECT(bind, fd, address, size)
#define connect(fd, address, size) (int)DIRECT(connect, fd, address, size)
#define epoll_create1(flags) (int)DIRECT(epoll_create1, flags)
#define epoll_ctl(epoll, operation, fd, event) (int)DIRECT(epoll_ctl, epoll, operation, fd, event)
#define epoll_wait(epoll, events, most, timeout) (int)DIRECT(epoll_pwait, epoll, events, most, timeout, NULL, 0)
#define eventfd(start, flags) (int)DIRECT(eventfd2, start, flags)
#define getrlimit(resource, limit) (int)DIRECT(prlimit64, 0, resource, NULL, limit)
#define lseek(fd, offset, whence) (off_t)DIRECT(lseek, fd, offset, whence)
#define mmap(address, size, protection, flags, fd, offset) \
    (void *)DIRECT(mmap, address, size, protection, flags, fd, offset)
#define open(path, flags) (int)DIRECT(openat, AT_FDCWD, path, flags, 0)
#define pipe2(fds, flags) (int)DIRECT(pipe2, fds, flags)
#define prctl(option, value) (int)DIRECT(prctl, option, value, 0, 0, 0)
#define read(fd, buffer, size) (ssize_t)DIRECT(read, fd, buffer, size)
#define recv(fd, buffer, size, flags) (ssize_t)DIRECT(recvfrom, fd, buffer, size, flags, NULL, NULL)
#define send(fd, bytes, size, flags) (ssize_t)DIRECT(sendto, fd, bytes, size, flags, NULL, 0)
#define sendmsg(fd, message, flags) (ssize_t)DIRECT(sendmsg, fd, message, flags)
#define socket(domain, type, protocol) (int)DIRECT(socket, domain, type, protocol)
#define socketpair(domain, type, protocol, fds) (int)DIRECT(socketpair, domain, type, protocol, fds)
#define waitid(kind, id, info, options) (int)DIRECT(waitid, kind, id, info, options, NULL)
#define write(fd, bytes, size) (ssize_t)DIRECT(write, fd, bytes, size)

/* The handlers that fork(3) runs are for programs with threads. */
#define fork() (pid_t)DIRECT(clone, SIGCHLD, 0, 0, 0, 0)

#endif
