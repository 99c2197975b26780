"""Builds what a release consists of, from the commit that is checked out, into a folder that is empty or not there:

    python tools/release.py [--no-cache] [FOLDER [ARCH...]]    by default build/release, and all architectures

The source distribution; a wheel for each of four platforms, compiled by zig; an image of each architecture, built by
buildah, as one OCI archive; the static programs, which are those of the images; a list of components (SPDX);
SHA256SUMS; the provenance of all these files (in-toto, SLSA); and the release notes, with a table of them. Two builds
of a commit are equal, as long as Debian's packages are.

Needs Debian's git, python3-dev, buildah and podman, and the packages of tools/requirements-release.txt.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
WHEELS = {  # zig's name of the machine and its C library: the platform of the wheel
    "x86_64-linux-gnu.2.17": "manylinux_2_17_x86_64",
    "aarch64-linux-gnu.2.17": "manylinux_2_17_aarch64",
    "x86_64-linux-musl": "musllinux_1_2_x86_64",
    "aarch64-linux-musl": "musllinux_1_2_aarch64",
}
IMAGES = {  # platform of the image: Debian's name of the architecture, by which the static program is named
    "linux/amd64": "amd64",
    "linux/arm64": "arm64",
    "linux/arm/v7": "armhf",
    "linux/386": "i386",
    "linux/ppc64le": "ppc64el",
    "linux/riscv64": "riscv64",
    "linux/s390x": "s390x",
}
LINKED = ("musl-dev", "libgcc-")  # how Debian's packages begin of which parts are in the static programs
OCI = "application/vnd.oci.image"


def run(*command, cwd=ROOT, **variables):
    """The output of a command that succeeds."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | variables
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"release: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Release:
    """One version, built from one commit."""

    def __init__(self, folder, architectures, cache=()):
        self.folder = Path(folder).resolve()
        if self.folder.exists() and any(self.folder.iterdir()):
            raise SystemExit(f"release: {folder} is not empty")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.commit = run("git", "rev-parse", "HEAD")
        self.time = int(run("git", "log", "-1", "--format=%ct"))
        self.created = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.temporary = tempfile.TemporaryDirectory(prefix="yinyang-release-")  # is removed with this object
        self.tree = Path(self.temporary.name)
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(self.tree, filter="data")
        self.version = tomllib.loads((self.tree / "pyproject.toml").read_text())["project"]["version"]
        self.platforms = {key: name for key, name in IMAGES.items() if name in (architectures or IMAGES.values())}
        self.cache = cache  # what buildah is told of it
        self.system = ("", "")  # that the programs were made on: its name and version
        self.packages = set()  # of it, what the programs were made of and with: name, version, and those of its source
        self.image = ""  # the digest of its index

    def build(self):
        """All of it, in the order of its cost."""
        notes = self.read_notes()
        for step in (
            self.build_sdist,
            self.build_wheels,
            self.check_distributions,
            self.build_images,
            self.write_components,
        ):
            begun = time.monotonic()
            step()
            print(f"{step.__name__.replace('_', ' ')}: {time.monotonic() - begun:.0f} s", flush=True)
        self.write_sums()
        self.write_provenance()
        self.write_notes(notes)

    # What is for people

    def read_notes(self):
        """The version's section of the changelog. A tag is for this version, and its section has a date."""
        changes = (self.tree / "CHANGELOG.md").read_text()
        found = re.search(rf"^## {re.escape(self.version)}, ([^\n]+)\n\n(.*?)\n*(?=^## |\Z)", changes, re.M | re.S)
        if not found:
            raise SystemExit(f"release: CHANGELOG.md has no section for {self.version}")
        tag = os.environ.get("CI_COMMIT_TAG") or os.environ.get("RELEASE_TAG")
        if tag and tag != f"v{self.version}":
            raise SystemExit(f"release: the tag is {tag}, but pyproject.toml says {self.version}")
        if tag and not re.fullmatch(r"\d{4}-\d\d-\d\d", found[1]):
            raise SystemExit(f"release: the section of {self.version} in CHANGELOG.md has no date: {found[1]}")
        return found[2]

    def write_notes(self, notes):
        """What has changed, and which files there are."""
        files = [(path.name, path.stat().st_size, sha256(path.read_bytes())) for path in self.files()]
        table = "".join(f"| `{name}` | {size:,} | `{digest}` |\n" for name, size, digest in files)
        table = f"| file | bytes | SHA-256 |\n| --- | ---: | --- |\n{table}"
        (self.folder / "release-notes.md").write_text(f"{notes}\n\nThe image is `{self.image}`.\n\n{table}")

    # What is for Python

    def build_sdist(self):
        """With the commit's time, nobody's name and the usual rights for each file."""
        raw = self.tree / "build/sdist"
        run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(raw), cwd=self.tree)
        [made] = raw.iterdir()
        packed = io.BytesIO()
        with tarfile.open(made) as given, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as files:
            for member in sorted(given.getmembers(), key=lambda member: member.name):
                plain = tarfile.TarInfo(member.name)
                plain.type, plain.size, plain.mtime = member.type, member.size, self.time
                plain.linkname = member.linkname
                plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                files.addfile(plain, given.extractfile(member) if member.isfile() else None)
        (self.folder / made.name).write_bytes(gzip.compress(packed.getvalue(), mtime=self.time))

    def build_wheels(self):
        """Cross-compiled from the sources in the sdist. No flag and no path of this Python is used."""
        [sdist] = self.folder.glob("*.tar.gz")
        with tarfile.open(sdist) as files:
            files.extractall(self.tree / "build/unpacked", filter="data")
        [tree] = (self.tree / "build/unpacked").iterdir()
        for target, platform in WHEELS.items():
            for stale in (tree / "build").glob("*.*"):  # compiled for another platform; the generated C is for all
                shutil.rmtree(stale)
            compiler = f"{sys.executable} -m ziglang cc -target {target}"
            variables = {
                "SOURCE_DATE_EPOCH": str(self.time),
                "CC": compiler,
                "LDSHARED": f"{compiler} -shared",
                "CFLAGS": "-O2 -DNDEBUG -fPIC -ffunction-sections -fdata-sections -Wall -Wextra -Wno-unused-function",
                "LDFLAGS": "-Wl,--gc-sections",
            }
            wheel = ("bdist_wheel", "--plat-name", platform, "--dist-dir", f"raw/{platform}")
            run(sys.executable, "setup.py", "-q", *wheel, cwd=tree, **variables)
            # without the libraries of this machine, which may be of another kind; musl takes itself to be libc.so,
            # which auditwheel knows only by the name that Alpine gives it
            repair = ("auditwheel", "repair", "--ldpaths", "", "--exclude", "libc.so", "--plat", "auto")
            run(
                *repair,
                "--wheel-dir",
                f"repaired/{platform}",
                *(tree / "raw" / platform).iterdir(),
                cwd=tree,
                SOURCE_DATE_EPOCH=str(self.time),
            )
            [repaired] = (tree / "repaired" / platform).iterdir()
            if platform not in repaired.stem.rpartition("-")[2].split("."):
                raise SystemExit(f"release: the wheel for {platform} needs more than that: {repaired.name}")
            shutil.copy(repaired, self.folder)

    def check_distributions(self):
        """By the tools that know what an index and what pip expect."""
        wheels = sorted(map(str, self.folder.glob("*.whl")))
        run("abi3audit", "--strict", *wheels)
        run("check-wheel-contents", *wheels)
        run("twine", "check", "--strict", *wheels, *map(str, self.folder.glob("*.tar.gz")))
        # a project that has no home page yet, and no address to write to, has no better rating
        run("pyroma", "--min", "8", str(next(self.folder.glob("*.tar.gz"))))

    # What is for containers, and for machines without either

    def build_images(self):
        """An image of each platform, and the index of all of them. The programs in them are the static programs."""
        blobs = {}
        manifests = [self.put_image(blobs, *item) for item in self.platforms.items()]
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
        index = put(blobs, index, f"{OCI}.index.v1+json")
        self.image = index["digest"]
        index["annotations"] = {
            "org.opencontainers.image.ref.name": self.version,
            "io.containerd.image.name": f"docker.io/library/yinyang:{self.version}",  # how the files of deploy/ name it
        }
        top = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": {"schemaVersion": 2, "manifests": [index]}}
        files = [(name, 0o644, json.dumps(content).encode()) for name, content in top.items()]
        files += [(f"blobs/sha256/{digest}", 0o644, content) for digest, content in sorted(blobs.items())]
        (self.folder / f"yinyang-{self.version}-oci.tar").write_bytes(packed(files, self.time))

    def build_image(self, platform, *options):
        """The configuration, and the one layer, of what the Dockerfile makes for a platform."""
        builder = json.loads(run("buildah", "info"))["host"]
        name = f"localhost/yinyang-release-{uuid.uuid4().hex}"
        build = (
            *("buildah", "bud", "--isolation", "chroot", "--pull=false", "--identity-label=false", "--layers"),
            *("--format", "docker", "--timestamp", str(self.time), "--platform", platform, "--tag", name),
            # this buildah would take it to be the platform of the image
            *("--build-arg", f"BUILDPLATFORM=linux/{builder['arch']}", "--build-arg", f"VERSION={self.version}"),
        )
        with tempfile.TemporaryDirectory() as temporary:
            try:
                run(*build, *options, str(self.tree))
                run("buildah", "push", "--disable-compression", "--format", "v2s2", name, f"dir:{temporary}")
            finally:
                subprocess.run(["buildah", "rmi", "--force", name], check=False, capture_output=True)
            manifest = json.loads(Path(temporary, "manifest.json").read_text())
            read = [Path(temporary, one["digest"].partition(":")[2]).read_bytes() for one in manifest["layers"]]
            config = Path(temporary, manifest["config"]["digest"].partition(":")[2]).read_text()
        [layer] = read
        return json.loads(config), layer

    def put_image(self, blobs, platform, architecture):
        """Build one, and put it among the blobs; the entry for the index."""
        config, layer = self.build_image(platform, *self.cache)
        program = only_file(layer)
        # from the layers that the build before has left
        _, listed = self.build_image(platform, "--target", "components")
        self.system, *packages = (tuple(line.split()) for line in only_file(listed).decode().splitlines())
        self.packages |= set(packages)
        static = self.folder / f"yinyang-{self.version}-linux-{architecture}"
        static.write_bytes(program)
        static.chmod(0o755)
        # What buildah has kept of earlier builds has their times, versions, revisions and labels, and its configuration
        # has a random host name. So the one file is packed anew, and only what the Dockerfile says is kept.
        labels = {key: text for key, text in config["config"]["Labels"].items() if not key.startswith("io.buildah.")}
        arguments = {"org.opencontainers.image.version": self.version, "org.opencontainers.image.revision": self.commit}
        config["config"]["Labels"] = labels | arguments
        variables = dict(item.split("=", 1) for item in config["config"]["Env"]) | {"YINYANG_APP_VERSION": self.version}
        config["config"]["Env"] = ["=".join(item) for item in variables.items()]
        layer = packed([("yinyang", 0o755, program)], self.time)
        said = ("User", "ExposedPorts", "Env", "Entrypoint", "Healthcheck", "Labels")
        config = {key: config[key] for key in ("architecture", "variant", "os") if config.get(key)} | {
            "created": self.created,
            "config": {key: config["config"][key] for key in said},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}"]},
        }
        return put(
            blobs,
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": put(blobs, config, f"{OCI}.config.v1+json"),
                "layers": [put(blobs, gzip.compress(layer, mtime=0), f"{OCI}.layer.v1.tar+gzip")],
            },
            f"{OCI}.manifest.v1+json",
        ) | {"platform": {key: config[key] for key in ("architecture", "os", "variant") if key in config}}

    # What is for those who check

    def write_components(self):
        """What is in the static programs, and what all was made with: an SPDX document, as JSON."""
        own = component("yinyang", self.version, f"pkg:pypi/yinyang-serve@{self.version}", "MIT")
        name, number = self.system
        # Trivy looks up packages only where it finds a system, which it knows by this name, and a source by these words
        system = component(name, number) | {
            "SPDXID": f"SPDXRef-OperatingSystem-{name}",
            "primaryPackagePurpose": "OPERATING-SYSTEM",
        }
        components, relations = [own, system], [relation("DOCUMENT", "DESCRIBES", own)]
        for package, version, source, of_source in sorted(self.packages):
            part = component(package, version, locator(package, version, self.system))
            components.append(part | {"sourceInfo": f"built package from: {source} {of_source}"})
            relations.append(relation(system, "CONTAINS", part))
            relations.append(
                relation(own, "STATIC_LINK", part)
                if package.startswith(LINKED)
                else relation(part, "BUILD_TOOL_OF", own)
            )
        pinned = re.findall(r"^(\S+)==(\S+)$", (self.tree / "tools/requirements-release.txt").read_text(), re.M)
        for name, version in pinned:
            if name in {"cython", "setuptools", "ziglang"}:  # those of the wheels; the others only check
                part = component(name, version, f"pkg:pypi/{name}@{version}")
                components.append(part)
                relations.append(relation(part, "BUILD_TOOL_OF", own))
        document = {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": f"yinyang-{self.version}",
            "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'yinyang {self.version} {self.commit}')}",
            "creationInfo": {
                "created": self.created,
                "creators": [f"Tool: tools/release.py-{self.version}"],
            },
            "packages": components,
            "relationships": relations,
        }
        path = self.folder / f"yinyang-{self.version}.spdx.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        run("pyspdxtools", "--infile", str(path))  # it validates

    def write_sums(self):
        """Of all files, for sha256sum(1)."""
        lines = (f"{sha256(path.read_bytes())}  {path.name}\n" for path in self.files())
        (self.folder / "SHA256SUMS").write_text("".join(lines))

    def write_provenance(self):
        """From which commit, by whom and with what these files and this image were built."""
        subjects = [{"name": path.name, "digest": {"sha256": sha256(path.read_bytes())}} for path in self.files()]
        subjects.append({"name": "image", "digest": {"sha256": self.image.partition(":")[2]}})
        variables = os.environ
        source = variables.get("CI_PROJECT_URL")  # of GitLab
        builder, invocation = variables.get("CI_RUNNER_ID"), variables.get("CI_JOB_URL")
        if source:
            builder = f"{source}/-/runners/{builder}"
        elif "GITHUB_REPOSITORY" in variables:
            source = f"{variables['GITHUB_SERVER_URL']}/{variables['GITHUB_REPOSITORY']}"
            builder = f"{variables['GITHUB_SERVER_URL']}/{variables['GITHUB_WORKFLOW_REF']}"
            invocation = f"{source}/actions/runs/{variables['GITHUB_RUN_ID']}"
        tools = (self.tree / "tools/requirements-release.txt").read_text()
        packages = sorted(locator(name, version, self.system) for name, version, *_ in self.packages)
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:yinyang:make-release",
                    "externalParameters": {"revision": self.commit, "command": "make release"},
                    "resolvedDependencies": [
                        {"uri": f"git+{source or 'file:.'}", "digest": {"gitCommit": self.commit}},
                        *({"uri": f"pkg:pypi/{line.replace('==', '@')}"} for line in tools.split() if "==" in line),
                        *({"uri": uri} for uri in packages),
                    ],
                },
                "runDetails": {
                    "builder": {"id": builder or "urn:yinyang:a-developer"},
                    **({"metadata": {"invocationId": invocation}} if invocation else {}),
                },
            },
        }
        (self.folder / "provenance.json").write_text(json.dumps(statement, indent=1) + "\n")

    def files(self):
        """Those that are for users. The image is known by its digest."""
        names = ("yinyang-*", "yinyang_serve-*")
        return sorted(path for name in names for path in self.folder.glob(name))


