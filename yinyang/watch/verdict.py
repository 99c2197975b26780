"""What the answers show about the balancing, in words that claim no more than that.

`Verdict.kind` is one of

- `too few`: nothing can be claimed yet; the words say why, and where possible how many answers would do
- `one replica`: one only, and the words say how much others could get unnoticed
- `even`: each share is within 30 % of the fair share; the words say how closely it is known
- `weighted`: the shares are not equal (neither by a chi-square test nor by an e-value), and each replica is still there
- `sticky by connection`, `sticky by cookie`: no answer strayed, and enough came for that to be no chance
- `unsteady`: answers in a row come from the same replica more often than independent ones do, or those on one
  connection mostly, but not always; so they are no independent draws, and their number tells nothing

Each claim about shares is wrong with a chance of at most `ERROR` in a stretch, however often one looks, if answers are
drawn independently; rotation is closer to even than that.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import log

from yinyang.watch.chances import (
    bounds,
    chi_square_chance,
    chi_square_even,
    log_odds_against_even,
    staying_z,
    whole_ratio,
)
from yinyang.watch.evidence import Evidence, Stretch

ERROR = 0.01  # the chance that a claim about shares is wrong
CHANCE = 1e-4  # below this, it is no chance that answers cling to connections or cookies
Z = 5.0  # standard deviations beyond which it is no chance that answers in a row are by the same replica
TOLERANCE = 0.3  # an even share is this close to the fair share, as a part of it; so 2:1 is never even
UNNOTICED = 0.1  # a replica is called the only one if no other can get more than this
COARSE = 0.15  # a share that is not known better than to this is part of no ratio
CELL = 5  # answers that a cell must have for a chi-square, and a replica to have a weight
NAMED = 6  # replicas whose shares are named

Shares = dict[str, tuple[float, float, float]]  # by host: the least, the seen, and the greatest not spoken against


@dataclass(frozen=True)
class Verdict:
    """kind and words: see above.

    samples: what it rests on: answers, or connections where these are what is shared out.
    chi_square, freedom, chance: of equal shares; None where no such test was made.
    """

    kind: str
    words: str
    samples: int
    shares: Shares = field(default_factory=dict)
    chi_square: float | None = None
    freedom: int | None = None
    chance: float | None = None


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the present stretch."""
    stretch = evidence.stretch
    hosts = sorted(evidence.members)
    if not hosts:
        return Verdict("too few", "no answer yet", 0)
    since = f" since {evidence.changed}" if evidence.changed else ""
    if silent := evidence.silent():
        samples = stretch.counts.total()
        return Verdict("too few", f"{_list(silent)} may be gone: wait and see (n = {samples}{since})", samples)
    if len(hosts) == 1:
        return _judge_one(hosts[0], stretch, evidence.keeping, since)
    if evidence.keeping and (found := _judge_connections(hosts, stretch, since)):
        return found
    return _judge_cookies(stretch, _judge_shares(hosts, stretch, since))


def _judge_one(host: str, stretch: Stretch, keeping: bool, since: str) -> Verdict:
    samples = stretch.connections[host] if keeping else stretch.counts[host]
    low, high = bounds(samples, samples, ERROR)
    shares = {host: (low, 1.0, high)}
    what = "connections" if keeping else "samples"
    n = f"n = {samples}{since}"
    if 1 - low > UNNOTICED:
        return Verdict("too few", f"only {host} so far, in too few {what} to tell ({n})", samples, shares)
    rest = f"another would get less than {_percent(1 - low)} of what is sent from here"
    return Verdict("one replica", f"one replica only: {host}; {rest} (n = {samples} {what}{since})", samples, shares)


def _judge_connections(hosts: list[str], stretch: Stretch, since: str) -> Verdict | None:
    """None if the answers on one connection are shared out like others."""
    stays, switches = stretch.stays.total(), stretch.switches.total()
    first = stretch.connections.total()
    samples = stretch.counts.total()
    shares = {host: (count + 0.5) / (samples + len(hosts) / 2) for host in hosts for count in [stretch.counts[host]]}
    if not switches:
        if sum(count * log(shares[host]) for host, count in stretch.stays.items()) > log(CHANCE):
            words = f"too few samples to tell whether connections stay with a replica (n = {samples}{since})"
            return Verdict("too few", words, samples)
        split = ", ".join(f"{host} {stretch.connections[host]}" for host in _by_count(hosts, stretch.connections))
        words = f"sticky by connection: none of {first} changed its replica in {samples} samples; {split}{since}"
        return Verdict("sticky by connection", words, first)
    expected = sum(share * share for share in shares.values())
    if staying_z(stays, stays + switches, expected) > Z:
        words = f"connections cling to a replica, but not all: {stays} of {stays + switches} samples stayed{since}"
        return Verdict("unsteady", words, samples)
    return None


