"""deploy/kubernetes/base/yinyang.yaml in a cluster, and the watch of its Service."""

import contextlib
import copy
import json
import os
import re
import signal
import subprocess
from pathlib import Path

from conftest import PATIENCE, ROOT, clean_environment, needs, wait_until

from kubernetes.cluster import Cluster

DEPLOY = "deploy/kubernetes/base/yinyang.yaml"
DEPLOYMENT = "deployment/yinyang"
SELECTOR = "--selector=app.kubernetes.io/name=yinyang"
REQUESTS = int(os.environ.get("YINYANG_REQUESTS", "3000"))  # of each scenario, at least
RATE = max(300, REQUESTS // 240)  # a second
POD = {  # by the pod security standard "restricted"
    "spec": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "look",
                "image": "yinyang:0.1.0",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
}


class Workload:
    """deploy/kubernetes/base/yinyang.yaml in a namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, given=given)

    def apply(self, *options: str) -> str:
        return self.kubectl("apply", *options, f"--filename={ROOT / DEPLOY}")

    def apply_idle(self, kustomization: str) -> None:
        """Apply it without the CPU time that each request takes for an autoscaler to see."""
        text = self.kubectl("kustomize", str(ROOT / kustomization))
        assert "value: 20ms" in text
        self.kubectl("apply", "--filename=-", given=text.replace("value: 20ms", 'value: "0"'))

    def get(self, *arguments: str) -> dict:
        return self.cluster.get(f"--namespace={self.namespace}", *arguments)

    def pods(self, selector: str = SELECTOR) -> list[dict]:
        """Those that there are, also if they are about to end."""
        return self.get("pods", selector)["items"]

    def rolled_out(self) -> None:
        """Wait until all replicas are ready, and those before them gone."""
        self.kubectl("rollout", "status", DEPLOYMENT, f"--timeout={PATIENCE:g}s")
        wait_until(lambda: len(self.pods()) == self.replicas(), "the last pods to be gone")

    def replicas(self) -> int:
        """How many there should be."""
        return self.get(DEPLOYMENT)["spec"]["replicas"]

    def url(self, service: str = "yinyang") -> str:
        return f"http://{self.get(f'service/{service}')['spec']['clusterIP']}/"

    def watch_as_a_pod(self, *options: str) -> dict:
        """The report of one that looks at the Service from a pod, whose node sends its requests on."""
        overrides = copy.deepcopy(POD)
        overrides["spec"]["containers"][0]["args"] = ["watch", "http://yinyang/", *options, "--json"]
        image = "--image=yinyang:0.1.0"
        self.kubectl("run", "look", "--restart=Never", image, f"--overrides={json.dumps(overrides)}")
        self.kubectl("wait", "pod/look", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={PATIENCE:g}s")
        [report] = [line for line in self.kubectl("logs", "look").splitlines() if line.startswith("{")]
        return json.loads(report)  # the log has what the watch expected as well, before it or behind it


class Watch:
    """`yinyang watch`, as a client outside of the cluster."""

    def __init__(self, cluster: Cluster, url: str, program: Path, output: Path, *options: str) -> None:
        self.output = output
        self.counted = -1  # lines so far, but the first, which is about the run
        enter = [needs("nsenter"), f"--target={cluster.outside.pid}", "--net", "--"]
        command = [*enter, str(program), "watch", url, "--jsonl", *options]
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, env=clean_environment())
        self.reading = output.open("rb")

    def samples(self) -> list[dict]:
        """What has come so far, without a line that is not complete."""
        lines = self.output.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines[1:]]

    def count(self) -> int:
        assert self.process.poll() is None, self.process.stderr.read()
        self.counted += self.reading.read().count(b"\n")
        return self.counted

    def wait(self, more: int) -> None:
        """Wait for that many more requests."""
        enough = self.count() + more
        wait_until(lambda: self.count() >= enough, f"{enough} requests")

    def end(self, interrupt: bool = True) -> int:
        """The exit code, after Ctrl-C, which is its normal end, or at the end that its options name."""
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self.expectations = self.process.stderr.read().decode()
        return self.process.returncode

    def close(self) -> None:
        """End it at once, if it has not ended."""
        self.process.kill()
        self.process.communicate()
        self.reading.close()


def first_process(pod: dict) -> int:
    """The process of its program, as this machine numbers it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            numbers = re.search(r"^NSpid:.*\t(\d+)$", (process / "status").read_text(), re.MULTILINE)
            program = os.readlink(process / "exe")
            if (
                pod["metadata"]["uid"] in (process / "cgroup").read_text()
                and program == "/yinyang"
                and numbers[1] == "1"
            ):
                return int(process.name)
    raise AssertionError(f"no process of {pod['metadata']['name']}")
