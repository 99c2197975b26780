/* The table of routes: which paths get which response.
 *
 * All numbers that depend on a route come from here: its responses, its counters in /metrics, and the rules of its
 * connection. yinyang/core/routes/table.pxd has its body or its renderer. */
#ifndef YINYANG_ROUTES_H
#define YINYANG_ROUTES_H
/* clang-format off */ /* its tables are laid out by hand */

#include <string.h>

#include "http_errors.h"
#include "messages.h"
#include "wall.h"

enum route_kind {
    PREBUILT, /* rendered once, before the first request */
    RENDERED, /* rendered for each request */
    ERRORS,   /* the response to an invalid request: one for each error */
};

enum route_end { /* Does the response end its connection? */
    KEEPS,
    ENDS,
    ENDS_UNLESS_ASKED, /* not with `?keep=1` */
};

enum route_flag {
    LOGGED = 1 << 0,       /* the log has a line for each response */
    PLAIN = 1 << 1,        /* the route exists with --plain too */
    READS_ACCEPT = 1 << 2, /* the renderer uses the Accept of the request */
    ON_OPTIONS = 1 << 3,   /* for the method OPTIONS only */
    PREFIX = 1 << 4,       /* more may follow the path, after a slash */
    FAULTS = 1 << 5,       /* a fault may take the place of the response, and it may be late */
    ECHOES = 1 << 6,       /* the renderer uses the whole head of the request */
};

/* Fields of all routes that the original does not have: no cache stores them, no browser guesses another type, and no
 * link sends a referrer. Except for the wall, they load no other resource, and no page may frame them. */
#define NO_CACHE "Cache-Control: no-store\r\n"
#define NOT_STORED NO_CACHE "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
#define POLICY(sources) "Content-Security-Policy: default-src 'none'; " sources "frame-ancestors 'none'\r\n"
#define NO_RESOURCES POLICY("")
#define WALL_RESOURCES POLICY(WALL_SOURCES "connect-src 'self'; base-uri 'none'; form-action 'none'; ")

/* Pages of all origins may read /whoami, with any method and fields (Fetch standard, section 3.3). The wildcard does
 * not include Authorization. */
#define ANY_ORIGIN "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
#define ANY_REQUEST \
    "Access-Control-Allow-Methods: *\r\nAccess-Control-Allow-Headers: *, Authorization\r\n" \
    "Access-Control-Max-Age: 7200\r\n"

#define CODE(code) (1 << STATUS_##code)
#define CLASSES (CODE(2) | CODE(3) | CODE(4) | CODE(5))
#define HTML "Content-Type: text/html; charset=utf-8\r\n"
#define TEXT "Content-Type: text/plain; charset=utf-8\r\n"
#define GZIP "Content-Encoding: gzip\r\n" /* without being asked: every browser takes it (RFC 9110 section 12.5.3) */
#define X(name, status, message) | CODE(status)
#define ERROR_CODES (0 HTTP_ERRORS(X))

/* name, path, label in /metrics, kind, codes that the label has a counter for, fields of a prebuilt response, whether
 * it ends its connection, flags. A row without a path is chosen by code. Without PLAIN, the path may have a slash at
 * its end. Rows with the same label are counted as one, and have the same codes. Those with FAULTS come first. */
#define ROUTES(X) \
    X(PAGE, "", "page", PREBUILT, CODE(200) | CLASSES, HTML, KEEPS, LOGGED | PLAIN | FAULTS) /* no other row matches */ \
    X(PREFLIGHT, "/whoami", "whoami", PREBUILT, CODE(200) | CLASSES, NOT_STORED ANY_ORIGIN ANY_REQUEST, KEEPS, ON_OPTIONS) \
    X(WHOAMI, "/whoami", "whoami", RENDERED, CODE(200) | CLASSES, "", ENDS_UNLESS_ASKED, READS_ACCEPT | FAULTS) \
    X(ECHO, "/echo", "echo", RENDERED, CODE(200) | CLASSES, "", KEEPS, READS_ACCEPT | PREFIX | FAULTS | ECHOES) \
    X(HEADERS, "/headers", "echo", RENDERED, CODE(200) | CLASSES, "", KEEPS, READS_ACCEPT | FAULTS | ECHOES) \
    X(ANYTHING, "/anything", "echo", RENDERED, CODE(200) | CLASSES, "", KEEPS, READS_ACCEPT | PREFIX | FAULTS | ECHOES) \
    X(DELAY, "/delay", "delay", RENDERED, CODE(200) | CLASSES, "", KEEPS, READS_ACCEPT | PREFIX | FAULTS) \
    X(BURN, "/burn", "burn", RENDERED, CODE(200) | CLASSES, "", KEEPS, READS_ACCEPT | PREFIX | FAULTS) \
    X(EMPTY, "/favicon.ico", "empty", PREBUILT, CODE(200), "", KEEPS, PLAIN) /* and OPTIONS * */ \
    X(LIVEZ, "/livez", "livez", PREBUILT, CODE(200), TEXT NOT_STORED NO_RESOURCES, KEEPS, 0) \
    X(HEALTHZ, "/healthz", "livez", PREBUILT, CODE(200), TEXT NOT_STORED NO_RESOURCES, KEEPS, 0) \
    X(HOSTNAME, "/hostname", "hostname", PREBUILT, CODE(200), TEXT NOT_STORED NO_RESOURCES, KEEPS, 0) \
    X(WALL, "/wall", "wall", PREBUILT, CODE(200), HTML GZIP NOT_STORED WALL_RESOURCES, ENDS, 0) \
    X(REDIRECT, "", "redirect", RENDERED, CODE(301), "", KEEPS, PLAIN) /* the path is unclean */ \
    X(STATUS, "/status", "status", RENDERED, CLASSES, "", KEEPS, READS_ACCEPT | PREFIX) \
    X(READYZ, "/readyz", "readyz", RENDERED, CODE(200) | CODE(503), "", KEEPS, 0) \
    X(READY, "/ready", "readyz", RENDERED, CODE(200) | CODE(503), "", KEEPS, 0) \
    X(HEALTH, "/health", "readyz", RENDERED, CODE(200) | CODE(503), "", KEEPS, 0) \
    X(METRICS, "/metrics", "metrics", RENDERED, CODE(200), "", KEEPS, 0) \
    X(DISABLE, "/readyz/disable", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, 0) \
    X(ENABLE, "/readyz/enable", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, 0) \
    X(FAULTS_ON, "/fault_injection/enable", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, 0) \
    X(FAULTS_OFF, "/fault_injection/disable", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, 0) \
    X(FAULTS_STATUS, "/fault_injection/status", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, 0) \
    X(NO_CONTROL, "/fault_injection", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, PREFIX) /* any other */ \
    X(NO_READYZ, "/readyz", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, PREFIX) /* no other is a command */ \
    X(NO_READY, "/ready", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, PREFIX) \
    X(NO_HEALTH, "/health", "control", RENDERED, CODE(200) | CLASSES, "", KEEPS, PREFIX) \
    X(ERROR, "", "error", ERRORS, ERROR_CODES, TEXT, ENDS, PLAIN) /* the request is invalid */

