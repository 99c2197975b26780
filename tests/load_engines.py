"""The engines of load: k6 and Locust, which `make load` installs."""

import os
import shutil

from conftest import ROOT, missing

PLACES = {"k6": os.environ.get("K6_BIN", f"{ROOT}/build/k6"), "locust": f"{ROOT}/build/load/bin"}


def program(engine: str) -> str:
    path = shutil.which(engine, path=PLACES[engine]) or shutil.which(engine)
    if not path:
        missing(engine, f"{engine} is not there; `make load` installs it")
    return path