def put(blobs, content, media_type):
    """Put bytes, or an object as JSON, among the blobs of an OCI layout; its descriptor."""
    if not isinstance(content, bytes):
        content = json.dumps(content, separators=(",", ":")).encode()
    digest = sha256(content)
    blobs[digest] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def packed(files, changed):
    """A tar archive of files: name, mode and content of each."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, mode, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), changed, mode
            made.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def only_file(layer):
    """The content of the file that is alone in a layer."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        [member] = files.getmembers()
        return files.extractfile(member).read()


def locator(package, version, system):
    """The package URL of one of Debian's packages."""
    return f"pkg:deb/debian/{package}@{quote(version)}?distro={'-'.join(system)}"


def component(name, version, url="", terms="NOASSERTION"):
    """A package of SPDX."""
    reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}
    return {
        "SPDXID": f"SPDXRef-{re.sub(r'[^A-Za-z0-9.-]', '-', name)}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": terms,
        "licenseDeclared": terms,
        "copyrightText": "NOASSERTION",
        "externalRefs": [reference] if url else [],
    }


def relation(one, kind, other):
    """A relationship of SPDX between two packages, or of the document to one."""
    one = "SPDXRef-DOCUMENT" if one == "DOCUMENT" else one["SPDXID"]
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other["SPDXID"]}


if __name__ == "__main__":
    words = sys.argv[1:]
    cache = [words.pop(0)] if words[:1] == ["--no-cache"] else []
    Release(words[0] if words else ROOT / "build/release", words[1:], cache).build()
