/* The command line: each option once, for the parser, the environment and --help alike. */
#ifndef YINYANG_USAGE_H
#define YINYANG_USAGE_H

/* name of the option, its variable in the environment, its value (empty: a flag), what --help says */
#define OPTIONS(X) \
    X(OPTION_HOST, "host", "YINYANG_HOST", "ADDRESS", "where to listen (all addresses, IPv6 and IPv4)") \
    X(OPTION_PORT, "port", "YINYANG_PORT", "N", "port to listen on, 0 for any free one (80)") \
    X(OPTION_NAME, "name", "YINYANG_NAME", "NAME", "identity to show (the host name)") \
    X(OPTION_TITLE, "title", "YINYANG_TITLE", "TEXT", "title of the page (Go scaling demo)") \
    X(OPTION_WORKERS, "workers", "YINYANG_WORKERS", "N", "processes that serve (the CPUs this process may use)") \
    X(OPTION_ACCESS_LOG, "access-log", "YINYANG_ACCESS_LOG", "", "log a line for each page (on)") \
    X(OPTION_NO_ACCESS_LOG, "no-access-log", "", "", "do not") \
    X(OPTION_HEALTHCHECK, "healthcheck", "", "", "exit with 0 if the server on this port answers, else 1") \
    X(OPTION_VERSION, "version", "", "", "show the version and exit") \
    X(OPTION_HELP, "help", "", "", "show this help and exit")

enum option {
#define X(name, option, environment, value, help) name,
    OPTIONS(X)
#undef X
    OPTION_COUNT,
};

struct option_words { /* no pointers, which would be relocated when the program starts */
    char option[15];
    char environment[20];
    char value[8];
    char help[56];
};

static const struct option_words option_words[OPTION_COUNT] = {
#define X(name, option, environment, value, help) [name] = {option, environment, value, help},
    OPTIONS(X)
#undef X
};

#endif
