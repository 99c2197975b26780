"""Many short connections a second from one client: which of them are lost at replicas that stay, and why?

A replica ends its connections first, so for a minute its kernel knows each by both addresses and ports (TIME_WAIT). A
node gives connections from outside its own address and a port at random. So the more there are, the more often one has
the addresses and ports of one before, and no later timestamp, as the client's kernel had chosen that for other ports.
The replica's kernel takes its SYN for an old packet (PAWS), and counts it. The client tries again, four times in 3 s,
each time with another port by chance.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kubernetes.record import Record
from kubernetes.workload import DEPLOY, REQUESTS, Watch, Workload, first_process

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers, pytest.mark.static]
CROWD = ("--rate=1700", "--concurrency=200", "--duration=70s")


def taken_for_old(workload: Workload) -> int:
    """How many SYNs the replicas have dropped because of a connection that had ended."""
    found = 0
    for pod in workload.pods():
        names, values, *_ = Path(f"/proc/{first_process(pod)}/net/netstat").read_text().splitlines()
        counters = dict(zip(names.split(), values.split(), strict=True))
        if "PAWSTimewait" not in counters:
            pytest.skip("this kernel does not count them")
        found += int(counters["PAWSTimewait"])
    return found


@pytest.mark.skipif(REQUESTS < 100_000, reason="takes minutes of load: YINYANG_REQUESTS=100000")
def test_crowd_from_outside(workload: Workload, look: Callable[..., Watch], record: Record) -> None:
    """Whose address the node replaces."""
    looking = look(workload.url(), *CROWD)
    looking.end(interrupt=False)
    samples = looking.samples()
    failed = Counter(sample["failure"] for sample in samples if "failure" in sample)
    dropped = taken_for_old(workload)
    assert set(failed) <= {"timed out"}
    assert dropped >= 4 * failed["timed out"]  # each that is lost was dropped with all its repetitions
    record.add(
        DEPLOY,
        f"`yinyang watch {' '.join(CROWD)}`",
        f"{len(samples):,} requests, {failed['timed out']} timed out; the replicas took {dropped:,} SYNs for old ones",
    )


@pytest.mark.skipif(REQUESTS < 100_000, reason="takes minutes of load: YINYANG_REQUESTS=100000")
def test_crowd_from_a_pod(workload: Workload, record: Record) -> None:
    """Whose address and ports stay as they are: those that come again have a later timestamp."""
    report = workload.watch_as_a_pod(*CROWD)
    dropped = taken_for_old(workload)
    assert report["errors"] == dropped == 0
    record.add(
        DEPLOY,
        f"`kubectl run look --image=yinyang:0.1.0 -- watch {' '.join(CROWD)}`",
        f"{report['samples']:,} requests, 0 failed; the replicas took no SYN for an old one",
    )
