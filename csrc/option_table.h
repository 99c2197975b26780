/* The options: one table for the command line, the environment, --help, and yinyang.Server.
 *
 * A row is all that the parsers need to know of an option. Where its value is used, it is config.numbers[OPTION_X] or
 * config.texts[OPTION_X] (yinyang/core/config/config.pxd). */
#ifndef YINYANG_OPTION_TABLE_H
#define YINYANG_OPTION_TABLE_H

enum {
    LATENCY_MAX = 10000, /* ms */
    BURN_MAX = 1000,     /* ms */
};

enum option_kind {
    KIND_ADDRESS, /* a numeric address */
    KIND_TEXT,    /* of `min` to `max` bytes */
    KIND_NUMBER,  /* from `min` to `max` */
    KIND_SECONDS, /* of at most `max`, as in 10, 0.5, 10s or 500ms; kept in milliseconds */
    KIND_SPAN,    /* one such time or two, as in 100ms..500ms; both are kept in one number (config_set_span) */
    KIND_SHARE,   /* 20% or 0.2; kept in percent */
    KIND_WORD,    /* one of `words`, kept as its index */
    KIND_SWITCH,  /* on or off; as an option that takes no value: on */
    KIND_OFF,     /* switches the option `turns_off` off; as an option only */
    KIND_ACTION,  /* asks for something else than serving; as an option only */
};

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The name of a row, and its fields. An option that has no default may say in `unset` what holds without it. All but
 * those that are options only can be set by a variable too: YINYANG_ and the word in capitals, with _ for -. */
#define OPTIONS(X) \
    X(HOST, .word = "host", .value = "ADDRESS", .kind = KIND_ADDRESS, .unset = "all addresses, IPv6 and IPv4", \
      .help = "numeric address to listen on") \
    X(PORT, .word = "port", .value = "N", .kind = KIND_NUMBER, .number = 80, .max = 65535, \
      .help = "port to listen on, 0 for any free one") \
    X(NAME, .word = "name", .value = "NAME", .kind = KIND_TEXT, .min = 1, .max = 255, .unset = "the host name", \
      .help = "name to show, which decides the colours") \
    X(TITLE, .word = "title", .value = "TEXT", .kind = KIND_TEXT, .text = "Go scaling demo", .max = 255, \
      .help = "title of the page") \
    X(PALETTE, .word = "palette", .value = "NAME", .kind = KIND_WORD, .words = WORDS("original", "distinct"), \
      .help = "colours: original, as in 2016, or distinct, easier to tell apart") \
    X(APP_VERSION, .word = "app-version", .value = "TEXT", .kind = KIND_TEXT, .min = 1, .max = 128, \
      .help = "version of the application, shown in /whoami") \
    X(NODE, .word = "node", .value = "TEXT", .kind = KIND_TEXT, .min = 1, .max = 253, \
      .help = "node it runs on, shown in /whoami") \
    X(NAMESPACE, .word = "namespace", .value = "TEXT", .kind = KIND_TEXT, .min = 1, .max = 63, \
      .help = "namespace it runs in, shown in /whoami") \
    X(ZONE, .word = "zone", .value = "TEXT", .kind = KIND_TEXT, .min = 1, .max = 63, \
      .help = "zone it runs in, shown in /whoami") \
    X(ERROR_RATE, .word = "error-rate", .value = "SHARE", .kind = KIND_SHARE, \
      .help = "share of the pages, of /whoami and of /echo that is an error, such as 20%") \
    X(ERROR_CODE, .word = "error-code", .value = "N", .kind = KIND_NUMBER, .number = 503, .min = 200, .max = 599, \
      .help = "status of these errors") \
    X(LATENCY, .word = "latency", .value = "S", .kind = KIND_SPAN, .max = LATENCY_MAX / 1000, \
      .help = "how late these are answered, such as 300ms or 100ms..500ms") \
    X(BURN, .word = "burn", .value = "S", .kind = KIND_SECONDS, .max = BURN_MAX / 1000, \
      .help = "CPU time that each of these takes, such as 20ms") \
    X(FAULTS, .word = "faults", .value = "MODE", .kind = KIND_SWITCH, .number = 1, \
      .help = "whether a request may ask for faults: ?fail=20&code=503&latency=1s&if=v2, /status, /delay, /burn") \
    X(READY_AFTER, .word = "ready-after", .value = "S", .kind = KIND_SECONDS, .max = 3600, \
      .help = "seconds from the start in which /readyz answers 503") \
    X(CONTROL, .word = "control", .kind = KIND_SWITCH, \
      .help = "allow POST /readyz/disable, /readyz/enable, /fault_injection/enable, /fault_injection/disable") \
    X(SERVED_BY, .word = "served-by", .kind = KIND_SWITCH, .help = "X-Served-By and X-Version on the page too") \
    X(TEXT, .word = "text", .value = "TEXT", .kind = KIND_TEXT, .min = 1, .max = 1024, \
      .help = "serve this text in place of the page") \
    X(PROXY_PROTOCOL, .word = "proxy-protocol", .kind = KIND_SWITCH, \
      .help = "each connection begins with a PROXY header, version 1 or 2, as a proxy sends it") \
    X(PLAIN, .word = "plain", .kind = KIND_SWITCH, \
      .help = "serve the page on every path: no /whoami, /wall, probes, metrics") \
    X(WORKERS, .word = "workers", .value = "N", .kind = KIND_NUMBER, .min = 1, .max = 1024, \
      .unset = "the CPUs this process may use", .help = "number of worker processes") \
    X(MAX_CONNECTIONS, .word = "max-connections", .value = "N", .kind = KIND_NUMBER, .min = 1, .max = 1 << 20, \
      .unset = "what descriptors and memory allow", .help = "connections at a time, of all workers together") \
    X(HEAD_TIMEOUT, .word = "head-timeout", .value = "S", .kind = KIND_SECONDS, .number = 10, .min = 1, .max = 3600, \
      .help = "seconds a client may take to send the head of a request") \
    X(BODY_TIMEOUT, .word = "body-timeout", .value = "S", .kind = KIND_SECONDS, .number = 10, .min = 1, .max = 3600, \
      .help = "seconds a client may be late in sending a body, at 240 bytes/s") \
    X(SEND_TIMEOUT, .word = "send-timeout", .value = "S", .kind = KIND_SECONDS, .number = 15, .min = 1, .max = 3600, \
      .help = "seconds a client may be late in reading its answers, at 4096 bytes/s") \
    X(IDLE_TIMEOUT, .word = "idle-timeout", .value = "S", .kind = KIND_SECONDS, .number = 650, .min = 1, .max = 3600, \
      .help = "seconds a connection may stay open without a request") \
    X(DRAIN, .word = "drain", .value = "S", .kind = KIND_SECONDS, .max = 3600, \
      .help = "seconds to go on accepting connections after SIGTERM") \
    X(SANDBOX, .word = "sandbox", .value = "MODE", .kind = KIND_WORD, .words = WORDS("auto", "off", "require"), \
      .help = "give up unneeded rights: auto, if possible; require, or do not start; off") \
    X(ACCESS_LOG, .word = "access-log", .kind = KIND_SWITCH, .number = 1, .help = "log a line for each page") \
    X(NO_ACCESS_LOG, .word = "no-access-log", .kind = KIND_OFF, .turns_off = OPTION_ACCESS_LOG, \
      .help = "do not log a line for each page") \
    X(HEALTHCHECK, .word = "healthcheck", .kind = KIND_ACTION, \
      .help = "exit with 0 if the server on this port answers, else with 1") \
    X(VERSION, .word = "version", .kind = KIND_ACTION, .help = "show the version and exit") \
    X(HELP, .word = "help", .kind = KIND_ACTION, .help = "show this help and exit")

