"""The core of yinyang, as Python sees it. `Identity`, `identify` and `render_page` are public, under `yinyang`."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn, Protocol, Self, TypeAlias, TypedDict, final

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
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Identity], tuple[bytes, str]]: ...

def identify(name: str | bytes | None = None, palette: Literal["original", "distinct"] = "original") -> Identity:
    """The identity of a host name; of this host without one. Raises as `Identity` does."""

def render_page(identity: Identity, title: str | bytes = "Go scaling demo") -> bytes:
    """The HTML document that a replica of this identity serves: 388 bytes and the name, in UTF-8, with both texts
    escaped for HTML."""

def render_responses(identity: Identity, title: str | bytes = "Go scaling demo") -> int:
    """Render all answers that a server gives without asking anybody, as it does before it serves; how many bytes that
    are. For measurements."""

_Framed: TypeAlias = tuple[Literal[200], bool, bool, int, int, bytes, bool, bool, int, int]
_Refused: TypeAlias = tuple[int, bool, str]

@final
class Parser:
    """The framing of requests by itself, without a connection; for tests and measurements."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[_Framed | _Refused]:
        """What the next bytes of a connection complete, in order. A request: (200, whether another one may follow, is
        it HEAD, minor version, length of the target, first 256 bytes of the target, is it `OPTIONS *`, is its path
        unclean, where in the target the path begins, where it ends). A wrong one: (status, False, what is wrong).
        After one that nothing may follow, nothing is read."""

    def end(self) -> _Refused | None:
        """What is wrong when nothing more comes; None between two requests."""

def parse_options(
    arguments: Iterable[str],
) -> tuple[Literal["serve", "healthcheck", "help", "version"], dict[str, Any], str]:
    """The command line, less the program's name, and the environment: what to do, the arguments for `Server`, and what
    was passed over, in words. Raises ValueError with one line that says what is wrong and what would be right."""

def usage() -> str:
    """What --help shows."""

def check_health(host: str | None, port: int, proxy_protocol: bool = False) -> str | None:
    """Does the server at a numeric address (None: of this host) answer with its page, within 2 s? If not, why. It
    gets a PROXY header first, if it wants one."""

def inherited_listener() -> int | None:
    """The descriptor of a listening socket that was handed over to this process, as sd_listen_fds(3) has it. Raises
    ValueError if it cannot be served."""

def usable_cpus() -> int:
    """The CPUs that this process may use, by affinity and control group; at least 1."""

@final
class LogQueue:
    """Lines for a file descriptor, written without ever blocking. Those that cannot be written now are kept, 16 MiB at
    most; where writing fails, it is tried again a second later. To be used by one thread at a time."""

    def __new__(cls, fd: int) -> Self: ...
    def put(self, line: bytes, count: int = 1, are_pages: bool = False) -> None:
        """Have a line, with its line feed, written `count` times. When the queue is full, lines of pages are counted as
        those of the last second that it has, and others are dropped."""

    def write(self, server: Server) -> None:
        """Put a line, with its time, for each record of a server, and write what can be written now."""

    def flush(self) -> None:
        """Write what can be written now."""

    def wait_for(self) -> tuple[int, int]:
        """What to wait for before `flush` is worth calling, as arguments for `Server.wait`: a descriptor that must be
        writable, or -1; milliseconds that must pass, or -1."""

class _Verdict(TypedDict):
    kind: str
    headline: str
    detail: str
    samples: int
    more: int
    subjects: list[int]
    shares: dict[int, tuple[float, float, float]]

failure_kinds: tuple[str, ...]
"""What kinds of failure are called that are no status of HTTP; the place of each is its number."""

