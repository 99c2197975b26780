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

/* The errors that a server can meet. strerror(3) is not used, as its messages differ between C libraries, and those of
 * both shapes of the program are the same. */
static const struct message system_errors[] = {
    {EPERM, "operation not permitted"},
    {EACCES, "permission denied"},
    {EAGAIN, "too many processes, or too little memory"},
    {ENOMEM, "out of memory"},
    {EMFILE, "this process has too many open files"},
    {ENFILE, "this system has too many open files"},
    {ENOBUFS, "out of buffer space"},
    {ENOSYS, "the kernel does not know this call"},
    {EINVAL, "invalid argument"},
    {EBADF, "bad file descriptor"},
    {EAFNOSUPPORT, "no such kind of address here"},
    {ENETUNREACH, "network unreachable"},
    {EHOSTUNREACH, "host unreachable"},
    {ECONNREFUSED, "connection refused"},
    {ECONNRESET, "connection reset"},
    {EPIPE, "connection closed"},
    {ETIMEDOUT, "timed out"},
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