/* clang-format off */
enum option_number {
#define X(name, ...) OPTION_##name,
    OPTIONS(X)
#undef X
    OPTION_COUNT,
};
/* clang-format on */

static const struct option {
    const char *word;
    const char *value; /* in --help, for its value; NULL: it takes none */
    enum option_kind kind;
    const char *text;  /* default of a text; NULL: it is not set */
    const char *unset; /* in --help, in place of a default */
    int number;        /* default of everything else */
    int min, max;
    const char *const *words;
    enum option_number turns_off;
    const char *help;
} option_table[OPTION_COUNT] = {
#define X(name, ...) [OPTION_##name] = {__VA_ARGS__},
    OPTIONS(X)
#undef X
};

/* Variables of platforms that set a text where neither its option nor its own variable does; the first one that is set
 * counts. They are: the downward API of Kubernetes as its documentation names them, Knative and Cloud Run, Fly.io, Nomad,
 * Azure Container Apps. */
static const struct platform_variable {
    enum option_number option;
    const char *variable;
} platform_variables[] = {
    {OPTION_NAME, "POD_NAME"},
    {OPTION_NAME, "MY_POD_NAME"},
    {OPTION_NAME, "CONTAINER_APP_REPLICA_NAME"},
    {OPTION_NAME, "FLY_MACHINE_ID"},
    {OPTION_NAME, "NOMAD_ALLOC_ID"},
    {OPTION_APP_VERSION, "K_REVISION"},
    {OPTION_APP_VERSION, "CONTAINER_APP_REVISION"},
    {OPTION_NODE, "NODE_NAME"},
    {OPTION_NODE, "MY_NODE_NAME"},
    {OPTION_NAMESPACE, "POD_NAMESPACE"},
    {OPTION_NAMESPACE, "MY_POD_NAMESPACE"},
    {OPTION_NAMESPACE, "NOMAD_NAMESPACE"},
    {OPTION_ZONE, "FLY_REGION"},
    {OPTION_ZONE, "NOMAD_DC"},
};

enum { PLATFORM_VARIABLES = sizeof platform_variables / sizeof *platform_variables };

/* What switches one on or off, in pairs, in any case of letters. */
static const struct switch_word {
    const char *word;
    int on;
} switch_words[] = {{"on", 1}, {"off", 0}, {"true", 1}, {"false", 0}, {"yes", 1}, {"no", 0}, {"1", 1}, {"0", 0}};

enum { SWITCH_WORDS = sizeof switch_words / sizeof *switch_words };

#endif
