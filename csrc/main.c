/* The server without an interpreter: options, signals and exit codes, as in yinyang/serve.py, its twin. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "yinyang.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Started without stdin, stdout or stderr, its sockets must not take their places. An image from scratch may have no
 * /dev; a socket that is connected to nobody is as silent. */
static void open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    } while (fd >= 0 && fd < 3);
    if (fd >= 3)
        close(fd);
}

static int say(int fd, const char *words, int code)
{
    size_t length = strlen(words);
    while (length) {
        ssize_t written = write(fd, words, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        words += written;
        length -= (size_t)written;
    }
    return code;
}

static int complain(const struct yinyang *program, int code)
{
    say(STDERR_FILENO, "yinyang: ", code);
    say(STDERR_FILENO, program ? yinyang_message(program) : "out of memory", code);
    return say(STDERR_FILENO, "\n", code);
}

/* A signalfd for the signals of a server, or -errno. They are blocked, because for the first process of a container the
 * kernel drops signals with the default action. SIGPIPE and SIGXFSZ, from writing the log, stay so. */
static int signals_open(void)
{
    sigset_t minded;
    int error, fd;
    sigemptyset(&minded);
    sigaddset(&minded, SIGTERM);
    sigaddset(&minded, SIGINT);
    sigaddset(&minded, SIGCHLD);
    sigaddset(&minded, SIGUSR1);
    sigaddset(&minded, SIGUSR2);
    if (signal(SIGHUP, SIG_DFL) != SIG_IGN) /* else it is to outlive its terminal (nohup(1)) */
        sigaddset(&minded, SIGHUP);
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, the kernel does not tell how a child has ended */
    fd = signalfd(-1, &minded, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    sigaddset(&minded, SIGHUP);
    sigaddset(&minded, SIGPIPE);
    sigaddset(&minded, SIGXFSZ);
    error = pthread_sigmask(SIG_BLOCK, &minded, NULL);
    return error ? -error : fd;
}

/* Say why. Signals end the program meanwhile, as a terminal may not take the line. */
static int give_up(const struct yinyang *program)
{
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    return complain(program, EXIT_FAILED);
}

static int serve(struct yinyang *program)
{
    struct signalfd_siginfo signal;
    int is_init = getpid() == 1;
    int stops = 0;
    int signals = signals_open();
    int goes_on;
    if (!yinyang_open(program, STDERR_FILENO, signals))
        return give_up(program);
    if (is_init)
        yinyang_reap_orphans(program); /* those that ended before */
    while ((goes_on = yinyang_turn(program, stops)) > 0)
        while (read(signals, &signal, sizeof signal) == sizeof signal)
            if (signal.ssi_signo == SIGUSR1 || signal.ssi_signo == SIGUSR2)
                yinyang_set_ready(program, signal.ssi_signo == SIGUSR2);
            else if (signal.ssi_signo == SIGCHLD) {
                if (is_init)
                    yinyang_reap_orphans(program);
            } else {
                if (signal.ssi_signo != SIGTERM) /* a terminal: somebody waits */
                    yinyang_skip_drain(program);
                stops++;
            }
    return goes_on < 0 ? give_up(program) : 0;
}

int main(int argc, char **argv)
{
    struct yinyang *program = NULL;
    if (argc > 1 && strcmp(argv[0], WORKER_NAME) == 0)
        return yinyang_worker(argc - 1, (const char **)argv + 1);
    open_standard_descriptors();
    if (argc > 1 && strcmp(argv[1], "watch") == 0)
        return yinyang_watch(argc - 2, (const char **)argv + 2);
    switch (yinyang_parse(&program, argc - (argc > 0), (const char **)argv + (argc > 0))) {
    case YINYANG_SERVE:
        if (*yinyang_message(program)) /* what was passed over */
            complain(program, 0);
        return serve(program);
    case YINYANG_HEALTHCHECK:
        return yinyang_healthcheck(program) ? 0 : complain(program, EXIT_FAILED);
    case YINYANG_VERSION_SHOWN:
    case YINYANG_HELP_SHOWN:
        return say(STDOUT_FILENO, yinyang_message(program), 0);
    default:
        return complain(program, program ? EXIT_USAGE : EXIT_FAILED);
    }
}
