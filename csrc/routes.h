/* The routes: an exact path, as it stands in the request without its query, and what answers it.
 *
 * What is not listed is the page. A route costs the page nothing but one comparison of lengths each. */
#ifndef YINYANG_ROUTES_H
#define YINYANG_ROUTES_H

#include <string.h>

/* in the order of the answers in http/responses.pxd, which counts on it */
enum route { ROUTE_PAGE, ROUTE_EMPTY, ROUTE_ALIVE, ROUTE_WALL, ROUTE_WHOAMI, ROUTE_READY, ROUTE_METRICS };

#define ROUTE(path, response) {sizeof path - 1, response, path}

static const struct route_row {
    unsigned char length, response;
    char path[14]; /* in place, as a table of pointers would be relocated when the program starts */
} route_rows[] = {
    ROUTE("/favicon.ico", ROUTE_EMPTY), /* browsers ask by themselves; it is no page that anybody looked at */
    ROUTE("/livez", ROUTE_ALIVE),
    ROUTE("/healthz", ROUTE_ALIVE),
    ROUTE("/readyz", ROUTE_READY),
    ROUTE("/whoami", ROUTE_WHOAMI),
    ROUTE("/metrics", ROUTE_METRICS),
    ROUTE("/wall", ROUTE_WALL),
};

enum {
    ROUTES_ALL = sizeof route_rows / sizeof *route_rows,
    ROUTES_PLAIN = 1, /* those of the original */
    WHOAMI_LENGTH = sizeof "/whoami" - 1,
};

/* One of enum route; `count` is how many of the rows are in use. */
static inline int route_of(const unsigned char *path, size_t length, int count)
{
    for (const struct route_row *row = route_rows; count; row++, count--)
        if (row->length == length && !memcmp(row->path, path, length))
            return row->response;
    return ROUTE_PAGE;
}

#endif
