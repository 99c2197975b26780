"""The verdict: what the answers show about the balancing, in words that claim no more than that.

`Verdict.kind` is one of

- `too few`: nothing can be claimed yet; the words say why, and where possible how many answers would be enough
- `one replica`: one replica gave all answers; the words say how large a share others could have unnoticed
- `even`: each share is within 30 % of an equal share; the words say how precisely it is known
- `weighted`: both a chi-square test and an e-value reject equal shares, and each replica is still there
- `sticky by connection`, `sticky by cookie`: all answers stayed with their replica, too many of them for chance
- `unsteady`: answers in a row come from the same replica more often than independent answers would, or those on one
  connection mostly do, but not always; so the answers are not independent, and the number of answers proves nothing

Each claim about shares is wrong with a probability of at most `ERROR` in a segment, however often one looks, if answers
are independent; a rotation is closer to even than independent answers are.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import log

from yinyang.watch.evidence import Evidence, Segment
from yinyang.watch.statistics import (
    chi_square_of_equal_shares,
    chi_square_p_value,
    integer_ratio,
    log_e_value_of_equal_shares,
    repeats_z_score,
    share_bounds,
)

ERROR = 0.01  # the probability that a claim about shares is wrong
STICKY_PROBABILITY = 1e-4  # answers are sticky if independent ones would all stay with a probability below this
UNSTEADY_Z_SCORE = 5.0  # answers in a row are not independent if repeats exceed their expected number by more
TOLERANCE = 0.3  # of an even share, as a part of an equal share; so 2:1 is never even
MAX_UNNOTICED_SHARE = 0.1  # of another replica, when one is called the only one
MAX_RATIO_MARGIN = 0.15  # of shares that a ratio is made of
MIN_CELL_COUNT = 5  # answers of each replica for a chi-square test, or for a weight
MAX_NAMED = 6  # replicas whose shares are named

Shares = dict[str, tuple[float, float, float]]  # by host: lower bound, observed share, upper bound


@dataclass(frozen=True)
class Verdict:
    """What the answers show.

    kind: see above.
    words: the verdict for people.
    samples: what the verdict rests on: the number of answers, or of connections where the balancer chooses for these.
    shares: see `Shares`; empty if the verdict says nothing about them.
    chi_square, degrees_of_freedom, p_value: of the test for equal shares; None if it was not made.
    """

    kind: str
    words: str
    samples: int
    shares: Shares = field(default_factory=dict)
    chi_square: float | None = None
    degrees_of_freedom: int | None = None
    p_value: float | None = None


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the current segment."""
    segment = evidence.segment
    hosts = sorted(evidence.active)
    if not hosts:
        return Verdict("too few", "no answer yet", 0)
    since = f" since {evidence.change}" if evidence.change else ""
    if silent := evidence.silent_hosts():
        samples = segment.counts.total()
        return Verdict("too few", f"{_names(silent)} may be gone: wait and see (n = {samples}{since})", samples)
    if len(hosts) == 1:
        return _judge_one(hosts[0], segment, evidence.keep_alive, since)
    if evidence.keep_alive and (verdict := _judge_connections(hosts, segment, since)):
        return verdict
    return _judge_cookies(segment, _judge_shares(hosts, segment, since))


def _judge_one(host: str, segment: Segment, keep_alive: bool, since: str) -> Verdict:
    """There is one replica: are there enough samples to call it the only one?"""
    samples = segment.connections[host] if keep_alive else segment.counts[host]
    low, high = share_bounds(samples, samples, ERROR)
    shares = {host: (low, 1.0, high)}
    noun = "connections" if keep_alive else "samples"
    if 1 - low > MAX_UNNOTICED_SHARE:
        words = f"only {host} so far, in too few {noun} to tell (n = {samples}{since})"
        return Verdict("too few", words, samples, shares)
    rest = f"another would get less than {_percent(1 - low)} of what is sent from here"
    return Verdict("one replica", f"one replica only: {host}; {rest} (n = {samples} {noun}{since})", samples, shares)


def _judge_connections(hosts: list[str], segment: Segment, since: str) -> Verdict | None:
    """Do answers on one connection come from one replica? None if the connection makes no difference."""
    stays, switches = segment.stays.total(), segment.switches.total()
    samples = segment.counts.total()
    shares = {host: (segment.counts[host] + 0.5) / (samples + len(hosts) / 2) for host in hosts}
    if switches == 0:
        log_probability = sum(count * log(shares[host]) for host, count in segment.stays.items())
        if log_probability > log(STICKY_PROBABILITY):
            words = f"too few samples to tell whether connections stay with a replica (n = {samples}{since})"
            return Verdict("too few", words, samples)
        connections = segment.connections.total()
        split = ", ".join(f"{host} {segment.connections[host]}" for host in _by_count(hosts, segment.connections))
        words = f"sticky by connection: none of {connections} changed its replica in {samples} samples; {split}{since}"
        return Verdict("sticky by connection", words, connections)
    expected_share = sum(share * share for share in shares.values())
    if repeats_z_score(stays, stays + switches, expected_share) > UNSTEADY_Z_SCORE:
        words = f"connections cling to a replica, but not all: {stays} of {stays + switches} samples stayed{since}"
        return Verdict("unsteady", words, samples)
    return None


