"""The gates of deploy/, as they are: is the outcome of a Job the verdict of its watch?"""

import xml.etree.ElementTree as ET

import pytest
from conftest import ROOT, wait_until

from kubernetes.record import Record
from kubernetes.workload import DEPLOYMENT, Workload

pytestmark = [pytest.mark.kubernetes, pytest.mark.containers]


def outcome(workload: Workload, job: str) -> str:
    """Complete or Failed, when it is one of them."""

    def conditions() -> list[str]:
        found = workload.get("job", job)["status"].get("conditions", [])
        return [item["type"] for item in found if item["type"] in {"Complete", "Failed"} and item["status"] == "True"]

    return wait_until(conditions, f"the job {job} to end")[0]


def message(workload: Workload, job: str) -> str:
    """What the pod has left in its status."""
    [pod] = workload.pods(f"--selector=job-name={job}")
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]


@pytest.mark.parametrize("error_rate", ["0", "20%"], ids=["holds", "fails"])
def test_job(error_rate: str, workload: Workload, record: Record) -> None:
    """The name of the Service is looked up, and the JUnit file is in the status of the pod."""
    if error_rate != "0":
        workload.kubectl("set", "env", DEPLOYMENT, f"YINYANG_ERROR_RATE={error_rate}")
        workload.rolled_out()
    workload.kubectl("apply", f"--filename={ROOT}/deploy/watch-job.yaml")
    ended = outcome(workload, "watch")
    report = ET.fromstring(message(workload, "watch"))
    failures = [case.get("name") for case in report.iter("testcase") if case.find("failure") is not None]
    assert ended == ("Complete" if error_rate == "0" else "Failed"), failures
    assert bool(failures) == (error_rate != "0")
    record.add(
        "deploy/watch-job.yaml",
        "`kubectl apply`" + (f"; {error_rate} of the answers are errors" if failures else ""),
        f"{ended}; in the JUnit file of its pod, {len(failures)} of {len(list(report.iter('testcase')))} do not hold",
    )


def test_cronjob(workload: Workload, record: Record) -> None:
    workload.kubectl("apply", f"--filename={ROOT}/deploy/watch-cronjob.yaml")
    workload.kubectl("create", "job", "watch-now", "--from=cronjob/watch")
    ended = outcome(workload, "watch-now")
    assert ended == "Complete"
    record.add("deploy/watch-cronjob.yaml", "`kubectl create job watch-now --from=cronjob/watch`", ended)
