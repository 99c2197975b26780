/* The fields of /whoami in its three formats. */
#ifndef YINYANG_WHOAMI_H
#define YINYANG_WHOAMI_H
/* clang-format off */ /* its tables are laid out by hand */

enum about { /* optional texts about where a replica runs */
    ABOUT_VERSION,
    ABOUT_NODE,
    ABOUT_NAMESPACE,
    ABOUT_ZONE,
    ABOUTS,
};

static const struct whoami_format { /* templates of text_format */
    const char *identity;      /* for name, short name, colour, and both colours */
    const char *about[ABOUTS]; /* each for its text */
    const char *state;         /* for requests, pages, when it started, how long that took, draining */
} whoami_text = {
    "host: %s\nshort: %s\ncolour: %s\ncolours: %s %s\n",
    {
        [ABOUT_VERSION] = "version: %s\n",
        [ABOUT_NODE] = "node: %s\n",
        [ABOUT_NAMESPACE] = "namespace: %s\n",
        [ABOUT_ZONE] = "zone: %s\n",
    },
    "requests: %llu\npages: %llu\nstarted: %s\nstart_ms: %llu\ndraining: %s\n",
}, whoami_json = {
    "\"host\":%-s,\"short\":%-s,\"colour\":\"%s\",\"colours\":[\"%s\",\"%s\"]",
    {
        [ABOUT_VERSION] = ",\"version\":%-s",
        [ABOUT_NODE] = ",\"node\":%-s",
        [ABOUT_NAMESPACE] = ",\"namespace\":%-s",
        [ABOUT_ZONE] = ",\"zone\":%-s",
    },
    ",\"requests\":%llu,\"pages\":%llu,\"started\":\"%s\",\"start_ms\":%llu,\"draining\":%s}\n",
}, whoami_fields = {
    "X-Served-By: %s\r\nX-Short: %s\r\nX-Colour: %s\r\nX-Colours: %s %s\r\n",
    {
        [ABOUT_VERSION] = "X-Version: %s\r\n",
        [ABOUT_NODE] = "X-Node: %s\r\n",
        [ABOUT_NAMESPACE] = "X-Namespace: %s\r\n",
        [ABOUT_ZONE] = "X-Zone: %s\r\n",
    },
    "X-Requests: %llu\r\nX-Pages: %llu\r\nX-Started: %s\r\nX-Start-Ms: %llu\r\nX-Draining: %s\r\n",
};

/* clang-format on */
#endif
