/* The options of the watch: one table for the command line and --help. yinyang/core/watch/options.pxd reads it. */
#ifndef YINYANG_WATCH_OPTIONS_H
#define YINYANG_WATCH_OPTIONS_H

enum watch_kind {
    WATCH_NUMBER,   /* a whole number from `min` to `max` */
    WATCH_RATE,     /* a number above 0 and up to `max` */
    WATCH_TIME,     /* 500ms, 1s, 2m or 1h; kept in us */
    WATCH_LIMIT,    /* the same, with its unit */
    WATCH_SHARE,    /* 20%, 0.5% or 20; kept as a number from 0 to 1 */
    WATCH_WORD,     /* one of `words`, kept as its index */
    WATCH_FLAG,     /* it takes no value */
    WATCH_FILE,     /* a path */
    WATCH_EXPECTED, /* NAME=SHARE, with a margin or without; may be given more than once */
    WATCH_LEAST,    /* NAME >= SHARE */
    WATCH_ACTION,   /* asks for something else than watching */
};

enum { WATCH_CONCURRENCY_MAX = 1000 }; /* requests at the same time */

#define WATCH_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The name of a row, and its fields. `number` is the default, for times in us; what has none is not given. */
#define WATCH_OPTIONS(X) \
    X(RATE, .word = "rate", .value = "N", .kind = WATCH_RATE, .number = 10, .max = 1000000, \
      .help = "send N requests per second, at random times (default: 10)") \
    X(CONCURRENCY, .word = "concurrency", .value = "N", .kind = WATCH_NUMBER, .number = 8, .min = 1, \
      .max = WATCH_CONCURRENCY_MAX, .help = "at most N at the same time (default: 8)") \
    X(CONNECTION, .word = "connection", .value = "new|same", .kind = WATCH_WORD, .words = WATCH_WORDS("new", "same"), \
      .help = "open a new connection for each request, or keep as many as --concurrency says and choose one of them " \
              "at random (default: new)") \
    X(TIMEOUT, .word = "timeout", .value = "TIME", .kind = WATCH_TIME, .number = 3000000, \
      .help = "give up a request after TIME (default: 3s)") \
    X(DURATION, .word = "duration", .value = "TIME", .kind = WATCH_TIME, .number = -1, \
      .help = \
          "send requests for TIME, then wait for their answers, each for --timeout at most (default: until Ctrl-C)") \
    X(COUNT, .word = "count", .value = "N", .kind = WATCH_NUMBER, .number = -1, .min = 1, .max = 1000000000000000, \
      .help = "end after N requests") \
    X(JSON, .word = "json", .kind = WATCH_FLAG, .help = "print only one JSON object, at the end") \
    X(JSONL, .word = "jsonl", .kind = WATCH_FLAG, \
      .help = "print only a JSON object for each request, after one about the run") \
    X(METRICS, .word = "metrics", .value = "PORT", .kind = WATCH_NUMBER, .min = 1, .max = 65535, \
      .help = "serve http://127.0.0.1:PORT/metrics for Prometheus meanwhile") \
    X(BY, .word = "by", .value = "replica|version|zone|node", .kind = WATCH_WORD, \
      .words = WATCH_WORDS("replica", "version", "zone", "node"), \
      .help = "show and expect shares of replicas, or of all with the same version, zone or node (default: replica)") \
    X(INSECURE, .word = "insecure", .kind = WATCH_FLAG, .help = "accept any TLS certificate") \
    X(VERSION, .word = "version", .kind = WATCH_ACTION, .help = "show the version and exit") \
    X(HELP, .word = "help", .kind = WATCH_ACTION, .help = "show this help and exit") \
    X(EXPECT_REPLICAS, .word = "expect-replicas", .value = "N", .kind = WATCH_NUMBER, .number = -1, .min = 1, \
      .max = 1000000000000000, .help = "exactly N replicas answer") \
    X(MAX_ERRORS, .word = "max-errors", .value = "N", .kind = WATCH_NUMBER, .number = -1, .max = 1000000000000000, \
      .help = "at most N requests fail") \
    X(MAX_GAP, .word = "max-gap", .value = "TIME", .kind = WATCH_LIMIT, .number = -1, \
      .help = "no time without an answer, around failures or while requests wait, is longer than TIME") \
    X(MAX_P99, .word = "max-p99", .value = "TIME", .kind = WATCH_LIMIT, .number = -1, \
      .help = "99 % of answers take at most TIME") \
    X(MIN_SHARE, .word = "min-share", .value = "PERCENT", .kind = WATCH_SHARE, .number = -1, \
      .help = "each replica (or group, with --by) gives at least PERCENT of the answers; those that left do not " \
              "count, and answers count from when the latest came, if that is early enough to tell") \
    X(EXPECT, .word = "expect", .value = "NAME=SHARE", .kind = WATCH_EXPECTED, \
      .help = "a replica or group gives this share of all answers: 'v2=10%+-3' with --by version means 7 to 13 %; " \
              "without a margin, it is 5 points; may be given more than once") \
    X(UNTIL, .word = "until", .value = "'NAME >= SHARE'", .kind = WATCH_LEAST, \
      .help = "end when a replica or group has given this share of the answers of the last 20 s, at least 20, such " \
              "as 'v2 >= 99%' with --by version; it is an expectation, so where --duration or --count comes first, " \
              "the exit code is 1") \
    X(JUNIT, .word = "junit", .value = "FILE", .kind = WATCH_FILE, \
      .help = "write the expectations to FILE as JUnit XML, which GitLab shows with `artifacts: reports: junit:`; " \
              "GitHub shows those that do not hold without it, where GITHUB_ACTIONS is true")

/* clang-format off */
enum watch_option_number {
#define X(name, ...) WATCH_OPTION_##name,
    WATCH_OPTIONS(X)
#undef X
    WATCH_OPTIONS_ALL,
};
/* clang-format on */

static const struct watch_option {
    const char *word;
    const char *value; /* in --help, for its value; NULL: it takes none */
    enum watch_kind kind;
    long long number;
    long long min, max;
    const char *const *words;
    const char *help;
} watch_options[WATCH_OPTIONS_ALL] = {
#define X(name, ...) [WATCH_OPTION_##name] = {__VA_ARGS__},
    WATCH_OPTIONS(X)
#undef X
};

/* Numbers with a fraction, for which Cython has no constants that are known at compile time. */
#define DEFAULT_MARGIN 0.05 /* of an expected share */

#define WATCH_PROGRAM "yinyang watch" /* as it is called where it is a command of the server's program */

#define WATCH_EXIT_CODES \
    "exit codes:\n" \
    "  0    All expectations hold. One is always there: if anything was asked, something was answered.\n" \
    "  1    Some do not hold. All expectations are listed on stderr, with a mark for whether they hold.\n" \
    "  2    The command line is wrong, a port, file, proxy or certificate that it or the environment names cannot " \
    "be\n" \
    "       used, or a login is needed: before any replica answered, and with no user in the URL, there was a 401, " \
    "a\n" \
    "       403 or a redirect.\n" \
    "  130  Ctrl-C (129: SIGHUP, 143: SIGTERM) before --duration, --count or --until was reached. Without these,\n" \
    "       Ctrl-C is the normal end, and the exit code is 0 or 1.\n"

#endif
