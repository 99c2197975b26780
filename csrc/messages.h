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
    X(505, "HTTP Version Not Supported") \
    X(2, "2xx") /* any other status of a class, where these are counted together */ \
    X(3, "3xx") \
    X(4, "4xx") \
    X(5, "5xx")

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

/* More registered statuses, which are counted by their class (RFC 9110 section 15, and IANA). */
static const struct message other_statuses[] = {
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {418, "I'm a teapot"}, /* RFC 2324; reserved in RFC 9110 section 15.5.19 */
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {502, "Bad Gateway"},
    {504, "Gateway Timeout"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
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

/* The enum status of a code: its own, or that of its class. */
static inline int status_of(int code)
{
    for (int status = 0; status < STATUS_2; status++)
        if (statuses[status].code == code)
            return status;
    return STATUS_2 + code / 100 - 2;
}

/* The reason phrase of a code from 200 to 599; empty if it has none. */
static inline const char *reason_of(int code)
{
    int status = status_of(code);
    if (status < STATUS_2)
        return statuses[status].text;
    for (size_t i = 0; i < sizeof other_statuses / sizeof *other_statuses; i++)
        if (other_statuses[i].code == code)
            return other_statuses[i].text;
    return "";
}

#endif
