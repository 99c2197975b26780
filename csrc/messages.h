/* Codes and their messages: statuses of HTTP, errors of system calls. */
#ifndef YINYANG_MESSAGES_H
#define YINYANG_MESSAGES_H

#include <errno.h>
#include <stddef.h>

/* The statuses of the responses, with their reason phrases (RFC 9110 section 15). */
#define STATUSES(X) \
    X(200, "OK") \
    X(301, "Moved Permanently") \
    X(400, "Bad Request") \
    X(405, "Method Not Allowed") \
    X(408, "Request Timeout") \
    X(414, "URI Too Long") \
    X(417, "Expectation Failed") \
    X(431, "Request Header Fields Too Large") \
    X(501, "Not Implemented") \
    X(503, "Service Unavailable") \
    X(505, "HTTP Version Not Supported")

enum status { /* a small number for each, for tables and sets of them */
#define X(code, text) STATUS_##code,
              STATUSES(X)
#undef X
                  STATUS_COUNT,
};

struct message {
    int code;
    const char *text;
};

static const struct message statuses[STATUS_COUNT] = {
#define X(code, text) [STATUS_##code] = {code, text},
    STATUSES(X)
#undef X
};

/* The errors of system calls. strerror(3) is not used, as its messages differ between C libraries, and those of both
 * shapes of the program are the same. Beside what the server's own calls are documented to fail with, there is what
 * filters of system calls, security modules and network or file systems may answer. */
static const struct system_error {
    short code;
    char text[42]; /* here, not a pointer, for each of which the static program would have a relocation */
} system_errors[] = {
    {EPERM, "operation not permitted"},
    {ENOENT, "no such file"},
    {ESRCH, "no such process"},
    {EINTR, "interrupted by a signal"},
    {EIO, "input or output error"},
    {ENXIO, "no such device or address"},
    {E2BIG, "argument list too long"},
    {ENOEXEC, "not an executable format"},
    {EBADF, "bad file descriptor"},
    {ECHILD, "no such child process"},
    {EAGAIN, "too many processes, or too little memory"},
    {ENOMEM, "out of memory"},
    {EACCES, "permission denied"},
    {EFAULT, "bad address in memory"},
    {EBUSY, "device or resource busy"},
    {EEXIST, "file exists"},
    {ENODEV, "no such device"},
    {ENOTDIR, "not a folder"},
    {EISDIR, "is a folder"},
    {EINVAL, "invalid argument"},
    {ENFILE, "this system has too many open files"},
    {EMFILE, "this process has too many open files"},
    {ENOTTY, "not a terminal"},
    {ETXTBSY, "file is being executed"},
    {EFBIG, "file too large"},
    {ENOSPC, "no space left"},
    {ESPIPE, "no position in a pipe or socket"},
    {EROFS, "read-only file system"},
    {EMLINK, "too many links"},
    {EPIPE, "connection closed"},
    {EDOM, "argument outside of its domain"},
    {ERANGE, "result out of range"},
    {EDEADLK, "deadlock avoided"},
    {ENAMETOOLONG, "name too long"},
    {ENOLCK, "no locks left"},
    {ENOSYS, "the kernel does not know this call"},
    {ELOOP, "too many symbolic links"},
    {ENODATA, "no data"},
    {ETIME, "timer expired"},
    {ENONET, "no network"},
    {ENOLINK, "link severed"},
    {ECOMM, "communication error"},
    {EPROTO, "protocol error"},
    {EBADMSG, "bad message"},
    {EOVERFLOW, "value too large"},
    {EILSEQ, "invalid byte sequence"},
    {EUSERS, "too many users"},
    {ENOTSOCK, "not a socket"},
    {EDESTADDRREQ, "destination address required"},
    {EMSGSIZE, "message too long"},
    {EPROTOTYPE, "wrong type of protocol"},
    {ENOPROTOOPT, "no such option of the protocol"},
    {EPROTONOSUPPORT, "no such protocol here"},
    {ESOCKTNOSUPPORT, "no such type of socket here"},
    {EOPNOTSUPP, "operation not supported"},
    {EPFNOSUPPORT, "no such family of protocols here"},
    {EAFNOSUPPORT, "no such kind of address here"},
    {EADDRINUSE, "address in use"},
    {EADDRNOTAVAIL, "this host does not have that address"},
    {ENETDOWN, "network down"},
    {ENETUNREACH, "network unreachable"},
    {ENETRESET, "network reset"},
    {ECONNABORTED, "connection aborted"},
    {ECONNRESET, "connection reset"},
    {ENOBUFS, "out of buffer space"},
    {EISCONN, "already connected"},
    {ENOTCONN, "not connected"},
    {ESHUTDOWN, "socket shut down"},
    {ETOOMANYREFS, "too many references"},
    {ETIMEDOUT, "timed out"},
    {ECONNREFUSED, "connection refused"},
    {EHOSTDOWN, "host down"},
    {EHOSTUNREACH, "host unreachable"},
    {EALREADY, "already in progress"},
    {EINPROGRESS, "in progress"},
    {ESTALE, "stale file handle"},
    {EUCLEAN, "file system needs repair"},
    {EREMOTEIO, "remote input or output error"},
    {EDQUOT, "disk quota exceeded"},
    {ECANCELED, "canceled"},
    {EOWNERDEAD, "owner died"},
    {ENOTRECOVERABLE, "state not recoverable"},
};

/* The message for an errno; NULL if there is none. */
static inline const char *system_error_message(int error)
{
    for (size_t i = 0; i < sizeof system_errors / sizeof *system_errors; i++)
        if (system_errors[i].code == error)
            return system_errors[i].text;
    return NULL;
}

/* The enum status of a code that is in the table. */
static inline int status_of(int code)
{
    int status = 0;
    while (status < STATUS_COUNT - 1 && statuses[status].code != code)
        status++;
    return status;
}

#endif