def _judge_shares(hosts: list[str], segment: Segment, since: str) -> Verdict:
    """Are the shares of several replicas equal, and if not, what are they?"""
    counts = [segment.counts[host] for host in hosts]
    samples, replicas = sum(counts), len(hosts)
    n = f"n = {samples}{since}"
    bounds = [share_bounds(count, samples, ERROR / replicas) for count in counts]
    observed = [count / samples if samples else 0.0 for count in counts]
    shares = {host: (low, share, high) for host, share, (low, high) in zip(hosts, observed, bounds, strict=True)}
    if _comes_in_runs(segment, observed):
        words = f"unsteady: answers in a row come from the same replica too often to judge shares ({n})"
        return Verdict("unsteady", words, samples, shares)
    if samples < MIN_CELL_COUNT * replicas:
        return Verdict("too few", f"too few samples to tell, from {replicas} replicas ({n})", samples, shares)
    chi_square = chi_square_of_equal_shares(counts)
    p_value = chi_square_p_value(chi_square, replicas - 1)
    tested = (chi_square, replicas - 1, p_value)
    if log_e_value_of_equal_shares(counts) >= -log(ERROR) and p_value < ERROR:
        if min(counts) < MIN_CELL_COUNT:
            rare = [host for host in hosts if segment.counts[host] < MIN_CELL_COUNT]
            words = f"not even, but {_names(rare)} answered too rarely to tell a weight ({n})"
            return Verdict("too few", words, samples, shares, *tested)
        return Verdict("weighted", _weighted_words(hosts, segment, shares, n), samples, shares, *tested)
    equal = 1 / replicas
    margin = max(max(equal - low, high - equal) for low, high in bounds)
    if margin <= TOLERANCE * equal:
        words = f"even: each of {replicas} replicas gets {_percent(equal)}, give or take {_points(margin)} ({n})"
        return Verdict("even", words, samples, shares, *tested)
    wanted = f"about {samples_for_even(replicas)} wanted"
    words = f"no sign of unequal shares, but too few samples to call {replicas} even ({n}, {wanted})"
    return Verdict("too few", words, samples, shares, *tested)


def _comes_in_runs(segment: Segment, shares: list[float]) -> bool:
    """Whether answers in a row come from the same replica more often than independent answers would."""
    expected_share = sum(share * share for share in shares)
    is_enough = segment.pairs * min(shares) >= MIN_CELL_COUNT
    return is_enough and repeats_z_score(segment.repeats, segment.pairs, expected_share) > UNSTEADY_Z_SCORE


def _judge_cookies(segment: Segment, without_cookie: Verdict) -> Verdict:
    """Sticky by cookie; or else the verdict on the answers to requests without a cookie."""
    hits, misses = segment.cookie_hits, segment.cookie_misses.total()
    if misses or not hits:
        return without_cookie
    shares = {host: max(high, 1e-9) for host, (_, _, high) in without_cookie.shares.items()}
    log_probability = sum(count * log(shares.get(host, 1.0)) for host, count in hits.items())
    if log_probability > log(STICKY_PROBABILITY):
        return without_cookie
    names = _names(sorted(segment.cookie_names))
    back = f"all {hits.total()} samples with it went back"
    words = f"sticky by cookie {names}: {back}; without it, {without_cookie.words}"
    tested = (without_cookie.chi_square, without_cookie.degrees_of_freedom, without_cookie.p_value)
    return Verdict("sticky by cookie", words, hits.total(), without_cookie.shares, *tested)


def _weighted_words(hosts: list[str], segment: Segment, shares: Shares, n: str) -> str:
    hosts = _by_count(hosts, segment.counts)
    observed = [shares[host][1] for host in hosts]
    bounds = [(shares[host][0], shares[host][2]) for host in hosts]
    margin = max(max(share - low, high - share) for share, (low, high) in zip(observed, bounds, strict=True))
    equal = 1 / len(hosts)
    is_slight = all(abs(bound - equal) <= TOLERANCE * equal for pair in bounds for bound in pair)
    named = ", ".join(f"{host} {_percent(share)}" for host, share in zip(hosts[:MAX_NAMED], observed, strict=False))
    more = f" and {len(hosts) - MAX_NAMED} more" if len(hosts) > MAX_NAMED else ""
    ratio = None if is_slight or margin > MAX_RATIO_MARGIN else integer_ratio(observed, margin / 3)
    about = f" about {':'.join(map(str, ratio))}" if ratio else ""
    finding = "weighted slightly" if is_slight else f"weighted{about}"
    return f"{finding}: {named}{more}, give or take {_points(margin)} ({n})"


@lru_cache(maxsize=64)
def samples_for_even(replicas: int) -> int:
    """About how many answers of replicas with equal shares it takes to call the shares even."""

    def is_enough(each: int) -> bool:
        low, high = share_bounds(each, each * replicas, ERROR / replicas)
        return max(1 / replicas - low, high - 1 / replicas) <= TOLERANCE / replicas

    too_few, each = 0, MIN_CELL_COUNT
    while not is_enough(each):
        too_few, each = each, each * 2
    while each - too_few > 1:
        middle = (each + too_few) // 2
        too_few, each = (too_few, middle) if is_enough(middle) else (middle, each)
    return each * replicas


def _by_count(hosts: list[str], counts: dict[str, int]) -> list[str]:
    return sorted(hosts, key=lambda host: (-counts[host], host))


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.001 else "0.1 %"


def _points(margin: float) -> str:
    points = 100 * margin
    return f"{points:.2g} points" if points < 10 else f"{points:.0f} points"
