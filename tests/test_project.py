"""The project's own files."""

import importlib.util
import subprocess
import sys

from conftest import ROOT, missing


def test_pipeline_follows_the_schema_of_gitlab() -> None:
    if not importlib.util.find_spec("check_jsonschema"):
        missing("check-jsonschema", "check-jsonschema is not installed")
    check = ["check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    done = subprocess.run(
        [sys.executable, "-m", *check, ROOT / ".gitlab-ci.yml"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
