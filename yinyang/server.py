"""The server as a program or a test uses it; the command line is one such program.

What only some programs need (threads, logging, typing) is imported where it is needed, as it takes longer than all the
rest.
"""

from __future__ import annotations

from collections import namedtuple

from yinyang import _core

TYPE_CHECKING = False  # true for those who check types
if TYPE_CHECKING:
    import threading
    from types import TracebackType
    from typing import Literal, Self

    from yinyang._core import Identity
    from yinyang.log import Log


class Counts(namedtuple("Counts", ["pages", "accepted", "open"])):
    """What a server has done since it was started."""

    __slots__ = ()

    pages: int
    accepted: int  # connections
    open: int  # connections, now


class Server:
    """Serves the page of one identity, from processes of its own, until it is stopped.

    host: a numeric address to listen on; None for all addresses, IPv6 and IPv4.
    port: 0 for any free one.
    name: the identity to show, 1 to 255 bytes without control characters; None for the host name.
    title: the page's, at most 255 bytes.
    palette: `original`, the 128 colours of the original; `distinct`, colours that are easy to tell apart.
    app_version, node, namespace, zone: what `/whoami` tells besides, at most 128, 253, 63 and 63 bytes.
    error_rate: share of the pages, of `/whoami` and `/echo` that is an error, from 0 to 1, in whole percent; or as in
        `20%`.
    error_code: status of these errors, 200 to 599.
    latency: how late these are answered, as in `300ms` or `100ms..500ms`; a number is in seconds, at most 10.
    burn: seconds of CPU time that each of them takes, at most 1.
    faults: whether a request may ask for faults, as by `?fail=20&code=503&latency=1s`, `/delay/1` and `/burn/20ms`.
    ready_after: seconds from its start in which `/readyz` answers 503.
    control: clients may change its readiness and its faults, by POST to `/readyz/disable`, `/readyz/enable`,
        `/fault_injection/enable` and `/fault_injection/disable`.
    served_by: the page has `X-Served-By` and `X-Version`, too, and no cache stores it.
    text: what is served in place of the page, 1 to 1024 bytes without control characters.
    proxy_protocol: each connection begins with a PROXY header, version 1 or 2.
    plain: every path is the page, as in the original; else there are also `/whoami`, `/hostname`, `/wall`, `/metrics`,
        `/livez`, `/healthz`, `/readyz` (also `/ready` and `/health`), `/echo` (also `/headers` and `/anything`),
        `/status/{code}`, `/delay/{time}`, `/burn/{time}` and `/fault_injection/status`.
    workers: processes that serve; None for as many as the CPUs that this process may use.
    max_connections: connections at a time, of all workers together; None for what descriptors and memory allow.
    access_log: log a line for each page, to the logger `yinyang` at level INFO.
    head_timeout: seconds that the head of a request may take.
    body_timeout: seconds that a client may be late in sending a body, at 240 bytes a second.
    send_timeout: seconds that it may be late in reading the answers that wait for it, at 4096 bytes a second.
    idle_timeout: seconds that a connection may be without a request.
    drain: seconds to go on accepting connections once it was told to stop.
    sandbox: what the processes that serve give up, where it is of no use to them: `auto`, as much as the kernel lets
        them; `off`, nothing; `require`, all of it, or OSError.
    listener: the descriptor of a TCP socket that listens already, in place of host and port. The server makes it
        non-blocking and closes it; other processes may go on using the socket.

    Opening the listening socket is part of making a Server: ValueError says which argument cannot be, OSError why it
    cannot listen. Serving begins with `start`, or on entering a `with` block, which stops it at its end. A server is
    started once.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        name: str | bytes | None = None,
        title: str | bytes = "Go scaling demo",
        palette: Literal["original", "distinct"] = "original",
        app_version: str | bytes | None = None,
        node: str | bytes | None = None,
        namespace: str | bytes | None = None,
        zone: str | bytes | None = None,
        error_rate: float | str = 0,
        error_code: int = 503,
        latency: float | str = 0,
        burn: float = 0,
        faults: bool = True,
        ready_after: float = 0,
        control: bool = False,
        served_by: bool = False,
        text: str | bytes | None = None,
        proxy_protocol: bool = False,
        plain: bool = False,
        workers: int | None = None,
        max_connections: int | None = None,
        access_log: bool = True,
        head_timeout: float = 10,
        body_timeout: float = 10,
        send_timeout: float = 15,
        idle_timeout: float = 650,
        drain: float = 0,
        sandbox: Literal["auto", "off", "require"] = "auto",
        listener: int | None = None,
    ) -> None:
        self._core = _core.Server(
            {
                "host": host,
                "port": port,
                "name": name,
                "title": title,
                "palette": palette,
                "app_version": app_version,
                "node": node,
                "namespace": namespace,
                "zone": zone,
                "error_rate": error_rate,
                "error_code": error_code,
                "latency": latency,
                "burn": burn,
                "faults": faults,
                "ready_after": ready_after,
                "control": control,
                "served_by": served_by,
                "text": text,
                "proxy_protocol": proxy_protocol,
                "plain": plain,
                "workers": workers,
                "max_connections": max_connections,
                "access_log": access_log,
                "head_timeout": head_timeout,
                "body_timeout": body_timeout,
                "send_timeout": send_timeout,
                "idle_timeout": idle_timeout,
                "drain": drain,
                "sandbox": sandbox,
            },
            listener,
        )
        self._address, self._url = self._core.address, self._core.url
        self._thread: threading.Thread | None = None
        self._started: threading.Event | None = None
        self._failure: OSError | RuntimeError | None = None
        self._stops = 0  # how often it was asked to stop
        self._counts: Counts | None = None  # the last ones, once it has ended

    @property
    def identity(self) -> Identity:
        """What it shows."""
        return self._core.identity

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: the numeric address, `::` for all of them, and the port."""
        return self._address

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address[1]

    @property
    def url(self) -> str:
        """A URL of the page that works on this host."""
        return self._url

    @property
    def counts(self) -> Counts:
        """Pages and connections so far; after the end, the final ones."""
        return self._counts or Counts(*self._core.counts())

    @property
    def waker(self) -> int:
        """A descriptor for signal.set_wakeup_fd, for a program that calls `run` in its main thread. With a handler for
        SIGCHLD, a worker that somebody stopped is noticed even while nothing is served."""
        return self._core.waker

    def start(self) -> Self:
        """Begin to serve, watched by a thread, until `stop` or the end of the program. Raises OSError if none of the
        processes can begin to serve."""
        if self._thread or self._counts:
            raise RuntimeError("a server is started once")
        import atexit  # noqa: PLC0415
        import threading  # noqa: PLC0415

        self._started = threading.Event()
        # A daemon thread, as the interpreter waits for others before it calls what atexit has.
        self._thread = threading.Thread(
            target=self._run_in_thread, args=[threading.get_native_id()], name="yinyang", daemon=True
        )
        self._thread.start()
        self._started.wait()
        if self._failure:
            self._thread.join()
            raise self._failure
        atexit.register(self._end_with_program)  # the thread has imported logging by now, which so is shut down later
        return self

    def stop(self) -> None:
        """Drain, finish what is being answered, write the last lines, and wait for all that: a tenth of a second when
        it is idle, 8 s at most, or 3 s longer than `drain` if that is more. Called again from elsewhere meanwhile: at
        once."""
        self.request_stop()
        if self._thread:
            import atexit  # noqa: PLC0415

            self._thread.join()
            atexit.unregister(self._end_with_program)
        elif not self._counts:
            self._close()

    def request_stop(self, *, drain: bool = True) -> None:
        """Begin to stop, without waiting; a second time: at once. `drain`: accept connections for as long as the server
        was made to. Safe in a handler of signals."""
        if not drain and not self._counts:
            self._core.skip_drain()
        self._stops += 1
        if not self._counts:
            self._core.wake()

    def set_ready(self, ready: bool) -> None:
        """Have `/readyz` answer 503, so that balancers pass over this replica, or 200 again. Safe in a handler of
        signals."""
        self._core.set_ready(ready)
        if not self._counts:
            self._core.wake()

    def set_age(self, seconds: float) -> None:
        """Before it begins to serve: count the time that `/whoami` tells as `start_ms` from so many seconds ago, rather
        than from when this server was made, for a program that does nothing but serve."""
        self._core.set_age(seconds)

    def reap_orphans(self) -> None:
        """Wait for dead children of this process that are not the server's own, for a program that is the first process
        of a container: in the thread that calls `run`, when SIGCHLD has come."""
        self._core.reap_orphans()

    def run(self, log: Log | _core.LogQueue | None = None) -> None:
        """Serve in this thread until `request_stop` is called, from another one or by a handler of signals. `log` takes
        what there is to log in place of the logger `yinyang`."""
        if log is None:
            from yinyang.log import Log  # noqa: PLC0415

            log = Log()
        try:
            self._core.start()
            log.write(self._core)
            while self._core.wait(self._stops, *log.wait_for()):
                log.write(self._core)
                if self._started and self._core.serves:
                    self._started.set()
        finally:
            self._close()

    def _run_in_thread(self, starter: int) -> None:
        import threading  # noqa: PLC0415

        try:
            if threading.get_native_id() == starter:
                self._close()
                raise RuntimeError(
                    "a server needs a thread of its own, and here threads are coroutines (gevent, eventlet); call "
                    "run() in a native thread, such as one of gevent.get_hub().threadpool, or serve from a process "
                    "of its own: python -m yinyang.serve"
                )
            self.run()
        except (OSError, RuntimeError) as failure:
            self._failure = failure
        finally:
            if self._started:
                self._started.set()

    def _end_with_program(self) -> None:
        if not self._stops:
            self.request_stop()
        if self._thread:
            self._thread.join()

    def _close(self) -> None:
        self._counts = Counts(*self._core.counts())
        self._core.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
