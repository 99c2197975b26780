"""The state of a watch as a picture for a terminal, of any size."""

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from yinyang.watch.summary import gap_words, latency_words, names_of
from yinyang.watch.tally import Row, Tally
from yinyang.watch.verdict import Verdict, judge

NARROW = 64  # columns below which there is no room for versions
TIGHT = 44  # columns below which there is none for bars and when a replica was last seen
AROUND = 8  # lines beside replicas and failures: header, gaps, latencies, and a verdict of some lines
BAR = 24  # columns
LATELY = 1.0  # seconds within which "last seen" is now
VERDICT_STYLES = {"even": "bold green", "weighted": "bold cyan", "too few": "dim", "unsteady": "bold yellow"}


class Picture:
    """Draws the tally as it is when it is drawn, for the console as it is then."""

    def __init__(self, title: str, tally: Tally, now: float, whole: bool = False) -> None:
        """whole: show all rows, even those that do not fit on the screen."""
        self._title = title
        self._tally = tally
        self._now = now
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What to draw."""
        tally, width = self._tally, options.max_width
        verdict = judge(tally.evidence)
        room = len(tally.rows) if self._whole else max(1, console.height - AROUND - len(tally.failures))
        parts: list[RenderableType] = [self._header(), Text(), self._replicas(width, room, console)]
        if len(tally.rows) > room:
            parts.append(Text(f"... and {len(tally.rows) - room} more", style="dim"))
        parts.extend(self._failure(name) for name in tally.failures)
        figures = [words for words in (gap_words(tally, self._now), latency_words(tally)) if words]
        if figures:
            parts.append(Text("; ".join(figures)))
        parts.append(_verdict(verdict))
        yield Group(*parts)

    def _header(self) -> Text:
        tally, now = self._tally, self._now
        text = Text(overflow="ellipsis", no_wrap=True)
        text.append(f"{clock(now - tally.begin)} ", style="bold")
        text.append(f"{tally.samples} samples, {tally.pace(now):.1f}/s, {tally.errors} failed ")
        return text.append(self._title, style="dim")

    def _replicas(self, width: int, room: int, console: Console) -> Table:
        tally = self._tally
        table = Table.grid(padding=(0, 1))
        narrow, tight = width < NARROW, width < TIGHT
        table.add_column(width=3, no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True, min_width=4)
        if not narrow:
            table.add_column(overflow="ellipsis", no_wrap=True, max_width=16)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        if not tight:
            table.add_column(no_wrap=True, min_width=8, max_width=BAR)
            table.add_column(overflow="ellipsis", no_wrap=True)
        names = names_of([row.replica for row in tally.rows.values()])
        for host, row in list(tally.rows.items())[:room]:
            silent = tally.evidence.is_silent(host)
            share = tally.share(row)
            cells: list[RenderableType] = [Symbol(row), Text(names[host])]
            if not narrow:
                cells.append(Text(row.replica.version or ""))
            cells += [Text(str(row.answers)), Text(f"{100 * share:.1f} %")]
            if not tight:
                style = Style(color=row.replica.colours[0], dim=silent)
                cells += [ProgressBar(1.0, share, complete_style=style, finished_style=style), self._seen(row, silent)]
            table.add_row(*cells, style="dim" if silent else "")
        return table

    def _seen(self, row: Row, silent: bool) -> Text:
        ago = self._now - row.last
        return Text("now" if ago < LATELY and not silent else f"silent {ago:.0f} s" if silent else f"{ago:.0f} s ago")

    def _failure(self, name: str) -> Text:
        failure = self._tally.failures[name]
        ago = self._now - failure.last
        text = Text(" !  ", style="bold red", overflow="ellipsis", no_wrap=True)
        return text.append(f"{name} {failure.count}", style="red").append(f", last {ago:.0f} s ago", style="dim")


class Symbol:
    """The replica's symbol in its two colours, three columns wide."""

    def __init__(self, row: Row) -> None:
        self._colours = row.replica.colours

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What to draw."""
        sign = "@" if options.ascii_only else "\N{YIN YANG}"
        yield Segment(f" {sign} ", Style(color=self._colours[1], bgcolor=self._colours[0]))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """How wide it is."""
        return Measurement(3, 3)


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours if there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _verdict(verdict: Verdict) -> Text:
    return Text(verdict.words, style=VERDICT_STYLES.get(verdict.kind, "bold"))