enum route_name {
#define ROW(name, path, label, kind, codes, fields, end, flags) ROUTE_##name,
    ROUTES(ROW)
#undef ROW
    ROUTE_COUNT,
    LATE_ROUTES = ROUTE_BURN + 1, /* those whose responses can be late are among these */
};

enum variant { /* of a response: its version of HTTP, and whether the connection stays open */
    VARIANT_KEEP_ALIVE,     /* HTTP/1.1 */
    VARIANT_CLOSE,          /* HTTP/1.1 with Connection: close */
    VARIANT_1_0_CLOSE,      /* HTTP/1.0 */
    VARIANT_1_0_KEEP_ALIVE, /* HTTP/1.0 with Connection: keep-alive */
    VARIANT_COUNT,
};

/* A prebuilt response has a number for each variant, or only one variant if it ends its connection; and as many again
 * for HEAD. */
#define VARIANTS(kind, end) ((kind) == RENDERED ? 0 : (kind) == ERRORS ? ERROR_COUNT : (end) == ENDS ? 1 : VARIANT_COUNT)

enum response {
    RESPONSE_RENDERED, /* any response that is not prebuilt */
#define ROW(name, path, label, kind, codes, fields, end, flags) \
    RESPONSE_##name, RESPONSE_##name##_LAST = RESPONSE_##name + 2 * VARIANTS(kind, end) - 1,
    ROUTES(ROW)
#undef ROW
    RESPONSE_COUNT,
};

_Static_assert(RESPONSE_COUNT <= 256, "the number of a response is a byte");

static const struct route {
    const char *path, *label, *fields;
    unsigned int codes; /* a set of enum status */
    unsigned char path_length, kind, variants, end, flags;
    unsigned char response; /* the number of the first one */
} routes[ROUTE_COUNT] = {
#define ROW(name, path, label, kind, codes, fields, end, flags) \
    {path, label, fields, codes, sizeof path - 1, kind, VARIANTS(kind, end), end, flags, (unsigned char)RESPONSE_##name},
    ROUTES(ROW)
#undef ROW
};

/* Those that have FAULTS come first. */
#define ROW(name, path, label, kind, codes, fields, end, flags) \
    _Static_assert(!((flags) & FAULTS) || ROUTE_##name < LATE_ROUTES, "a route with FAULTS is not among the first ones");
ROUTES(ROW)
#undef ROW

#undef CODE
#undef CLASSES
#undef HTML
#undef TEXT
#undef X
#undef ERROR_CODES
#undef VARIANTS

/* Whether a path that begins with the same two bytes is that of the route. */
static inline int route_matches(const struct route *route, const unsigned char *path, size_t length)
{
    if (route->flags & PREFIX && length > route->path_length && path[route->path_length] == '/')
        length = route->path_length;
    if (!(route->flags & PLAIN) && length > 1 && path[length - 1] == '/')
        length--;
    return length == route->path_length && memcmp(route->path, path, length) == 0;
}

/* The route of a path, which is without its query. */
static inline int route_of(const unsigned char *path, size_t length, int asks_options, int plain)
{
    if (length < 2) /* most requests */
        return ROUTE_PAGE;
    for (int i = 0; i < ROUTE_COUNT; i++)
        if (routes[i].path_length && routes[i].path[1] == path[1] && (!plain || routes[i].flags & PLAIN) &&
            (asks_options || !(routes[i].flags & ON_OPTIONS)) && route_matches(&routes[i], path, length))
            return i;
    return ROUTE_PAGE;
}

/* clang-format on */
#endif
