"""The jobs of .gitlab-ci.yml, run as its runner runs them, and what plays GitLab's API for them."""

import base64
import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from conftest import PATIENCE, ROOT, clean_environment, missing
from manifests import module

REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def read_pipeline() -> dict:
    if not (ROOT / ".gitlab-ci.yml").exists():
        missing("static", "there is no source tree")
    return module("yaml", "kubernetes-validate").safe_load((ROOT / ".gitlab-ci.yml").read_text())


def job(pipeline: dict, name: str) -> dict:
    """A job with what it inherits. Maps are merged, lists are replaced."""
    own = pipeline[name]
    inherited = job(pipeline, own["extends"]) if "extends" in own else {}
    variables = inherited.get("variables", {}) | own.get("variables", {})
    return inherited | own | {"variables": variables}


def lines(items: list) -> Iterator[str]:
    """The lines of a script; an anchor inserts a list."""
    for item in items:
        if isinstance(item, list):
            yield from lines(item)
        else:
            yield item


def expand(text: str, variables: dict[str, str]) -> str:
    return REFERENCE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def run_job(name: str, folder: Path, before: bool = True, **variables: str) -> subprocess.CompletedProcess:
    """Run a job's script in a folder: one shell, which ends at the first line that fails. What is before the script may
    be left out where it only installs packages."""
    pipeline = read_pipeline()
    found = job(pipeline, name)
    script = [*(found.get("before_script", []) if before else []), *found["script"]]
    given = {key: str(value) for key, value in (pipeline["variables"] | found["variables"]).items()} | variables
    given = {key: expand(value, given) if key not in variables else value for key, value in given.items()}
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines(script))],
        cwd=folder,
        env=clean_environment() | given,
        check=False,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )


class GitLab(ThreadingHTTPServer):
    """Its API, as far as a release asks it: it keeps what it is sent, and refuses whoever has not the token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.got: list[tuple[str, str, bytes]] = []
        self.refuses: set[str] = set()  # names of files that it takes from nobody

    @classmethod
    @contextlib.contextmanager
    def serving(cls) -> Iterator["GitLab"]:
        with cls() as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v4"


class Answers(BaseHTTPRequestHandler):
    server: GitLab

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        basic = "Basic " + base64.b64encode(b"gitlab-ci-token:token").decode()
        known = self.headers["JOB-TOKEN"] == "token" or self.headers["Authorization"] == basic
        allowed = known and self.path.rpartition("/")[2] not in self.server.refuses
        if allowed:
            self.server.got.append((self.command, self.path, body))
        self.send_response(201 if allowed else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT  # noqa: N815  (http.server looks for these names)

    def log_message(self, *_: object) -> None:
        pass
