/* Errors of system calls in words: those that a server can meet. Not by strerror(3), so that both shapes of the program
 * say the same whatever their C library. */
#ifndef YINYANG_SYSTEM_ERRORS_H
#define YINYANG_SYSTEM_ERRORS_H

#include <errno.h>

static inline const char *system_error_words(int error)
{
    switch (error) {
    case EPERM: return "operation not permitted";
    case EACCES: return "permission denied";
    case EAGAIN: return "too many processes, or too little memory";
    case ENOMEM: return "out of memory";
    case EMFILE: return "this process has too many open files";
    case ENFILE: return "this system has too many open files";
    case ENOBUFS: return "out of buffer space";
    case ENOSYS: return "the kernel does not know this call";
    case EINVAL: return "invalid argument";
    case EBADF: return "bad file descriptor";
    case EAFNOSUPPORT: return "no such kind of address here";
    case ENETUNREACH: return "network unreachable";
    case EHOSTUNREACH: return "host unreachable";
    case ECONNREFUSED: return "connection refused";
    case ECONNRESET: return "connection reset";
    case EPIPE: return "connection closed";
    case ETIMEDOUT: return "timed out";
    default: return 0;
    }
}

#endif
