"""Describes the extension, and builds the static program; everything else about the package is in pyproject.toml."""

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "tools"))  # a build backend does not put it there
from generate import INCLUDES, WALL, generate

# The stable ABI, by which one build serves all versions from 3.11 on; the free-threaded ones do not have it.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
STABLE_ABI = [] if FREE_THREADED else [("Py_LIMITED_API", "0x030B0000")]


def check_machine():
    """End with one line where the package cannot be built."""
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        here = f"{platform.python_implementation()} on {platform.system()}"
        raise SystemExit(f"yinyang needs Linux and CPython, this is {here}; elsewhere, run its container image")
    if sys.version_info < (3, 11):  # noqa: UP036  (pip does not read requires-python of a source tree first)
        raise SystemExit(f"yinyang requires Python >= 3.11, this is {platform.python_version()}")


def check_compiler():
    """End with one line where the extension cannot be compiled."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC")).split()[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    for missing, found in ((compiler, shutil.which(compiler)), (header, header.exists())):
        if not found:
            raise SystemExit(
                f"yinyang: {missing} is missing, to compile the extension; install gcc and python3-dev (Debian, "
                "Ubuntu), gcc and python3-devel (Fedora), build-base and python3-dev (Alpine), or gcc (Arch)"
            )


class Build(build):
    """Builds the package, once it is known that it can be."""

    def run(self):
        """Check first, before files are copied."""
        check_machine()
        check_compiler()
        super().run()


class BuildExtension(build_ext):
    """Builds the extension; its C is generated here, with the directives that all builds share."""

    def run(self):
        """Check first; an editable installation comes here directly."""
        check_machine()
        check_compiler()
        super().run()

    def build_extension(self, extension):
        """Generate, compile, link."""
        folder, directives = "build", {}
        if FREE_THREADED:
            # Threads share only what is read or written as a whole: descriptors, and counters in shared memory.
            folder, directives = "build/free-threaded", {"freethreading_compatible": True}
        extension.sources = [generate("yinyang/_core.pyx", folder, directives)]
        extension.define_macros.append(("YINYANG_VERSION", f'"{self.distribution.get_version()}"'))
        if not self.debug:  # small, and the same whoever builds it where
            extension.extra_compile_args.append("-g0")
            extension.extra_link_args.append("-Wl,--strip-all")
        super().build_extension(extension)


class BuildStatic(Command):
    """Builds the server without an interpreter, by tools/static_program.py."""

    description = "build the static program, build/static/yinyang (needs gcc or clang, binutils and musl)"
    user_options: ClassVar[list] = []

    def initialize_options(self):
        """Nothing to set."""

    def finalize_options(self):
        """Nothing to check before running."""

    def run(self):
        """Build it, and tell its size."""
        check_machine()
        from static_program import build_static  # noqa: PLC0415

        program = build_static(self.distribution.get_version())
        print(f"{program}: {program.stat().st_size} bytes")


setup(
    ext_modules=[
        Extension(
            "yinyang._core",
            ["yinyang/_core.pyx"],
            depends=[str(path) for path in (*Path("yinyang").rglob("*.pxd"), *Path("csrc").glob("*.h"), WALL)],
            include_dirs=list(INCLUDES),
            define_macros=STABLE_ABI,
            libraries=["m"],
            extra_compile_args=["-fvisibility=hidden"],
            py_limited_api=not FREE_THREADED,
        )
    ],
    cmdclass={"build": Build, "build_ext": BuildExtension, "build_static": BuildStatic},
    options={"bdist_wheel": {} if FREE_THREADED else {"py_limited_api": "cp311"}},
)
