"""Five balancers, ten scenes: docs/atlas.md. Uses what the tests of deploy/ use."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
