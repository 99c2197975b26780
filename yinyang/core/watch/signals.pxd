"""Signals, which are read as events (signalfd(2))."""

from ..os.syscalls cimport (
    SFD_CLOEXEC, SFD_NONBLOCK, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ,
    SIG_BLOCK, SIG_DFL, SIG_IGN, errno, monotonic_us, pthread_sigmask, read, sigaddset, sigemptyset, signal, signalfd,
    signalfd_siginfo, sigset_t
)
from .sample cimport US_PER_SECOND
from .state cimport MODE_SCREEN, Watch, watch_end
from .terminal cimport terminal_resize

cdef enum:
    PATIENCE = US_PER_SECOND  # us, after a signal, with readers that take nothing


cdef inline int watch_open_signals(Watch *w) noexcept nogil:
    """Have signals wait until they are read; 0 or -errno."""
    cdef sigset_t minded
    sigemptyset(&minded)
    if signal(SIGHUP, SIG_DFL) != SIG_IGN:  # else it is to outlive its terminal (nohup(1))
        sigaddset(&minded, SIGHUP)
    sigaddset(&minded, SIGINT)
    sigaddset(&minded, SIGTERM)
    sigaddset(&minded, SIGWINCH)
    if w.mode == MODE_SCREEN:  # else nothing has to be done before
        signal(SIGQUIT, SIG_DFL)  # it ends the watch, as SIGINT does, where a shell has had both ignored
        sigaddset(&minded, SIGQUIT)
        sigaddset(&minded, SIGUSR1)
        sigaddset(&minded, SIGUSR2)
        if signal(SIGTSTP, SIG_DFL) != SIG_IGN:  # else the shell has no control of jobs, by which it could go on
            sigaddset(&minded, SIGTSTP)
    w.signals = signalfd(-1, &minded, SFD_CLOEXEC | SFD_NONBLOCK)
    if w.signals < 0:
        return -errno
    sigaddset(&minded, SIGHUP)
    sigaddset(&minded, SIGPIPE)
    sigaddset(&minded, SIGXFSZ)
    pthread_sigmask(SIG_BLOCK, &minded, NULL)
    return 0


cdef inline void watch_read_signals(Watch *w) noexcept nogil:
    cdef signalfd_siginfo info
    while read(w.signals, &info, sizeof(info)) == <ssize_t>sizeof(info):
        if info.ssi_signo in (SIGTSTP, SIGQUIT, SIGUSR1, SIGUSR2):
            w.leaving = <int>info.ssi_signo
        elif info.ssi_signo != SIGWINCH:
            w.give_up_at = monotonic_us() + (0 if w.signal else PATIENCE)  # a second one wants the end at once
            w.signal = <int>info.ssi_signo
            if not w.is_over:
                watch_end(w, "signal")
        elif w.mode == MODE_SCREEN and terminal_resize(&w.terminal):
            w.print_due = 0
