/* The core, as csrc/main.c sees it. Defined at the end of yinyang/_core.pyx. */
#ifndef YINYANG_H
#define YINYANG_H

#define HIDDEN __attribute__((visibility("hidden")))

#define WORKER_NAME "yinyang-worker" /* by which a worker is executed, as its argument 0 */

struct yinyang; /* a server, from its command line to its end */

enum yinyang_action { /* as in yinyang/core/cli/options.pxd */
                      YINYANG_SERVE,
                      YINYANG_HEALTHCHECK,
                      YINYANG_VERSION_SHOWN,
                      YINYANG_HELP_SHOWN,
                      YINYANG_ERROR,
};

/* Read the arguments, without the program's name, and the environment; return the action, with its text in the message.
 * The arguments must stay valid. NULL in *program: out of memory. */
HIDDEN int yinyang_parse(struct yinyang **program, int count, const char **arguments);

/* What the last call had to say: a line without its line feed, or for VERSION and HELP whole lines. */
HIDDEN const char *yinyang_message(const struct yinyang *program);

/* Does the server on the configured port answer? If not, the message says why. */
HIDDEN int yinyang_healthcheck(struct yinyang *program);

/* Listen and start the workers; the log goes to the descriptor `log`. 0 if that fails; the message says why.
 * `caller_fd` tells of signals; -errno if there is none. */
HIDDEN int yinyang_open(struct yinyang *program, int log, int caller_fd);

/* Wait for something to do, or until the descriptor `caller_fd` can be read, and do it. `stops` is how often it was
 * told to stop: once, gently; twice, at once. 1 if it goes on; when all is over 0, or -1 if it could not serve; the
 * message says why. */
HIDDEN int yinyang_turn(struct yinyang *program, int stops);

/* Let it not drain when it is told to stop. */
HIDDEN void yinyang_skip_drain(struct yinyang *program);

/* Have /readyz answer 503, or 200 again. */
HIDDEN void yinyang_set_ready(struct yinyang *program, int ready);

/* Serve as a worker, by the arguments that its parent has executed it with; the exit code. */
HIDDEN int yinyang_worker(int count, const char **arguments);

/* Watch a load balancer, by the arguments behind the word `watch`; the exit code. */
HIDDEN int yinyang_watch(int count, const char **arguments);

/* Wait for dead children that are not workers, as the first process of a container must. */
HIDDEN void yinyang_reap_orphans(struct yinyang *program);

#endif
