/* The routes: an exact path, as it stands in the request without its query, and what answers it.
 *
 * What is not listed is the page. A route costs the page nothing but one comparison of lengths each. */
#ifndef YINYANG_ROUTES_H
#define YINYANG_ROUTES_H

#include <string.h>

enum { ROUTE_PAGE, ROUTE_EMPTY };

struct route {
    const char *path;
    size_t length;
    int answer;
};

#define ROUTE(path, answer) {path, sizeof path - 1, answer}

static const struct route routes[] = {
    ROUTE("/favicon.ico", ROUTE_EMPTY), /* browsers ask by themselves; it is no page that anybody looked at */
};

static inline int route_of(const unsigned char *path, size_t length)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (routes[i].length == length && !memcmp(routes[i].path, path, length))
            return routes[i].answer;
    return ROUTE_PAGE;
}

#endif