@final
class Evidence:
    """What samples show about a balancer; docs/verdict.md. Sources are numbers from 0 to 255, times are ms on any one
    clock, and a failure is a status of HTTP or a place in `failure_kinds`."""

    def add(
        self, at: int, source: int = -1, failure: int = -1, tie: int = 0, owner: int = -1, started: int = 0
    ) -> None:
        """Take a sample into account, which ended at this time. `source`: who answered, or failed; -1: nobody knows.
        `failure`: -1 if it was answered as it should. `tie`: 1 if it carried a cookie, 2 if it used a connection again,
        of `owner`. `started`: when the replica started, on any clock; 0: nobody knows. Raises ValueError."""

    def forget(self, source: int) -> None:
        """Have the number of a source that is gone stand for another one. Raises ValueError if it is there."""

    def is_there(self, source: int) -> bool:
        """Has it answered, and has it not been silent for longer than chance explains?"""

    def may_be_gone(self, source: int) -> bool:
        """Is it there, and silent for longer than is usual?"""

    def verdict(
        self,
        now: int,
        names: Sequence[str],
        waiting: int = 0,
        waiting_since: int = 0,
        one: str = "replica",
        several: str = "replicas",
    ) -> _Verdict:
        """What is known at this time, while so many requests are under way, the first of them since `waiting_since`.
        `names` of the sources; what one and several of them are called. Shares are (lowest possible, seen, highest
        possible) by source."""

@final
class WatchOptions:
    """The command line of the watch, without the program's name; see core/watch/options.pxd. Times in seconds, and None
    where there is no limit. Raises ValueError with a line of explanation if it is wrong."""

    action: Literal["watch", "help", "version"]
    def __init__(self, arguments: list[str]) -> None: ...
    @property
    def url(self) -> str:
        """Of whoami."""

    @property
    def display_url(self) -> str:
        """The same without password and query."""

    @property
    def rate(self) -> float: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def keep_alive(self) -> bool: ...
    @property
    def timeout(self) -> float: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def count(self) -> int | None: ...
    @property
    def json(self) -> bool: ...
    @property
    def jsonl(self) -> bool: ...
    @property
    def junit(self) -> str | None: ...
    @property
    def metrics_port(self) -> int | None: ...
    @property
    def insecure(self) -> bool: ...
    @property
    def by(self) -> Literal["replica", "version", "zone", "node"]: ...
    @property
    def has_goal(self) -> bool: ...

def run_watch(arguments: list[str]) -> NoReturn:
    """Watch as the command `yinyang watch` does, and end the process with its exit code: it has given up all rights."""

def watch_usage_text(program: str) -> str:
    """The text of --help."""

