"""What a release consists of: that two builds are equal, that each part works, and that its image is pushed, signed and
pulled; in minutes, so only where `pytest -m release` asks for it. What takes seconds is in test_pipeline.py."""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import PAGE, ROOT, Shape, clean_environment, free_port, needs, podman, wait_until
from pipelines import GitLab, read_pipeline, run_job
from test_deploy import ENGINE, Cluster, ask, stand_in

pytestmark = pytest.mark.release

TOOLS = ROOT / "build/release-tools/bin"
MACHINES = {  # of the static programs: what runs them here
    "amd64": "",
    "arm64": "qemu-aarch64-static",
    "armhf": "qemu-arm-static",
    "i386": "",
    "ppc64el": "qemu-ppc64le-static",
    "riscv64": "qemu-riscv64-static",
    "s390x": "qemu-s390x-static",
}
PLATFORMS = {"manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "musllinux_1_2_x86_64", "musllinux_1_2_aarch64"}
WHEEL_MOST = 420_000  # bytes


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    """The output of a command that succeeds."""
    done = subprocess.run(
        command, cwd=cwd, check=False, capture_output=True, text=True, env=clean_environment() | variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def release() -> Path:
    """The folder of a release of this commit, which `make release` has built, or builds here."""
    folder = ROOT / "build/release"
    head = run("git", "rev-parse", "HEAD").strip()
    with contextlib.suppress(OSError):
        if head in (folder / "provenance.json").read_text():
            return folder
    run("make", "release")
    return folder


@pytest.fixture(scope="session")
def version(release: Path) -> str:
    [sdist] = release.glob("*.tar.gz")
    return sdist.name.removeprefix("yinyang_serve-").removesuffix(".tar.gz")


def read_archive(folder: Path, name: str) -> bytes:
    """A file of the archive of the image of a release."""
    [archive] = folder.glob("yinyang-*-oci.tar")
    with tarfile.open(archive) as files:
        return files.extractfile(name).read()


def top(folder: Path) -> dict:
    """What the archive has by a name: the index of the images."""
    [one] = json.loads(read_archive(folder, "index.json"))["manifests"]
    return one


def index(folder: Path) -> dict[str, str]:
    """The digests of the images of a release, by their platforms."""
    return {
        "/".join(filter(None, (one["platform"].get(key) for key in ("os", "architecture", "variant")))): one["digest"]
        for one in json.loads(blob(folder, top(folder)["digest"]))["manifests"]
    }


def blob(folder: Path, digest: str) -> bytes:
    content = read_archive(folder, f"blobs/{digest.replace(':', '/')}")
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return content


def test_two_builds_are_equal(release: Path, tmp_path: Path) -> None:
    """In another folder, from a clone; the second has the images of two architectures."""
    run("git", "clone", "--quiet", ROOT, tmp_path / "clone")
    run("git", "checkout", "--quiet", run("git", "rev-parse", "HEAD").strip(), cwd=tmp_path / "clone")
    again = tmp_path / "again"
    run(TOOLS / "python", "tools/release.py", "--no-cache", again, "amd64", "arm64", cwd=tmp_path / "clone")
    paths = [path for path in again.iterdir() if path.name.startswith("yinyang")]
    assert len(paths) == 1 + len(PLATFORMS) + 2 + 2  # sdist, wheels, static programs; archive and components
    differing = [path.name for path in paths if path.read_bytes() != (release / path.name).read_bytes()]
    # these two are of all architectures, of which the second build has two
    assert [name for name in differing if not name.endswith((".spdx.json", "-oci.tar"))] == []
    assert index(again).items() <= index(release).items()
    assert set(index(again)) == {"linux/amd64", "linux/arm64"}


def test_checksums_and_provenance_are_of_all_files(release: Path) -> None:
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    sums = {name: digest for digest, name in map(str.split, (release / "SHA256SUMS").read_text().splitlines())}
    expected = {path.name for path in release.iterdir()}
    assert set(sums) == expected - {"SHA256SUMS", "provenance.json", "release-notes.md"} - {
        name for name in expected if name.endswith(".sig")
    }
    notes = (release / "release-notes.md").read_text()
    assert dict(re.findall(r"^\| `(\S+)` \| [\d,]+ \| `(\w{64})` \|$", notes, re.M)) == sums
    assert f"The image is `{top(release)['digest']}`." in notes
    statement = json.loads((release / "provenance.json").read_text())
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    assert subjects == sums | {"image": top(release)["digest"].removeprefix("sha256:")}
    head = run("git", "rev-parse", "HEAD").strip()
    assert {"gitCommit": head} in [
        one.get("digest") for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    ]


def test_components_name_the_c_library(release: Path, version: str) -> None:
    document = json.loads((release / f"yinyang-{version}.spdx.json").read_text())
    linked = {
        one["relatedSpdxElement"] for one in document["relationships"] if one["relationshipType"] == "STATIC_LINK"
    }
    assert "SPDXRef-musl-dev" in linked
    [musl] = [one for one in document["packages"] if one["name"] == "musl-dev"]
    assert re.fullmatch(r"1\.2\.\d\S*", musl["versionInfo"])
    assert musl["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/musl-dev@1.2.")


CVE = "CVE-2025-26519"


def write_faults(folder: Path, package: str, fixed: str) -> Path:
    """Trivy's cache, with a database of its own builder: all that it knows is a grave fault of one of Debian's source
    packages, and the version in which that is fixed."""
    lists = folder / "lists/vuln-list-debian/tracker"
    for name in "CVE", "DLA", "DSA":
        (lists / name).mkdir(parents=True)
    (lists / "distributions.json").write_text('{"trixie": {"major-version": "13"}}')
    common = {"Type": "package", "Package": package, "Kind": "fixed", "Version": fixed}
    said = [{**common, "Release": "", "Severity": "high"}, {**common, "Release": "trixie"}]
    fault = {"Header": {"ID": CVE, "Description": "(a fault)"}, "Annotations": said}
    (lists / f"CVE/{CVE}.json").write_text(json.dumps(fault))
    cache = folder / "cache"
    command = ("build", "--only-update", "debian", "--cache-dir", folder / "lists", "--output-dir", cache / "db")
    run(TOOLS / "trivy-db", *command)
    return cache


@pytest.mark.parametrize("linked", ["musl-dev", r"libgcc-\d+-dev"])
def test_scan_finds_a_known_fault(linked: str, clone: Path, release: Path, version: str, tmp_path: Path) -> None:
    """The pipeline's job, of what is in the programs; by their source packages, as a fault is that of a source."""
    document = json.loads((release / f"yinyang-{version}.spdx.json").read_text())
    [about] = {one["sourceInfo"] for one in document["packages"] if re.fullmatch(linked, one["name"])}
    source, present = re.fullmatch(r"built package from: (\S+) (\S+)", about).groups()
    built = re.search(r"^\tmod\t\S+\tv(\S+)", run("go", "version", "-m", TOOLS / "trivy"), re.M)[1]
    assert read_pipeline()["scan"]["image"]["name"] == f"aquasec/trivy:{built}"
    for fixed, code in (present, 0), (f"{present}.1", 1):
        cache = write_faults(tmp_path / fixed, source, fixed)
        variables = {"TRIVY_CACHE_DIR": str(cache), "TRIVY_SKIP_DB_UPDATE": "true", "TRIVY_SKIP_VERSION_CHECK": "true"}
        done = run_job("scan", clone, PATH=f"{TOOLS}:{os.environ['PATH']}", **variables)
        assert (done.returncode, CVE in done.stdout) == (code, bool(code)), done.stdout + done.stderr


# ---- wheels and sdist ---------------------------------------------------------------------------------------------


def test_wheels(release: Path) -> None:
    """For each platform one, small, stripped, without the builder's paths."""
    wheels = {platform: [] for platform in PLATFORMS}
    for path in release.glob("*.whl"):
        [platform] = PLATFORMS & set(path.stem.rpartition("-")[2].split("."))
        wheels[platform].append(path)
        assert path.stat().st_size < WHEEL_MOST, path.name
        with zipfile.ZipFile(path) as wheel:
            [name] = (name for name in wheel.namelist() if name.endswith(".abi3.so"))
            binary = wheel.read(name)
            assert not [one for one in wheel.namelist() if Path(one).suffix in {".c", ".h", ".pyx", ".pxd"}]
        assert not re.findall(rb"\.debug_|\.symtab|/tmp/|/home/|/root/|/builds/|site-packages|RUNPATH", binary)
        assert os.fsencode(ROOT) not in binary
    assert {platform: len(paths) for platform, paths in wheels.items()} == dict.fromkeys(PLATFORMS, 1)


def test_wheel_serves(release: Path, tmp_path: Path) -> None:
    """The one for this machine; pip chooses it."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", "--no-index", "--find-links", release, "yinyang-serve", cwd=tmp_path)
    check_page(Shape(str(python), "-m", "yinyang.serve"), tmp_path)


def test_sdist_has_no_owner(release: Path) -> None:
    [sdist] = release.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        members = files.getmembers()
    assert {(one.uid, one.gid, one.uname, one.gname) for one in members} == {(0, 0, "", "")}
    assert len({one.mtime for one in members}) == 1


# ---- static programs ----------------------------------------------------------------------------------------------


def check_page(shape: Shape, folder: Path) -> None:
    replica = shape.replica(folder / "log", "--workers", "1")
    try:
        replica.wait_for_port()
        assert PAGE in replica.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert replica.stop() == 0
    finally:
        replica.kill()


@pytest.mark.parametrize("machine", MACHINES)
def test_program_serves(machine: str, release: Path, version: str, tmp_path: Path) -> None:
    program = release / f"yinyang-{version}-linux-{machine}"
    command = [needs(MACHINES[machine])] if MACHINES[machine] else []
    assert "statically linked" in (said := run(needs("file"), program)) or "static-pie linked" in said
    assert run(*command, program, "--version").split()[:2] == ["yinyang", version]
    check_page(Shape(*command, str(program)), tmp_path)


@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_program_passes_the_suite(machine: str, release: Path, version: str) -> None:
    """Its routes and how it reads requests; tests/cross runs more, on programs of the same sources."""
    program = " ".join(
        filter(
            None, (MACHINES[machine] and needs(MACHINES[machine]), str(release / f"yinyang-{version}-linux-{machine}"))
        )
    )
    without = "not (static or containers or proxies or prometheus or strace or browser)"
    files = ["tests/test_page.py", "tests/test_routes.py", "tests/test_http1.py"]
    told = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", without, "--program", program), *files
    )
    assert re.search(r"^\d+ passed", told, re.M), told


# ---- image --------------------------------------------------------------------------------------------------------


def test_images(release: Path, version: str) -> None:
    """Each has the one program, its health check and the labels."""
    platforms = index(release)
    others = {"linux/arm/v7", "linux/386", "linux/ppc64le", "linux/riscv64", "linux/s390x"}
    assert set(platforms) == {"linux/amd64", "linux/arm64", *others}
    for platform, digest in platforms.items():
        manifest = json.loads(blob(release, digest))
        config = json.loads(blob(release, manifest["config"]["digest"]))
        assert platform.startswith(f"{config['os']}/{config['architecture']}")
        labels = config["config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == version
        assert labels["org.opencontainers.image.revision"] == run("git", "rev-parse", "HEAD").strip()
        assert f"YINYANG_APP_VERSION={version}" in config["config"]["Env"]
        assert config["config"]["Healthcheck"]["Test"] == ["CMD", "/yinyang", "--healthcheck"]
        [layer] = manifest["layers"]
        with tarfile.open(fileobj=io.BytesIO(blob(release, layer["digest"]))) as files:
            assert files.getnames() == ["yinyang"]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new pair of keys: cosign.key and cosign.pub."""
    folder = tmp_path_factory.mktemp("key")
    run(TOOLS / "cosign", "generate-key-pair", cwd=folder, COSIGN_PASSWORD="of the tests")
    return folder


@pytest.fixture(scope="module")
def clone(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose only tag is this release's, with the files that an earlier job has handed on."""
    folder = tmp_path_factory.mktemp("clone")
    run("git", "clone", "--quiet", "--no-tags", ROOT, folder)
    [sdist] = release.glob("*.tar.gz")
    run("git", "tag", f"v{sdist.name.removeprefix('yinyang_serve-').removesuffix('.tar.gz')}", cwd=folder)
    shutil.copytree(release, folder / "build/release")
    (folder / "build/release-tools").symlink_to(TOOLS.parent)
    (TOOLS / "made").touch()  # these tools are of this commit, whose files the clone has just written
    return folder


@pytest.fixture(scope="module")
def variables(clone: Path, key: Path, registry: str, version: str) -> dict[str, str]:
    """Those of a job of a release."""
    return {
        "COSIGN_PRIVATE_KEY": (key / "cosign.key").read_text(),
        "COSIGN_PASSWORD": "of the tests",
        "CI_COMMIT_TAG": f"v{version}",
        "CI_PROJECT_ID": "7",
        "CI_JOB_TOKEN": "token",
        "CI_REGISTRY": registry,
        "CI_REGISTRY_IMAGE": f"{registry}/group/yinyang",
        "CI_REGISTRY_USER": "user",
        "CI_REGISTRY_PASSWORD": "secret",
        "HOME": str(clone),
        "TLS": "false",
    }


@pytest.fixture(scope="module")
def pushed(clone: Path, variables: dict[str, str], registry: str) -> str:
    """The repository that the pipeline has pushed to."""
    needs("skopeo")
    done = run_job("release-image", clone, before=False, **variables)
    assert done.returncode == 0, done.stderr
    return f"{registry}/group/yinyang"


def test_tags(pushed: str, release: Path, version: str) -> None:
    for tag in (version, version.rpartition(".")[0], "latest"):
        assert run(TOOLS / "crane", "digest", f"{pushed}:{tag}").strip() == top(release)["digest"]


def test_signature_components_and_provenance(pushed: str, key: Path, release: Path, version: str) -> None:
    """They verify by this key, for the index and for each image in it, and by no other key."""
    options = ("--insecure-ignore-tlog", "--allow-http-registry")
    cosign = (str(TOOLS / "cosign"), "verify", *options)
    public = ("--key", str(key / "cosign.pub"))
    for image in (f"{pushed}:{version}", *(f"{pushed}@{digest}" for digest in index(release).values())):
        run(*cosign, *public, image)
    for kind, contained in ("spdxjson", "SPDXRef-musl-dev"), ("slsaprovenance1", "resolvedDependencies"):
        verify = (str(TOOLS / "cosign"), "verify-attestation", *options, *public, "--type", kind)
        told = json.loads(run(*verify, f"{pushed}:{version}").splitlines()[0])
        assert contained in base64.b64decode(told["payload"]).decode()
    other = key / "other"
    other.mkdir()
    run(TOOLS / "cosign", "generate-key-pair", cwd=other, COSIGN_PASSWORD="")
    refused = subprocess.run(
        [*cosign, "--key", other / "cosign.pub", f"{pushed}:{version}"], check=False, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "invalid signature" in refused.stderr or "no matching signatures" in refused.stderr


def test_arm64_is_pulled_and_runs(pushed: str, version: str, tmp_path: Path) -> None:
    """The machine asks for another one's image by the name that all use."""
    name = f"{pushed}:{version}"
    run("podman", "pull", "--quiet", "--tls-verify=false", "--platform", "linux/arm64", name)
    try:
        archive = tmp_path / "image.tar"
        run("podman", "save", "--quiet", "--format", "docker-archive", "--output", archive, name)
    finally:
        run("podman", "rmi", "--force", name)
    with tarfile.open(archive) as saved:
        [manifest] = json.load(saved.extractfile("manifest.json"))
        assert json.load(saved.extractfile(manifest["Config"]))["architecture"] == "arm64"
        with tarfile.open(fileobj=saved.extractfile(manifest["Layers"][0])) as layer:
            layer.extractall(tmp_path, filter="data")
    check_page(Shape(needs("qemu-aarch64-static"), str(tmp_path / "yinyang")), tmp_path)


@pytest.mark.containers
def test_commands_of_the_archive(release: Path, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of docs/cluster.md, under names of this test: three replicas for a watch, of which one is killed, and then
    behind a balancer, to which it comes back."""
    stand_in("haproxy:lts", "haproxy.Dockerfile", ROOT / "deploy")
    (tmp_path / "containers.conf").write_text(ENGINE)
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    for path in release.glob("yinyang*.tar*"):
        (tmp_path / path.name).symlink_to(path)
    name, port = f"yinyang-test-{os.getpid()}", free_port()
    text = (ROOT / "docs/cluster.md").read_text()
    text = text[text.index("\n## From the archive of a release\n") : text.index("\n## Kubernetes\n")]
    text = re.sub(r"\b(web-\d|balancer\b(?= --network|\n))", rf"{name}-\1", text)
    text = re.sub(r"(--network|network create|network rm) yinyang\b", rf"\1 {name}", text)
    text = text.replace("--publish 8080:", f"--publish 127.0.0.1:{port}:").replace(" -it ", " ")
    load, watch, kill, balance, end = re.findall(r"(?:^    .*\n)+", text, re.M)

    def shell(script: str) -> str:
        return run("sh", "-euc", script, cwd=tmp_path)

    three = {f"{name}-web-{number}" for number in (1, 2, 3)}
    try:
        shell(load)
        label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
        assert podman("inspect", "--format", label, f"{name}-web-1") == run("git", "rev-parse", "HEAD").strip()
        report = f"{watch.strip()} --json --rate 50"
        assert {one["host"] for one in json.loads(shell(f"{report} --count 150 --max-errors 0"))["replicas"]} == three
        shell(kill)
        wait_until(lambda: len(json.loads(shell(f"{report} --count 50"))["replicas"]) == 2, "two replicas")
        shell(balance)
        cluster = Cluster(name, port)
        cluster.wait_for(three - {f"{name}-web-2"})
        assert ask(port, "/wall")[0] == 200
        podman("start", f"{name}-web-2")
        cluster.wait_for(three)
    finally:
        shell(end)
        podman("rmi", "--force", f"docker.io/library/yinyang:{version}")


def test_page_and_packages(clone: Path, variables: dict[str, str], key: Path) -> None:
    """The job that publishes the files: they are signed, wheels and sdist are in the index, and the page is last."""
    with GitLab.serving() as gitlab:
        done = run_job("release-page", clone, before=False, **variables, CI_API_V4_URL=gitlab.url)
    assert done.returncode == 0, done.stderr
    paths = [path for _, path, _ in gitlab.got]
    assert paths.count("/api/v4/projects/7/packages/pypi") == len(PLATFORMS) + 1
    assert paths[-1] == "/api/v4/projects/7/releases"
    release = clone / "build/release"
    verify = (TOOLS / "cosign", "verify-blob", "--key", key / "cosign.pub", "--insecure-ignore-tlog")
    for name in "SHA256SUMS", "provenance.json":
        assert [path for path in paths if path.endswith(f"/{name}.sig")]
        run(*verify, "--signature", release / f"{name}.sig", release / name)
    changed = [*verify, "--signature", release / "SHA256SUMS.sig", release / "provenance.json"]
    assert subprocess.run(changed, check=False, capture_output=True).returncode != 0
