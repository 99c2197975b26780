"""The core of yinyang, as Python sees it. `Identity`, `identify` and `render_page` are public, under `yinyang`."""

from collections.abc import Iterable
from typing import Literal, TypeAlias, final

version: str

@final
class Identity:
    """What a replica shows of itself. Equal when the names are; immutable.

    `name` is 1 to 255 bytes; text is taken as UTF-8, and bytes that are not UTF-8 stand in `name` as surrogate escapes
    (PEP 383). Raises ValueError for any other length, and OSError or ValueError when `name` is None and this host has
    no name.

    `palette`: `original`, one of 128 colours, the other half of the symbol black; `distinct`, both halves in colours
    that are far from those of other names.
    """

    def __init__(
        self, name: str | bytes | None = None, palette: Literal["original", "distinct"] = "original"
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> int:
        """The 64-bit signed hash of the name: h = b + (h << 5) - h for each byte b, from 0, wrapping around."""

    @property
    def colour(self) -> str:
        """`#rrggbb` in lower case; in the palette `original`, byte i is (hash >> i) * 8, so there are 128 of them."""

    @property
    def colours(self) -> tuple[str, str]:
        """Of both halves of the symbol: that colour, and the other one."""

    @property
    def palette(self) -> Literal["original", "distinct"]: ...

    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Identity], tuple[bytes, str]]: ...

def identify(
    name: str | bytes | None = None, palette: Literal["original", "distinct"] = "original"
) -> Identity:
    """The identity of a host name; of this host without one. Raises as `Identity` does."""

def render_page(identity: Identity, title: str | bytes = "Go scaling demo") -> bytes:
    """The HTML document that a replica of this identity serves: 388 bytes and the name, in UTF-8, with both texts
    escaped for HTML."""

def render_responses(identity: Identity, title: str | bytes = "Go scaling demo") -> int:
    """Render all answers that a server gives without asking anybody, as it does before it serves; how many bytes that
    are. For measurements."""

Framed: TypeAlias = tuple[Literal[200], bool, bool, int, int, bytes, bool, bool, int, int]
Refused: TypeAlias = tuple[int, bool, str]

@final
class Parser:
    """The framing of requests by itself, without a connection; for tests and measurements."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Framed | Refused]:
        """What the next bytes of a connection complete, in order. A request: (200, whether another one may follow, is
        it HEAD, minor version, length of the target, first 256 bytes of the target, is it `OPTIONS *`, is its path
        unclean, where in the target the path begins, where it ends). A wrong one: (status, False, what is wrong).
        After one that nothing may follow, nothing is read."""

    def end(self) -> Refused | None:
        """What is wrong when nothing more comes; None between two requests."""

def parse_options(
    arguments: Iterable[str],
) -> tuple[Literal["serve", "healthcheck", "help", "version"], dict[str, object]]:
    """The command line, less the program's name, and the environment: what to do, and the arguments for `Server`.
    Raises ValueError with one line that says what is wrong and what would be right."""

def usage() -> str:
    """What --help shows."""

def check_health(host: str | None, port: int) -> str | None:
    """Does the server at a numeric address (None: of this host) answer with its page, within 2 s? If not, why."""

def usable_cpus() -> int:
    """The CPUs that this process may use, by affinity and control group; at least 1."""

def write_log_lines(fd: int, line: bytes, count: int, offset: int) -> int:
    """Write what fits, without blocking, of `count` times `line` less the first `offset` bytes. How many bytes were
    written, 0 if none can be now. Raises OSError as write(2) does, and ValueError if `offset` is not within `line`."""

@final
class Supervisor:
    """A listening socket and the processes that serve it; see core/supervisor/supervisor.pxd. To be used by one thread.

    Raises ValueError for a name, title, number of workers that cannot be, and OSError with a line of explanation if it
    cannot listen.
    """

    identity: Identity
    def __init__(
        self,
        *,
        host: str | None,
        port: int,
        name: str | bytes | None,
        title: str | bytes,
        palette: Literal["original", "distinct"],
        app_version: str | bytes | None,
        node: str | bytes | None,
        namespace: str | bytes | None,
        zone: str | bytes | None,
        plain: bool,
        workers: int | None,
        access_log: bool,
        head_timeout: float,
        body_timeout: float,
        send_timeout: float,
        idle_timeout: float,
        drain: float,
        sandbox: Literal["auto", "off", "require"],
    ) -> None: ...
    def start(self) -> None:
        """Fork the workers. Raises OSError."""

    def wait(self, log: int = -1, timeout: int = -1) -> None:
        """Wait for pages to log, for a death to tell, for `wake` or a byte on `waker`, or until the descriptor `log`
        can be written; `timeout` milliseconds, without end if negative. Workers that died are restarted."""

    def take(self) -> list[tuple[int, int]]:
        """Pages that were served and not taken before: (second since 1970, how many), oldest first."""

    def sandboxed(self) -> str | None:
        """The line about the sandbox, once: when all workers have entered it."""

    def deaths(self) -> list[str]:
        """A line about each worker that ended without being told to, and was not told of before."""

    def stop(self) -> None:
        """Drain: end each connection with its next answer; after that time accept no more, and end the workers."""

    def kill(self) -> None:
        """End the workers at once."""

    def wake(self) -> None:
        """Make `wait` return; from any thread."""

    def reap_orphans(self) -> None:
        """Wait for dead children of this process that are not workers, as the first process of a container must."""

    def close(self) -> None:
        """End everything, and free the port."""

    @property
    def waker(self) -> int:
        """The descriptor to which a byte is written to make `wait` return, as for signal.set_wakeup_fd."""

    @property
    def is_over(self) -> bool:
        """After `stop` or `kill`: have all workers ended?"""

    @property
    def patience(self) -> float:
        """Seconds that `stop` may take, until workers that do not end are killed."""

    @property
    def address(self) -> tuple[str, int]: ...
    @property
    def listening(self) -> str:
        """The line of the log that says where the server is."""

    def counts(self) -> tuple[int, int, int]:
        """Pages served and connections accepted since the start, and connections open now."""

    def pids(self) -> list[int]:
        """The workers' process ids; 0 for one that is not running."""
