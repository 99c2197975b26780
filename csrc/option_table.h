/* The command line: each option once, for the parser, the environment and --help alike. */
#ifndef YINYANG_USAGE_H
#define YINYANG_USAGE_H

enum option_kind {
    KIND_ADDRESS,
    KIND_TEXT,    /* of `min` to `max` bytes */
    KIND_NUMBER,  /* from `min` to `max` */
    KIND_SANDBOX, /* one of its words, by its number */
    KIND_PALETTE, /* likewise */
    KIND_SWITCH,  /* on; as a variable, on or off */
    KIND_OFF,     /* switches the option before it off */
    KIND_ACTION,  /* as an option only */
};

/* which, its word, its value (empty: it has none), its kind, default, min, max, what --help says. All but the last two
 * kinds can be set by a variable too: YINYANG_ and the word in capitals. */
#define OPTIONS(X) \
    X(HOST, "host", "ADDRESS", KIND_ADDRESS, 0, 0, 0, "where to listen (all addresses, IPv6 and IPv4)") \
    X(PORT, "port", "N", KIND_NUMBER, 80, 0, 65535, "port to listen on, 0 for any free one (80)") \
    X(NAME, "name", "NAME", KIND_TEXT, 0, 1, 255, "identity to show (the host name)") \
    X(TITLE, "title", "TEXT", KIND_TEXT, 0, 0, 255, "title of the page (Go scaling demo)") \
    X(PALETTE, "palette", "NAME", KIND_PALETTE, 0, 0, 0, \
      "original or distinct: its colours, as in 2016, or to be told apart (original)") \
    X(APP_VERSION, "app-version", "TEXT", KIND_TEXT, 0, 1, 128, "version to show in /whoami; and so on:") \
    X(NODE, "node", "TEXT", KIND_TEXT, 0, 1, 253, "the node it runs on") \
    X(NAMESPACE, "namespace", "TEXT", KIND_TEXT, 0, 1, 63, "its namespace") \
    X(ZONE, "zone", "TEXT", KIND_TEXT, 0, 1, 63, "its zone") \
    X(PLAIN, "plain", "", KIND_SWITCH, 0, 0, 0, "every path is the page: no /whoami, /wall, /metrics, probes") \
    X(WORKERS, "workers", "N", KIND_NUMBER, 0, 1, 1024, "processes that serve (the CPUs this process may use)") \
    X(HEAD_TIMEOUT, "head-timeout", "S", KIND_NUMBER, 10, 1, 3600, "seconds that the head of a request may take (10)") \
    X(BODY_TIMEOUT, "body-timeout", "S", KIND_NUMBER, 10, 1, 3600, "seconds that its body may take (10)") \
    X(SEND_TIMEOUT, "send-timeout", "S", KIND_NUMBER, 15, 1, 3600, "seconds without a client taking any answer (15)") \
    X(IDLE_TIMEOUT, "idle-timeout", "S", KIND_NUMBER, 650, 1, 3600, "seconds between requests (650)") \
    X(DRAIN, "drain", "S", KIND_NUMBER, 0, 0, 3600, "seconds to go on accepting connections once told to stop (0)") \
    X(SANDBOX, "sandbox", "MODE", KIND_SANDBOX, 0, 0, 0, \
      "auto, off or require: give up what serving does not need (auto)") \
    X(ACCESS_LOG, "access-log", "", KIND_SWITCH, 1, 0, 0, "log a line for each page (on)") \
    X(NO_ACCESS_LOG, "no-access-log", "", KIND_OFF, 0, 0, 0, "do not") \
    X(HEALTHCHECK, "healthcheck", "", KIND_ACTION, 0, 0, 0, "exit with 0 if the server on this port answers, else 1") \
    X(VERSION, "version", "", KIND_ACTION, 0, 0, 0, "show the version and exit") \
    X(HELP, "help", "", KIND_ACTION, 0, 0, 0, "show this help and exit")

enum option {
#define X(name, word, value, kind, number, min, max, help) OPTION_##name,
    OPTIONS(X)
#undef X
    OPTION_COUNT,
};

static const struct option_range {
    unsigned char kind, min;
    unsigned short number, max;
} option_ranges[OPTION_COUNT] = {
#define X(name, word, value, kind, number, min, max, help) {kind, min, number, max},
    OPTIONS(X)
#undef X
};

/* All words in one block, three to an option, as a table of pointers would be relocated when the program starts. */
static const char option_texts[] =
#define X(name, word, value, kind, number, min, max, help) word "\0" value "\0" help "\0"
    OPTIONS(X)
#undef X
    ;

#endif
