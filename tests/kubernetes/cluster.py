"""A Kubernetes cluster of two nodes: its own programs as processes of this machine, in namespaces of their own.

    outside, 10.123.0.1: etcd, API server, controller manager, scheduler, CoreDNS, and the clients of the tests
        |   (a bridge)
        +-- node-1, 10.123.0.11: containerd, kubelet, kube-proxy; pods 10.124.1.0/24
        +-- node-2, 10.123.0.12: the same; pods 10.124.2.0/24

The addresses are the same in each cluster, as no other can reach them. All processes are in one namespace of PIDs, so
that none outlives its first. Programs keep their state in /run, /var/lib and /var/log, which are memory of a mount
namespace, so that none of it is left; only control groups belong to the whole machine, and are removed at the end.
"""

import contextlib
import functools
import itertools
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from conftest import PATIENCE, needs, wait_until
from namespaces import Namespaces, control_groups, only_child, remove_control_groups

OUTSIDE = "10.123.0.1"
API = f"https://{OUTSIDE}:6443"
SERVICES = "10.125.0.0/16"
PODS = "10.124.0.0/16"
NODES = ("node-1", "node-2")
WEIGHTS = {"cpu.shares": "10240", "cpu.weight": "1000"}  # of all pods beside other processes, each of which has a tenth
NETWORKS = Path("/usr/lib/cni")  # programs that set up the network of a pod
IMAGE = "docker.io/library/yinyang:0.1.0"  # what deploy/ calls yinyang:0.1.0
LATER = "docker.io/library/yinyang:0.2.0"
PAUSE = "localhost/yinyang-pause:1"
PRIVATE = "for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs $folder; done; "

TUNABLES = "kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic kernel/panic_on_oops"
TUNABLES += " vm/overcommit_memory vm/panic_on_oom"

KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
authentication:
  anonymous: {{enabled: true}}
  webhook: {{enabled: false}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
clusterDNS: ["{dns}"]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
enforceNodeAllocatable: []
evictionHard: {{memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
registerWithTaints: []
resolvConf: ""
syncFrequency: 5s
"""

NAMES = """\
. {{
    errors
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
    }}
}}
"""

CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true  # as containerd 2 does by itself
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{networks}"
"""

PROXY = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {pods}
clientConnection: {{kubeconfig: {kubeconfig}}}
conntrack: {{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
nftables: {{syncPeriod: 30s, minSyncPeriod: 100ms}}
"""


def beside(name: str, namespace: str, port: int, target: int) -> list[dict]:
    """A Service that leads to a program outside."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "main", "port": port, "targetPort": target}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "main", "port": target, "protocol": "TCP"}],
            "endpoints": [{"addresses": [OUTSIDE], "conditions": {"ready": True}}],
        },
    ]


METRICS = [
    *beside("metrics-server", "kube-system", 443, 4443),
    {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "service": {"name": "metrics-server", "namespace": "kube-system"},
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    },
]


def network(number: int) -> str:
    """What a node does for the network of a pod: one pair of interfaces for each, and routes, without a bridge, so that
    also the packets between two of its pods pass where kube-proxy rewrites them."""
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": f"10.124.{number}.0/24"}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
    )


