/* Numbers that have words: of HTTP and of the system. */
#ifndef YINYANG_WORDS_H
#define YINYANG_WORDS_H

#include <errno.h>
#include <string.h>

/* The reason phrases of the statuses that are answered (RFC 9110 section 15), but for that of a redirect. */
#define STATUSES(X) \
    X(200, "OK") \
    X(400, "Bad Request") \
    X(405, "Method Not Allowed") \
    X(408, "Request Timeout") \
    X(414, "URI Too Long") \
    X(417, "Expectation Failed") \
    X(431, "Request Header Fields Too Large") \
    X(501, "Not Implemented") \
    X(503, "Service Unavailable") \
    X(505, "HTTP Version Not Supported")

/* Errors of system calls, those that a server can meet. Not by strerror(3), so that both shapes of the program say the
 * same whatever their C library. */
#define SYSTEM_ERRORS(X) \
    X(EPERM, "operation not permitted") \
    X(EACCES, "permission denied") \
    X(EAGAIN, "too many processes, or too little memory") \
    X(ENOMEM, "out of memory") \
    X(EMFILE, "this process has too many open files") \
    X(ENFILE, "this system has too many open files") \
    X(ENOBUFS, "out of buffer space") \
    X(ENOSYS, "the kernel does not know this call") \
    X(EINVAL, "invalid argument") \
    X(EBADF, "bad file descriptor") \
    X(EAFNOSUPPORT, "no such kind of address here") \
    X(ENETUNREACH, "network unreachable") \
    X(EHOSTUNREACH, "host unreachable") \
    X(ECONNREFUSED, "connection refused") \
    X(ECONNRESET, "connection reset") \
    X(EPIPE, "connection closed") \
    X(ETIMEDOUT, "timed out")

/* One block with a number of two bytes before each of the words, as a table of pointers would be relocated when the
 * program starts. */
static const struct messages {
#define X(number, words) unsigned char high_##number, low_##number; char words_##number[sizeof words];
    STATUSES(X) SYSTEM_ERRORS(X)
#undef X
    unsigned char end[3];
} messages = {
#define X(number, words) (number) >> 8, (number) & 0xff, words,
    STATUSES(X) SYSTEM_ERRORS(X)
#undef X
    {0},
};

/* The words for a status or an errno (all of which are below the statuses); empty for any other. */
static inline const char *message_for(int number)
{
    const unsigned char *pos = (const unsigned char *)&messages;
    while ((pos[0] | pos[1]) && (pos[0] << 8 | pos[1]) != number)
        pos += 3 + strlen((const char *)pos + 2);
    return (const char *)pos + 2;
}

#endif
