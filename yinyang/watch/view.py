"""The state of a watch for a terminal of any size, drawn with rich."""

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from yinyang.watch.metrics import Metrics, ReplicaMetrics
from yinyang.watch.summary import display_names, gap_text, latency_text, rate_text
from yinyang.watch.verdict import Verdict, judge

MIN_WIDTH_FOR_VERSIONS = 64  # columns
MIN_WIDTH_FOR_BARS = 44  # columns, and for when a replica was last seen
OTHER_LINES = 8  # beside replicas and failures: header, gaps, latencies, and a verdict of some lines
MAX_BAR_WIDTH = 24  # columns
SYMBOL_WIDTH = 3  # columns
NOW = 1.0  # seconds since the last answer that still count as now
VERDICT_STYLES = {"even": "bold green", "weighted": "bold cyan", "too few": "dim", "unsteady": "bold yellow"}


class View:
    """Draws the metrics as they are when they are drawn, for the console as it is then."""

    def __init__(self, title: str, metrics: Metrics, now: float, show_all: bool = False) -> None:
        """now: seconds on the clock of samples; show_all: show all replicas, even those that the screen cannot hold."""
        self._title = title
        self._metrics = metrics
        self._now = now
        self._show_all = show_all

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What to draw, as rich asks for it."""
        metrics = self._metrics
        replicas = len(metrics.replicas)
        room = replicas if self._show_all else max(1, console.height - OTHER_LINES - len(metrics.failures))
        parts: list[RenderableType] = [self._header(), Text(), self._table(options.max_width, room)]
        if replicas > room:
            parts.append(Text(f"... and {replicas - room} more", style="dim"))
        parts.extend(self._failure(name) for name in metrics.failures)
        figures = [gap_text(metrics, self._now), latency_text(metrics), rate_text(metrics, self._now)]
        if any(figures):
            parts.append(Text("; ".join(filter(None, figures))))
        parts.append(_verdict_text(judge(metrics.evidence)))
        yield Group(*parts)

    def _header(self) -> Text:
        metrics, now = self._metrics, self._now
        text = Text(overflow="ellipsis", no_wrap=True)
        text.append(f"{format_clock(now - metrics.begin)} ", style="bold")
        text.append(f"{metrics.samples} samples, {metrics.current_rate(now):.1f}/s, {metrics.errors} failed ")
        return text.append(self._title, style="dim")

    def _table(self, width: int, room: int) -> Table:
        """A row for each replica, with the columns that the width has room for."""
        metrics = self._metrics
        has_versions, has_bars = width >= MIN_WIDTH_FOR_VERSIONS, width >= MIN_WIDTH_FOR_BARS
        table = Table.grid(padding=(0, 1))
        table.add_column(width=SYMBOL_WIDTH, no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True, min_width=4)  # name
        if has_versions:
            table.add_column(overflow="ellipsis", no_wrap=True, max_width=16)
        table.add_column(justify="right", no_wrap=True)  # answers
        table.add_column(justify="right", no_wrap=True)  # share
        if has_bars:
            table.add_column(no_wrap=True, min_width=8, max_width=MAX_BAR_WIDTH)
            table.add_column(overflow="ellipsis", no_wrap=True)  # last seen
        names = display_names(metrics)
        for host, replica in list(metrics.replicas.items())[:room]:
            is_silent = metrics.evidence.is_silent(host)
            share = metrics.share(replica)
            cells: list[RenderableType] = [Symbol(replica.replica.colours), Text(names[host])]
            if has_versions:
                cells.append(Text(replica.replica.version or ""))
            cells += [Text(str(replica.answers)), Text(f"{100 * share:.1f} %")]
            if has_bars:
                style = Style(color=replica.replica.colours[0], dim=is_silent)
                cells.append(ProgressBar(1.0, share, complete_style=style, finished_style=style))
                cells.append(self._last_seen(replica, is_silent))
            table.add_row(*cells, style="dim" if is_silent else "")
        return table

    def _last_seen(self, replica: ReplicaMetrics, is_silent: bool) -> Text:
        seconds = self._now - replica.last
        if is_silent:
            return Text(f"silent {seconds:.0f} s")
        return Text("now" if seconds < NOW else f"{seconds:.0f} s ago")

    def _failure(self, name: str) -> Text:
        failure = self._metrics.failures[name]
        seconds = self._now - failure.last
        text = Text(" !  ", style="bold red", overflow="ellipsis", no_wrap=True)
        return text.append(f"{name} {failure.count}", style="red").append(f", last {seconds:.0f} s ago", style="dim")


class Symbol:
    """A replica's symbol in its two colours."""

    def __init__(self, colours: tuple[str, str]) -> None:
        self._colours = colours

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What to draw, as rich asks for it."""
        circle, path = self._colours
        char = "@" if options.ascii_only else "\N{YIN YANG}"
        yield Segment(f" {char} ", Style(color=path, bgcolor=circle))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """How wide it is, as rich asks for it."""
        return Measurement(SYMBOL_WIDTH, SYMBOL_WIDTH)


def format_clock(seconds: float) -> str:
    """Minutes and seconds, after the hours if there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _verdict_text(verdict: Verdict) -> Text:
    return Text(verdict.words, style=VERDICT_STYLES.get(verdict.kind, "bold"))
