"""The command line: options and environment, the log on stderr, signals, exit codes."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the module `signal` adds enumerations, which import slowly
import os
import sys
import time

from yinyang._core import LogQueue, check_health, inherited_listener, parse_options, run_watch, usage, version
from yinyang.server import Server

TYPE_CHECKING = False  # true for those who check types
if TYPE_CHECKING:
    from yinyang.log import Log

STDOUT, STDERR = 1, 2
EXIT_FAILED = 1  # it cannot start
EXIT_USAGE = 2  # it was called wrongly


def main() -> int:
    """Serve until SIGTERM or SIGINT, or do what else the command line asks for; the exit code."""
    _open_standard_descriptors()
    if sys.argv[1:2] == ["watch"]:
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # which nobody would run from now on
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        run_watch(sys.argv[2:])
    try:
        action, settings, passed_over = parse_options(sys.argv[1:])
    except ValueError as error:
        return _complain(error, EXIT_USAGE)
    if action == "healthcheck":
        problem = check_health(settings["host"], settings["port"], settings["proxy_protocol"])
        return _complain(problem, EXIT_FAILED) if problem else 0
    if action != "serve":
        _say(STDOUT, usage() if action == "help" else f"yinyang {version}\n")
        return 0
    if passed_over:
        _complain(passed_over, 0)
    try:
        return _serve(Server(**settings, listener=inherited_listener()))
    except (OSError, ValueError) as error:
        return _complain(error, EXIT_FAILED)


def _open_standard_descriptors() -> None:
    """Fill missing places of stdin, stdout and stderr, so that no socket of the server takes them. Without /dev, an
    unconnected socket takes the place."""
    fd = 0
    while fd < 3:
        try:
            fd = os.open(os.devnull, os.O_RDWR)
        except OSError:
            import socket  # noqa: PLC0415

            fd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()
    os.close(fd)


def _complain(error: Exception | str, code: int) -> int:
    message = error.strerror if isinstance(error, OSError) else error
    _say(STDERR, f"yinyang: {message}\n")
    return code


def _say(fd: int, words: str) -> None:
    """Write the bytes that are meant, whatever the locale, as far as they can be written."""
    left = words.encode("utf-8", "surrogateescape")
    try:
        while left:
            left = left[os.write(fd, left) :]
    except OSError:
        return


def _tell_age(server: Server) -> None:
    """The seconds since the kernel started this process, which it tells to a hundredth (proc_pid_stat(5), field 22): of
    that, the middle."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
    except OSError:  # there is no /proc
        return
    server.set_age(max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - (ticks + 0.5) / os.sysconf("SC_CLK_TCK")))


def _mind_signals(server: Server, is_init: bool) -> list[int]:
    """Have handlers for all signals that the server minds; those that stop it."""
    stops = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else it is to outlive its terminal (nohup(1))
        stops.append(signal.SIGHUP)
    for number in stops:
        # those of a terminal do not drain: somebody waits
        signal.signal(number, lambda number, _frame: server.request_stop(drain=number == signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda _number, _frame: server.set_ready(False))
    signal.signal(signal.SIGUSR2, lambda _number, _frame: server.set_ready(True))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: server.reap_orphans() if is_init else None)
    signal.set_wakeup_fd(server.waker, warn_on_full_buffer=False)
    # whoever started this may have blocked them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*stops, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD])
    return stops


def _serve(server: Server) -> int:
    _tell_age(server)
    is_init = os.getpid() == 1  # the first process of a container inherits the children of others
    try:
        stops = _mind_signals(server, is_init)
    except OSError as error:
        why = f"no signal could stop the server, as it cannot receive signals: {str(error.strerror).lower()}"
        raise OSError(error.errno, why) from error
    if is_init:
        server.reap_orphans()  # those that have ended before anybody minded
    try:
        server.run(_log())
    finally:
        signal.set_wakeup_fd(-1)
        for number in stops:  # a terminal may not take the line that says why it failed
            signal.signal(number, signal.SIG_DFL)
    return 0


def _log() -> Log | LogQueue:
    """Lines on stderr, by way of `logging` only where somebody has imported that, and so may have set it up."""
    if "logging" not in sys.modules:
        return LogQueue(STDERR)
    from yinyang.log import log_for_command_line  # noqa: PLC0415

    return log_for_command_line()


if __name__ == "__main__":
    raise SystemExit(main())
