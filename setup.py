"""Describes the extension, and builds the static program; everything else about the package is in pyproject.toml."""

import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "tools"))  # a build backend does not put it there
from generate import INCLUDES, VERSION, generate


class BuildExtension(build_ext):
    """Generates the C of the extension before it is compiled."""

    def build_extension(self, extension):
        """Have Cython's work done here, with the options that all builds share."""
        extension.sources = [generate("yinyang/_core.pyx")]
        super().build_extension(extension)


class BuildStatic(Command):
    """Builds the server without an interpreter; tools/static_program.py does it."""

    description = "build the static program, build/static/yinyang (needs gcc or clang, binutils and musl)"
    user_options: ClassVar[list] = []

    def initialize_options(self):
        """Nothing to set."""

    def finalize_options(self):
        """Nothing to check before running."""

    def run(self):
        """Build it, and tell its size."""
        from static_program import build  # noqa: PLC0415

        program = build()
        print(f"{program}: {program.stat().st_size} bytes")


setup(
    ext_modules=[
        Extension(
            "yinyang._core",
            ["yinyang/_core.pyx"],
            depends=[*map(str, Path("yinyang").rglob("*.pxd")), *map(str, Path("csrc").glob("*.h"))],
            include_dirs=list(INCLUDES),
            define_macros=[("YINYANG_VERSION", f'"{VERSION}"'), ("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildExtension, "build_static": BuildStatic},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
