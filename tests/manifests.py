"""Manifests of Kubernetes: rendered as users render them, and checked against what their projects publish."""

import functools
import importlib
import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from conftest import PATIENCE, ROOT, missing, needs

DEPLOY = ROOT / "deploy"
MANIFEST = DEPLOY / "kubernetes/base/yinyang.yaml"


def module(name: str, requirement: str) -> ModuleType:
    """A module that is installed for the tests only."""
    if not importlib.util.find_spec(name):
        missing(requirement, f"{requirement} is not installed")
    return importlib.import_module(name)


def parse(text: str) -> list[dict]:
    """The objects of a stream of YAML."""
    return list(module("yaml", "kubernetes-validate").safe_load_all(text))


def run(tool: str, *arguments: str | Path, text: str | None = None) -> str:
    """What kubectl, helm or kube-score prints; the one that tools/install-… has put into build/kubectl, if it has."""
    own = ROOT / "build/kubectl" / tool
    command = [str(own) if own.exists() else needs(tool), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE, input=text)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def kustomized(folder: Path) -> list[dict]:
    return parse(run("kubectl", "kustomize", folder))


def validate(item: dict) -> None:
    """Check an object strictly: it may have nothing that its schema does not know."""
    group = item["apiVersion"].rpartition("/")[0]
    if "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io"):
        kubernetes_validate = module("kubernetes_validate", "kubernetes-validate")
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    else:
        schema = definitions()[item["apiVersion"], item["kind"]]
        module("jsonschema", "kubernetes-validate").Draft202012Validator(schema).validate(item)


@functools.cache
def definitions() -> dict[tuple[str, str], dict]:
    """The schemas of custom resources that tools/install-crds has brought, by API version and kind."""
    folder = ROOT / "build/crds"
    if not (folder / "made-by").exists():
        missing("crds", "there are no custom resource definitions; tools/install-crds brings them")
    yaml = module("yaml", "kubernetes-validate")
    found = {}
    for file in folder.glob("*.yaml"):
        for item in filter(None, yaml.load_all(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            names, group = item["spec"]["names"], item["spec"]["group"]
            for version in item["spec"]["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                make_strict(schema)
                # what each object has, whether or not its schema says so
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
                found[f"{group}/{version['name']}", names["kind"]] = schema
    return found


def make_strict(schema: dict) -> None:
    """Allow no property that the schema does not name, as `kubectl apply --validate=strict` does. Flags of patterns are
    at their beginning, where Python wants them."""
    for part in parts(schema):
        make_strict(part)
    if "(?i)" in schema.get("pattern", ""):
        schema["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)


def parts(schema: dict) -> Iterator[dict]:
    yield from schema.get("properties", {}).values()
    for key in "items", "additionalProperties":
        if isinstance(schema.get(key), dict):
            yield schema[key]