class Cluster:
    """Starts one, and ends it.

    programs: a folder with what `make kubernetes` builds.
    folder: for its configuration and the logs of its programs.
    """

    def __init__(self, programs: Path, kubectl: Path, folder: Path) -> None:
        self.programs = programs
        self.program = programs / "kubernetes"
        self.kubectl_path = kubectl
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.cgroup = f"/yinyang-test-{os.getpid()}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.outside = Namespaces(0)
        self.nodes: dict[str, Namespaces] = {}

    # ---- the machine below ------------------------------------------------------------------------------------------

    def start_program(self, name: str, place: Namespaces, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(place.enter(*command), stdout=log, stderr=log)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def wait_for(self, name: str, condition: Callable[[], object], what: str) -> None:
        """Wait as long as the program runs."""

        def met() -> bool:
            assert self.running[name].poll() is None, f"{name} has ended:\n{self.log(name)}"
            return bool(condition())

        wait_until(met, f"{what}; {name} says:\n{self.log(name)}")

    def start(self, images: Sequence[Path]) -> None:
        """Bring up all of it; `images` are archives, of IMAGE and PAUSE at least."""
        # ends with these tests, also if they are killed
        unshare = [
            needs("setpriv"),
            "--pdeathsig",
            "KILL",
            needs("unshare"),
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        # the first process of the namespace has to collect those whose parents have ended
        init = subprocess.Popen([*unshare, needs("catatonit"), "--", "sleep", "infinity"])
        self.running["init"] = init
        self.outside.pid = only_child(init.pid)
        only_child(self.outside.pid)  # catatonit has begun, in its namespaces
        names = self.folder / "resolv.conf"  # programs out there know the names of Services, as those in pods do
        names.write_text(f"nameserver {OUTSIDE}\nsearch svc.cluster.local\noptions ndots:5\n")
        script = PRIVATE + (
            'path=$(realpath -m /etc/resolv.conf); mkdir -p "${path%/*}"; : >>"$path"; '
            f'mount --bind "{names}" "$path"; '
            "ip link set lo up; ip link add name nodes type bridge; ip link set nodes up; "
            f"ip address add {OUTSIDE}/24 dev nodes; sysctl -qw net.ipv4.ip_forward=1"
        )
        self.outside.run("sh", "-ec", script)
        self.start_control_plane()
        for number, name in enumerate(NODES, 1):
            self.start_node(number, name, images)
        # Services are reached by way of a node, as from a machine beside the cluster
        self.outside.run("ip", "route", "add", SERVICES, "via", "10.123.0.11")
        for number in range(1, len(NODES) + 1):
            self.outside.run("ip", "route", "add", f"10.124.{number}.0/24", "via", f"10.123.0.1{number}")
        for name in NODES:
            self.wait_for(f"kubelet-{name}", functools.partial(self.is_ready, name), f"{name} to be ready")

    def is_ready(self, node: str) -> bool:
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return self.try_kubectl("get", "node", node, "--output", ready) == "True"

    def start_control_plane(self) -> None:
        certificates = self.folder / "certificates"
        certificates.mkdir()
        key = certificates / "accounts.key"
        subprocess.run([needs("openssl"), "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        front, front_key = certificates / "front.crt", certificates / "front.key"
        signed = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=front", "-days", "30"]
        paths = ["-out", front, "-keyout", front_key]
        subprocess.run([needs("openssl"), *signed, *paths], check=True, capture_output=True)
        token = secrets.token_hex(16)
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{token},admin,admin,system:masters\n")
        self.start_program(
            "etcd",
            self.outside,
            *(needs("etcd"), "--data-dir=/var/lib/etcd", "--unsafe-no-fsync"),
        )
        self.start_program(
            "kube-apiserver",
            self.outside,
            *(str(self.program), "kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379",
            f"--cert-dir={certificates}",
            *(f"--bind-address={OUTSIDE}", f"--advertise-address={OUTSIDE}"),
            f"--service-cluster-ip-range={SERVICES}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--allow-privileged",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
            # for servers behind it, such as metrics-server
            *(f"--proxy-client-cert-file={front}", f"--proxy-client-key-file={front_key}"),
            *(f"--requestheader-client-ca-file={front}", "--requestheader-username-headers=X-Remote-User"),
            *("--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-"),
            "--enable-aggregator-routing",
        )
        ca = certificates / "apiserver.crt"  # it makes one for itself, and writes who signed it behind
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": {"server": API, "certificate-authority": str(ca)}}],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                    "current-context": "test",
                }
            )
        )
        self.wait_for("kube-apiserver", lambda: self.try_kubectl("get", "--raw=/readyz") == "ok", "the API")
        self.start_program(
            "kube-controller-manager",
            self.outside,
            *(str(self.program), "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={ca}",
            "--horizontal-pod-autoscaler-sync-period=5s",
        )
        self.start_program(
            "kube-scheduler",
            self.outside,
            *(str(self.program), "kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"),
        )
        names = self.folder / "Corefile"
        names.write_text(NAMES.format(kubeconfig=self.kubeconfig))
        self.start_program("coredns", self.outside, str(self.programs / "coredns"), "-conf", str(names))

    def start_node(self, number: int, name: str, images: Sequence[Path]) -> None:
        keeper = subprocess.Popen(self.outside.enter("unshare", "--mount", "--net", "sleep", "infinity"))
        self.running[name] = keeper
        pid = only_child(keeper.pid)
        mine = os.readlink(f"/proc/{self.outside.pid}/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{pid}/ns/net") != mine, f"the namespaces of {name}")
        node = self.nodes[name] = Namespaces(pid)
        self.outside.run(
            "sh",
            "-ec",
            f"ip link add {name} type veth peer name uplink netns {self.inner_pid(pid)}; "
            f"ip link set {name} master nodes up",
        )
        others = [other for other in range(1, len(NODES) + 1) if other != number]
        script = PRIVATE + (
            "mount --make-rshared /; mkdir -p /var/lib/kubelet; "
            # copies for the kubelet to set, as the kernel's own are those of the whole machine
            f"for name in {TUNABLES}; do copy=/run/tunables/$name; mkdir -p ${{copy%/*}}; "
            "cat /proc/sys/$name >$copy; mount --bind $copy /proc/sys/$name; done; "
            f"ip link set lo up; ip address add 10.123.0.1{number}/24 dev uplink; ip link set uplink up; "
            f"ip route add default via {OUTSIDE}; ip route add unreachable 10.124.{number}.0/24; "
            "sysctl -qw net.ipv4.ip_forward=1; "
        )
        script += "".join(f"ip route add 10.124.{other}.0/24 via 10.123.0.1{other}; " for other in others)
        node.run("sh", "-ec", script)
        cgroup = f"{self.cgroup}/{name}"
        for controller in control_groups():
            (controller / cgroup.lstrip("/")).mkdir(parents=True, exist_ok=True)
            for file, weight in WEIGHTS.items():
                if (weighed := controller / self.cgroup.lstrip("/") / file).exists():
                    weighed.write_text(weight)
        networks = self.folder / f"networks-{name}"
        networks.mkdir()
        (networks / "pods.conflist").write_text(network(number))
        files = {
            "containerd": CONTAINERD.format(pause=PAUSE, plugins=NETWORKS, networks=networks),
            "kubelet": KUBELET.format(dns=OUTSIDE, address=f"10.123.0.1{number}", cgroup=cgroup),
            "kube-proxy": PROXY.format(pods=PODS, kubeconfig=self.kubeconfig),
        }
        paths = {program: self.folder / f"{program}-{name}.conf" for program in files}
        for program, text in files.items():
            paths[program].write_text(text)
        self.start_program(f"containerd-{name}", node, needs("containerd"), "--config", str(paths["containerd"]))
        listing = node.enter("ctr", "--namespace=k8s.io", "images", "list")
        self.wait_for(
            f"containerd-{name}",
            lambda: subprocess.run(listing, check=False, capture_output=True).returncode == 0,
            "containerd",
        )
        self.import_images(images, node)
        self.start_program(
            f"kubelet-{name}",
            node,
            *(str(self.program), "kubelet", f"--config={paths['kubelet']}", f"--kubeconfig={self.kubeconfig}"),
            *(f"--hostname-override={name}", f"--node-ip=10.123.0.1{number}"),
            f"--node-labels=topology.kubernetes.io/zone=zone-{number}",
        )
        self.start_program(
            f"kube-proxy-{name}",
            node,
            *(str(self.program), "kube-proxy", f"--config={paths['kube-proxy']}", f"--hostname-override={name}"),
        )

    @staticmethod
    def import_images(archives: Sequence[Path], *nodes: Namespaces) -> None:
        for node, archive in itertools.product(nodes, archives):
            node.run("ctr", "--namespace=k8s.io", "images", "import", "--snapshotter=native", str(archive))

    def start_metrics_server(self) -> None:
        """Beside the control plane, as it needs no more than its API; ready when it knows both nodes."""
        config = f"kubeconfig={self.kubeconfig}"
        self.start_program(
            "metrics-server",
            self.outside,
            *(str(self.programs / "metrics-server"), f"--{config}"),
            *(f"--authentication-{config}", f"--authorization-{config}"),
            *(f"--bind-address={OUTSIDE}", "--secure-port=4443", "--cert-dir=/var/lib/metrics-server"),
            *("--kubelet-insecure-tls", "--kubelet-preferred-address-types=InternalIP", "--metric-resolution=15s"),
        )
        self.apply(METRICS)
        self.wait_for(
            "metrics-server", lambda: len(self.try_kubectl("top", "node", "--no-headers").split("\n")) > 2, "metrics"
        )

    def succeeds(self, *command: str) -> bool:
        """Whether a command does, outside."""
        done = subprocess.run(self.outside.enter(*command), check=False, capture_output=True, timeout=PATIENCE)
        return done.returncode == 0

    def inner_pid(self, pid: int) -> int:
        """How the namespace of PIDs numbers one of its processes."""
        status = Path(f"/proc/{pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])

    def stop(self) -> None:
        """End all processes, and remove what the kernel keeps for the whole machine."""
        if init := self.running.get("init"):
            with contextlib.suppress(ProcessLookupError):
                if self.outside.pid:
                    os.kill(self.outside.pid, signal.SIGKILL)  # and so all in the namespace
            init.kill()
        for process in self.running.values():
            process.wait(PATIENCE)
        self.running.clear()
        remove_control_groups(self.cgroup)

    # ---- its users --------------------------------------------------------------------------------------------------

    def kubectl_command(self, *arguments: str) -> list[str]:
        return self.outside.enter(str(self.kubectl_path), f"--kubeconfig={self.kubeconfig}", *arguments)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints; it must succeed."""
        done = subprocess.run(
            self.kubectl_command(*arguments), check=False, capture_output=True, text=True, timeout=PATIENCE, input=given
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, objects: list[dict]) -> None:
        self.kubectl(
            "apply",
            "--server-side",
            "--filename=-",
            given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
        )

    def try_kubectl(self, *arguments: str) -> str:
        """What it prints, whether it succeeds or not."""
        done = subprocess.run(
            self.kubectl_command(*arguments), check=False, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout

    def get(self, *arguments: str) -> dict:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))