def _judge_shares(hosts: list[str], stretch: Stretch, since: str) -> Verdict:
    counts = [stretch.counts[host] for host in hosts]
    samples, cells = sum(counts), len(hosts)
    n = f"n = {samples}{since}"
    edges = [bounds(count, samples, ERROR / cells) for count in counts]
    seen = [count / samples if samples else 0.0 for count in counts]
    shares = {host: (low, share, high) for host, share, (low, high) in zip(hosts, seen, edges, strict=True)}
    if _clings(stretch, hosts):
        words = f"unsteady: answers in a row come from the same replica too often to judge shares ({n})"
        return Verdict("unsteady", words, samples, shares)
    if samples < CELL * cells:
        words = f"too few samples to tell, from {cells} replicas ({n})"
        return Verdict("too few", words, samples, shares)
    statistic = chi_square_even(counts)
    tested = (statistic, cells - 1, chi_square_chance(statistic, cells - 1))
    fair = 1 / cells
    if log_odds_against_even(counts) >= -log(ERROR) and tested[2] < ERROR:
        if min(counts) < CELL:
            rare = [host for host in hosts if stretch.counts[host] < CELL]
            words = f"not even, but {_list(rare)} answered too rarely to tell a weight ({n})"
            return Verdict("too few", words, samples, shares, *tested)
        return Verdict("weighted", _weighted_words(hosts, stretch, shares, n), samples, shares, *tested)
    margin = max(max(fair - low, high - fair) for low, high in edges)
    if margin <= TOLERANCE * fair:
        each = f"each of {cells} replicas gets {_percent(fair)}, give or take {_points(margin)}"
        return Verdict("even", f"even: {each} ({n})", samples, shares, *tested)
    words = f"no sign of unequal shares, but too few samples to call {cells} even ({n}, about {needed(cells)} wanted)"
    return Verdict("too few", words, samples, shares, *tested)


def _clings(stretch: Stretch, hosts: list[str]) -> bool:
    samples = stretch.counts.total()
    if not samples:
        return False
    shares = [stretch.counts[host] / samples for host in hosts]
    expected = sum(share * share for share in shares)
    return stretch.pairs * min(shares) >= CELL and staying_z(stretch.repeats, stretch.pairs, expected) > Z


def _judge_cookies(stretch: Stretch, spread: Verdict) -> Verdict:
    """Sticky by cookie, or else what the answers without a cookie show."""
    hits, misses = stretch.cookie_hits, stretch.cookie_misses.total()
    if misses or not hits:
        return spread
    likely = {host: max(high, 1e-9) for host, (_, _, high) in spread.shares.items()}
    if sum(count * log(likely.get(host, 1.0)) for host, count in hits.items()) > log(CHANCE):
        return spread
    names = _list(sorted(stretch.cookie_names))
    words = f"sticky by cookie {names}: all {hits.total()} samples with it went back; without it, {spread.words}"
    tested = (spread.chi_square, spread.freedom, spread.chance)
    return Verdict("sticky by cookie", words, hits.total(), spread.shares, *tested)


def _weighted_words(hosts: list[str], stretch: Stretch, shares: Shares, n: str) -> str:
    hosts = _by_count(hosts, stretch.counts)
    seen = [shares[host][1] for host in hosts]
    edges = [(shares[host][0], shares[host][2]) for host in hosts]
    margin = max(max(share - low, high - share) for share, (low, high) in zip(seen, edges, strict=True))
    fair = 1 / len(hosts)
    close = all(abs(edge - fair) <= TOLERANCE * fair for pair in edges for edge in pair)
    named = ", ".join(f"{host} {_percent(share)}" for host, share in zip(hosts[:NAMED], seen, strict=False))
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    ratio = None if close or margin > COARSE else whole_ratio(seen, margin / 3)
    like = f" about {':'.join(map(str, ratio))}" if ratio else ""
    begin = "weighted slightly" if close else f"weighted{like}"
    return f"{begin}: {named}{more}, give or take {_points(margin)} ({n})"


@lru_cache(maxsize=64)
def needed(cells: int) -> int:
    """How many answers of replicas that share them out equally it takes to call that even, about."""

    def enough(each: int) -> bool:
        low, high = bounds(each, each * cells, ERROR / cells)
        return max(1 / cells - low, high - 1 / cells) <= TOLERANCE / cells

    below, each = 0, CELL
    while not enough(each):
        below, each = each, each * 2
    while each - below > 1:
        middle = (each + below) // 2
        below, each = (below, middle) if enough(middle) else (middle, each)
    return each * cells


def _by_count(hosts: list[str], counts: dict[str, int]) -> list[str]:
    return sorted(hosts, key=lambda host: (-counts[host], host))


def _list(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.001 else "0.1 %"


def _points(margin: float) -> str:
    points = 100 * margin
    return f"{points:.2g} points" if points < 10 else f"{points:.0f} points"
