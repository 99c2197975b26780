"""Imports the extension without what its import would drag in.

Cython's start-up code for the stable ABI imports `inspect`, and with it `ast`, `tokenize` and `re`, to ask for seven
constants of the language. That takes 12 ms of CPU time (benchmarks/imports.py), as much as the interpreter's own start.
So a module with the constants replaces `inspect` meanwhile. It passes all other requests on to the real module.
"""

import sys
from types import ModuleType

NUMBERS = {
    "CO_OPTIMIZED": 1,
    "CO_NEWLOCALS": 2,
    "CO_VARARGS": 4,
    "CO_VARKEYWORDS": 8,
    "CO_GENERATOR": 32,
    "CO_COROUTINE": 128,
    "CO_ASYNC_GENERATOR": 512,
}


class StandIn(ModuleType):
    """For the module `inspect`."""

    def __getattr__(self, name: str) -> object:
        self.leave()
        import inspect  # noqa: PLC0415

        return getattr(inspect, name)

    def leave(self) -> None:
        """Make way for the real one."""
        if sys.modules.get("inspect") is self:
            del sys.modules["inspect"]


def _load_core() -> None:
    if "inspect" in sys.modules:
        return  # the core may find that
    stand_in = StandIn("inspect")
    vars(stand_in).update(NUMBERS)
    sys.modules["inspect"] = stand_in
    try:
        import yinyang._core  # noqa: F401, PLC0415
    finally:
        stand_in.leave()


_load_core()
