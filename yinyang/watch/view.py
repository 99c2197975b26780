"""The state of a watch for a terminal of any size, drawn with rich."""

from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from yinyang._core import Tally
from yinyang.watch.sample import DEFAULT_COLOURS

if TYPE_CHECKING:
    from yinyang._core import _Group, _TallyVerdict

MIN_WIDTH_FOR_VERSIONS = 30  # columns, and for how many replicas a group has
MIN_WIDTH_FOR_STATES = 44  # columns
MIN_WIDTH_FOR_BARS = 64  # columns
OTHER_LINES = 8  # beside groups and failures: header, a verdict of some lines, gaps, latencies
MAX_BAR_WIDTH = 24  # columns
SYMBOL_WIDTH = 3  # columns
NOW = 1.0  # seconds since the last answer that still count as now
STARTUP = 5.0  # seconds from the beginning in which those that are there are seen first
RECENT = 20.0  # seconds for which a group is new, and for which it counts as failing after a failure
ALARM, GOOD = "bold white on red", "bold green"
VERDICT_STYLES = {"down": ALARM, "failing": ALARM, "turns": GOOD, "even": GOOD}


class State(IntEnum):
    """How a group is, the most interesting first: this is the order of the rows, of which the last may not fit."""

    FAILING = 0
    NEW = 1
    LIVE = 2
    SILENT = 3


class View:
    """Draws the tally as it is when it is drawn, for the console as it is then."""

    def __init__(self, title: str, tally: Tally, now: float, show_all: bool = False) -> None:
        """now: seconds on the clock of samples; show_all: show all groups, even those that the screen cannot hold."""
        self._title = title
        self._tally = tally
        self._now = now
        self._show_all = show_all

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What to draw, as rich asks for it."""
        tally = self._tally
        groups, failures = tally.groups(), tally.failures()
        room = len(groups) if self._show_all else max(1, console.height - OTHER_LINES - len(failures))
        parts: list[RenderableType] = [self._header(), _verdict_text(tally.verdict(self._now))]
        parts.extend(self._failure(*failure) for failure in failures)
        parts += [Text(), self._table(groups, options.max_width, room)]
        if len(groups) > room:
            parts.append(Text(f"... and {len(groups) - room} more", style="dim"))
        if figures := tally.figures(self._now):
            parts.append(Text(figures))
        yield Group(*parts)

    def _header(self) -> Text:
        tally, now = self._tally, self._now
        text = Text(overflow="ellipsis", no_wrap=True)
        text.append(f"{format_clock(now - tally.begin)} ", style="bold")
        samples = "1 sample" if tally.samples == 1 else f"{tally.samples} samples"
        text.append(f"{samples}, {tally.current_rate(now):.1f}/s, {tally.errors} failed ")
        return text.append(self._title, style="dim")

    def _table(self, groups: "list[_Group]", width: int, room: int) -> Table:
        """A row for each group, with the columns that the width has room for."""
        has_versions, has_states = width >= MIN_WIDTH_FOR_VERSIONS, width >= MIN_WIDTH_FOR_STATES
        has_bars = width >= MIN_WIDTH_FOR_BARS
        table = Table.grid(padding=(0, 1))
        table.add_column(width=SYMBOL_WIDTH, no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True, min_width=4)  # name
        if has_versions:
            table.add_column(overflow="ellipsis", no_wrap=True, min_width=4, max_width=16)
        table.add_column(justify="right", no_wrap=True)  # answers
        table.add_column(justify="right", no_wrap=True)  # share
        if has_bars:
            table.add_column(no_wrap=True, min_width=8, max_width=MAX_BAR_WIDTH)
        if has_states:
            table.add_column(overflow="ellipsis", no_wrap=True)
        largest = max((group["share"] for group in groups), default=0.0)
        for group in sorted(groups, key=self._state)[:room]:
            state, share = self._state(group), group["share"]
            colours = group["colours"] or DEFAULT_COLOURS
            cells: list[RenderableType] = [Symbol(colours), Text(group["display_name"])]
            if has_versions:
                cells.append(Text(self._about(group)))
            cells += [Text(str(group["answers"])), Text(f"{100 * share:.1f} %")]
            if has_bars:
                style = Style(color=colours[0], dim=state is State.SILENT)
                cells.append(ProgressBar(largest or 1.0, share, complete_style=style, finished_style=style))
            if has_states:
                cells.append(self._state_text(group, state))
            table.add_row(*cells, style="dim" if state is State.SILENT else "")
        return table

    def _about(self, group: "_Group") -> str:
        """What is told of a group beside its name: the version, or how many replicas are there."""
        if self._tally.options.by == "replica":
            return group["version"]
        return f"{group['there']} of {len(group['replicas'])}"

    def _state(self, group: "_Group") -> State:
        if group["last_failure"] is not None and self._now - group["last_failure"] < RECENT:
            return State.FAILING
        if group["is_silent"]:
            return State.SILENT
        is_new = self._now - group["first"] < RECENT and group["first"] - self._tally.begin > STARTUP
        return State.NEW if is_new else State.LIVE

    def _state_text(self, group: "_Group", state: State) -> Text:
        seconds = self._now - group["last"]
        if state is State.FAILING:
            return Text(f"{group['failures']} failed", style="red")
        if state is State.SILENT:
            return Text(f"silent {seconds:.0f} s")
        if seconds >= NOW:
            return Text(f"{seconds:.0f} s ago")
        return Text("new" if state is State.NEW else "now")

    def _failure(self, name: str, count: int, last: float) -> Text:
        seconds = self._now - last
        text = Text(" !  ", style="bold red", overflow="ellipsis", no_wrap=True)
        return text.append(f"{name} {count}", style="red").append(f", last {seconds:.0f} s ago", style="dim")


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


def _verdict_text(verdict: "_TallyVerdict") -> Text:
    text = Text(verdict["headline"], style=VERDICT_STYLES.get(verdict["kind"], "bold"))
    return text.append(f"  {verdict['detail']}", style="not bold dim") if verdict["detail"] else text
