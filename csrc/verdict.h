// What a verdict on samples rests on: limits and words; docs/verdict.md explains them, and wall/verdict.js has the same.
#ifndef YINYANG_VERDICT_H
#define YINYANG_VERDICT_H

#define CLAIM_ERROR 0.01 // the chance that a claim about shares is wrong, however often one looks
#define GONE_CHANCE -13.8 // a source is gone if so long a silence has a smaller chance (logarithm of 1e-6)
#define SILENT_CHANCE -6.9 // ... and may be gone (1e-3)
#define STICKY_CHANCE -9.2 // of samples that would stay with their source without being led there (1e-4)
#define CHANGE_EVIDENCE 8.0 // that shares have changed, to begin anew (logarithm of 3000)
#define SHIFT_EVIDENCE 5.0 // ... to claim nothing about shares
#define RUNS_DEVIATIONS 5.0 // by which repeats exceed what independent choices do
#define EVEN_TOLERANCE 0.3 // of an even share, as a part of an equal one
#define MAX_MARGIN 0.15 // of a share that is claimed
#define UNNOTICED_SHARE 0.1 // of others, when one is called the only one

// The kinds of failure below 100; from 100 on, they are statuses of HTTP.
//    name, what it is called, of one source, of several
#define FAILURE_WORDS(X) \
    X(FAILED, "failed", "fails", "fail") \
    X(TIMED_OUT, "timed out", "times out", "time out") \
    X(NO_CONNECTION, "no connection", "cannot be reached", "cannot be reached") \
    X(REFUSED, "refused", "refuses connections", "refuse connections") \
    X(RESET, "reset", "resets connections", "reset connections") \
    X(CLOSED, "closed", "closes connections", "close connections") \
    X(UNREACHABLE, "unreachable", "is unreachable", "are unreachable") \
    X(NAME_NOT_FOUND, "name not found", "has no address", "have no address") \
    X(TLS, "TLS", "fails at TLS", "fail at TLS") \
    X(NOT_HTTP, "not HTTP", "speaks no HTTP", "speak no HTTP") \
    X(NOT_WHOAMI, "not whoami", "answers something else", "answer something else") \
    X(NO_LOCAL_PORT, "no local port free", "fails", "fail") \
    X(TOO_MANY_FILES, "too many open files", "fails", "fail")

static const char *const failure_words[][3] = {
#define ROW(name, alone, one, several) {alone, one, several},
    FAILURE_WORDS(ROW)
#undef ROW
};
enum failure_kind {
#define ROW(name, alone, one, several) FAILURE_##name,
    FAILURE_WORDS(ROW)
#undef ROW
        FAILURE_KINDS,
};

// What a verdict is called by programs, in the order of the two enumerations in yinyang/core/verdict/verdict.pxd.
static const char *const state_words[] = {"",        "nothing",    "waiting", "down",
                                          "failing", "recovering", "changed", "silent"};
static const char *const spread_words[] = {
    "nobody", "one so far",  "one",  "early",         "turns",    "shifting",
    "runs",   "even so far", "even", "uneven so far", "weighted",
};

#endif
