"""The project's own files follow their schemas."""

import importlib.util
import subprocess
import sys

import pytest
from conftest import ROOT, missing


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (["vendor.gitlab-ci", "--data-transform", "gitlab-ci"], ".gitlab-ci.yml"),
        (["vendor.github-workflows"], ".github/workflows/pipeline.yml"),
        (["vendor.renovate"], "renovate.json"),
    ],
    ids=["gitlab", "github", "renovate"],
)
def test_file_follows_its_schema(schema: list[str], path: str) -> None:
    if not importlib.util.find_spec("check_jsonschema"):
        missing("check-jsonschema", "check-jsonschema is not installed")
    check = ["check_jsonschema", "--builtin-schema", *schema]
    done = subprocess.run([sys.executable, "-m", *check, ROOT / path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