class _Replica(Protocol):
    """As yinyang.watch.sample.Replica."""

    @property
    def host(self) -> str: ...
    @property
    def short(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def zone(self) -> str | None: ...
    @property
    def node(self) -> str | None: ...
    @property
    def colours(self) -> tuple[str, str]: ...
    @property
    def started(self) -> int: ...
    @property
    def start_ms(self) -> int | None: ...

class _TallyVerdict(TypedDict):
    kind: str
    headline: str
    detail: str
    samples: int
    more: int
    shares: dict[str, tuple[float, float, float]]

class _Group(TypedDict):
    name: str
    display_name: str
    replicas: list[str]
    there: int
    version: str
    colours: tuple[str, str] | None
    first: float
    last: float
    answers: int
    share: float
    present: int
    failures: int
    last_failure: float | None
    is_silent: bool

class _Terminal(TypedDict):
    is_terminal: bool
    is_dumb: bool
    width: int
    height: int
    colours: int
    unicode: bool

def terminal(fd: int) -> _Terminal:
    """What is behind a descriptor, and what it can show; core/watch/terminal.pxd."""

@final
class Tally:
    """What the samples of a watch are, counted; core/watch/tally.pxd. Times are in seconds on any one clock, from 0 to
    2^33; another raises ValueError."""

    options: WatchOptions
    def __new__(cls, options: WatchOptions, begin: float) -> Self: ...
    def add(
        self,
        start: float,
        end: float,
        replica: _Replica | None = None,
        failure: str = "",
        connection: int = 0,
        cookie_of: str | None = None,
    ) -> None:
        """Count one sample, which failed if there is a `failure`, a name in `failure_kinds` or such as `status 502`, or
        if there is no replica. The rest is as in yinyang.watch.sample.Sample."""

    def wait(self, count: int, since: float, latest: float = 0.0) -> None:
        """So many requests are under way, the first of them since then, and the last since `latest`."""

    def end(self, now: float) -> None:
        """The requests that are under way are given up."""

    def verdict(self, now: float) -> _TallyVerdict:
        """What is known now. Shares are (lowest possible, seen, highest possible) by the name of a group."""

    def groups(self) -> list[_Group]:
        """The groups of replicas. `replicas` are the hosts of those that are in it, of which so many are `there`;
        `version` and `colours` are those of the first one; `share` is that of the answers to requests without a
        cookie, and `present` the number of these since the latest group came or came back."""

    def failures(self) -> list[tuple[str, int, float]]:
        """For each kind of failure its name, how many there were, and when the latest came."""

    def draw(
        self,
        now: float,
        width: int,
        height: int,
        colours: int = 0,
        unicode: bool = True,
        show_all: bool = False,
        title: str = "",
    ) -> str:
        """The picture for a terminal of this size, which has so many colours: 0, 16, 256 or 2^24. All groups, whatever
        the height is, for the normal screen; or else what the height has room for."""

    @property
    def begin(self) -> float: ...
    @property
    def samples(self) -> int:
        """Requests that were answered or failed."""

    @property
    def answers(self) -> int: ...
    @property
    def errors(self) -> int:
        """Requests that failed."""

    def current_rate(self, now: float) -> float:
        """Requests per second that ended in the last 5 seconds."""

    def latency(self, part: float) -> float | None:
        """The latency that this part (0 to 1) of all did not exceed, right to 1 %; None if there is none."""

    def latencies_up_to(self, seconds: float) -> int:
        """How many latencies were at most as long as this."""

    @property
    def goal(self) -> tuple[float, int]:
        """The share of the latest answers that the group has which is waited for, and the number of these answers."""

    @property
    def goal_reached(self) -> float | None:
        """When that share was reached."""

    def report(self, now: float, ended: str) -> str:
        """What --json prints, a JSON object; core/watch/report.pxd lists its keys. `ended` says why the watch ended."""

    def line(self, now: float) -> str:
        """The state in a line of text."""

    def figures(self, now: float) -> str:
        """The figures in it: gaps, latencies, and a rate that is not reached; empty if there are none."""

    def metrics(self, now: float) -> str:
        """The counters in the text format of Prometheus."""

    def expectations(self, now: float) -> list[tuple[str, str, bool]]:
        """What was expected and what was seen, in words, and whether they agree. The first is always there: if anything
        was asked, something was answered."""

    def closing(self, now: float, unicode: bool, github: bool) -> str:
        """A line for each expectation, with a mark for whether it holds, in ASCII if not `unicode`; then, for `github`,
        a workflow command for each that does not hold. Empty if only the one holds that is always there."""

    def junit(self, now: float, problem: str | None = None) -> str:
        """The expectations as JUnit XML, to be written in UTF-8; or the problem, if the watch could not go on."""

def run_line(options: WatchOptions, at: float) -> str:
    """The first line of --jsonl, without a line feed, which describes the run; core/watch/report.pxd lists its keys.
    `at` is the time, in seconds since 1970."""

def sample_line(
    at: float,
    start: float,
    end: float,
    replica: _Replica | None = None,
    failure: str = "",
    connection: int = 0,
    cookie_of: str | None = None,
) -> str:
    """The line of --jsonl for a sample that has just ended, as `Tally.add` takes it."""

class _Described(TypedDict):
    host: str
    short: str
    version: str | None
    colours: tuple[str, str]
    zone: str | None
    node: str | None
    started: int
    start_ms: int | None

class _Answer(TypedDict):
    state: Literal["more", "done", "not HTTP", "too large", "cut"]
    status: int | None
    keeps_alive: bool
    served_by: bytes | None
    version: bytes | None
    location: bytes | None
    cookies: list[bytes]
    body: bytes | None
    described: _Described | None

@final
class AnswerReader:
    """Answers of HTTP/1 by themselves, without a connection, as the watch reads them; for tests."""

    def __new__(cls) -> Self: ...
    def begin(self) -> None:
        """Be ready for the next answer; nothing of the former one remains."""

    def feed(self, data: bytes) -> str:
        """Take the next bytes of a connection into account, up to the end of the answer; the state."""

    def end(self) -> str:
        """Nothing more comes; the state."""

    def found(self) -> _Answer:
        """What is known. `status` is None while the head is not whole, or wrong; `body` is None until the answer is
        done; `described` is whom it tells of."""

def describe(
    body: bytes,
    served_by: bytes | None = None,
    version: bytes | None = None,
    zone: bytes | None = None,
    node: bytes | None = None,
) -> _Described | None:
    """Whom an answer tells of, by its body, or else by its fields X-Served-By, X-Version, X-Zone and X-Node."""

def printable(text: bytes) -> str:
    """As much of it as is shown, 255 bytes at most. U+FFFD stands for what controls a terminal, or is no UTF-8."""

@final
class CookieJar:
    """The latest cookies of each of 64 replicas. `secure`: the connection is encrypted."""

    def __new__(cls, secure: bool) -> Self: ...
    def store(self, host: str, set_cookie_lines: Iterable[bytes]) -> None:
        """Keep the cookies that an answer of this replica sets, in place of its former ones, if it sets any."""

    def choose(self, random: int) -> tuple[str, bytes] | None:
        """The host of a replica and its cookies, `name=value; name=value`, by 64 random bits; None four times in five,
        and if there are none."""

_Record: TypeAlias = tuple[Literal["info", "warning", "pages"], int, int, str, tuple[str, ...]]

@final
class Server:
    """A listening socket, the processes that serve it, and the phases of their life; see core/supervisor/server.pxd. To
    be used by one thread.

    Raises ValueError for an argument that cannot be, and OSError with a line of explanation if it cannot listen.
    """

    identity: Identity
    def __init__(self, settings: dict[str, object], listener: int | None = None) -> None:
        """`settings` has a value for each argument of `yinyang.Server`, by its name, but for `listener`."""

    def set_age(self, seconds: float) -> None:
        """Before `start`: the program that this is a server of began so many seconds ago. Raises ValueError."""

    def start(self) -> None:
        """Start the processes that serve. Raises OSError."""

    def wait(self, stops: int, log: int, timeout: int) -> bool:
        """Wait for something to log, for `wake` or a byte on `waker`, or until the descriptor `log` can be written; at
        most `timeout` milliseconds, without end if negative. False when all is over. `stops` is how often the server
        was asked to stop: once, to drain, finish what is being answered, and wait for a log that may take the last
        lines soon; twice, to end at once. Raises OSError if none of the processes could begin to serve."""

    @property
    def serves(self) -> bool:
        """Has any of its processes begun to serve?"""

    def next_record(self) -> _Record | None:
        """The next thing to log; None when there is none, for now. The kind, the second since 1970, how many equal ones
        there are, the message, and the values of the verbs in it."""

    def skip_drain(self) -> None:
        """Do not drain when it is told to stop. From any thread, and in a handler of signals."""

    def set_ready(self, ready: bool) -> None:
        """Have `/readyz` answer 503, or 200 again; from any thread, or a handler of signals."""

    def wake(self) -> None:
        """Make `wait` return; from any thread, or a handler of signals."""

    def reap_orphans(self) -> None:
        """Wait for dead children of this process that are not its workers, as the first process of a container must."""

    def close(self) -> None:
        """End everything, and free the port. What other threads may use (`wake`, `waker`, `counts`) stays."""

    @property
    def waker(self) -> int:
        """The descriptor to which a byte is written to make `wait` return, as for signal.set_wakeup_fd."""

    @property
    def address(self) -> tuple[str, int]: ...
    @property
    def url(self) -> str:
        """A URL of the page that works on this host."""

    def counts(self) -> tuple[int, int, int]:
        """Pages served and connections accepted since the start, and connections open now."""
