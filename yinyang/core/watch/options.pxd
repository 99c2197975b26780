"""The options of the watch; csrc/watch_options.h is their table."""

from libc.stdint cimport int64_t

from .sample cimport Label

cdef enum:
    EXPECTED_MAX = 32  # shares that are expected
    NOT_GIVEN = -1
    WATCH_URL_MAX = 2048  # bytes

cdef struct WantedShare:  # of a group
    Label name
    double share  # from 0 to 1
    double margin  # a difference of shares

cdef struct WatchOptions:
    char url[WATCH_URL_MAX]  # of whoami, with a NUL
    char display_url[WATCH_URL_MAX]  # the same without password and query
    double rate  # requests per second
    int concurrency  # requests at the same time
    bint keep_alive  # connections are used for several requests
    int64_t timeout  # us, of a request
    int64_t duration  # us; NOT_GIVEN: no limit
    int64_t count  # requests; NOT_GIVEN: no limit
    bint json
    bint jsonl
    const char *junit  # a path; NULL if there is none
    int metrics_port  # 0: none
    bint insecure
    int by  # enum By
    # expectations; NOT_GIVEN where there is none
    int64_t expect_replicas
    int64_t max_errors
    int64_t max_gap  # us
    int64_t max_p99  # us
    double min_share
    WantedShare expected[EXPECTED_MAX]
    int expected_count
    bint has_goal
    WantedShare goal  # that --until waits for; its margin is 0
