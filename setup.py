"""Describes the extension, and builds the static program; everything else about the package is in pyproject.toml."""

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import ClassVar

from Cython.Build import cythonize
from setuptools import Command, Extension, setup

VERSION = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]["version"]

core = Extension(
    "yinyang._core",
    ["yinyang/_core.pyx"],
    depends=[str(path) for folder, kind in (("yinyang/core", "*.pxd"), ("csrc", "*.h"))
             for path in sorted(Path(folder).glob(kind))],
    include_dirs=["csrc"],
    define_macros=[("YINYANG_VERSION", f'"{VERSION}"'), ("Py_LIMITED_API", "0x030B0000")],
    py_limited_api=True,
)


def generated():
    """The extension, with the C that Cython makes of it."""
    return cythonize(
        core,
        build_dir="build",  # the generated C is a product like any other
        # 3str: string literals become char pointers, which from Cython 3.1 on is so without asking
        compiler_directives={"language_level": "3str", "cdivision": True, "boundscheck": False, "wraparound": False},
    )


class BuildStatic(Command):
    """Builds the server without an interpreter: the same generated C and csrc/main.c, linked against musl.

    Everything that needs Python must drop out as unreachable; were a Python function reachable from `main`, linking
    would fail. CC, CFLAGS and LDFLAGS are honoured, as in CC=clang LDFLAGS=-fuse-ld=lld.
    """

    description = "build the static program, build/static/yinyang (needs gcc or clang, binutils and musl)"
    user_options: ClassVar[list] = []

    HARDENING = ("-fstack-protector-strong", "-fPIE", "-static-pie", "-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack")
    COMPILE = (
        "-std=gnu11", "-Oz", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables", "-fno-ident",
        "-Wall", "-Wextra", "-Wno-unused-function", "-nostdinc", "-include", "csrc/direct.h", "-Icsrc",
        # what unreachable Python code calls must not bring in half a C library before it drops out; and should the
        # core come to use the heap or printf, it would not link
        "-DNDEBUG", "-Dmalloc=PyMem_Malloc", "-Dfree=PyMem_Free", "-Dvsnprintf=PyOS_vsnprintf",
    )
    LINK = (
        "-nostdlib", "-Wl,--gc-sections,--build-id=none,-O2",
        "-Wl,-z,noseparate-code,-z,max-page-size=4096",  # else segments are padded to whole pages of the file
    )

    def initialize_options(self):
        """Nothing to set."""

    def finalize_options(self):
        """Nothing to check before running."""

    def run(self):
        """Compile, link, check, strip."""
        compiler = os.environ.get("CC", "gcc").split()
        for tool, package in ((compiler[0], "gcc, or name another compiler with CC"), ("nm", "binutils"),
                              ("strip", "binutils")):
            self.want(shutil.which(tool), tool, package)
        machine = self.output(*compiler, "-dumpmachine").strip()
        triplet = "-".join((machine.split("-")[0], "linux-musl"))
        musl = Path("/usr/lib", triplet)
        self.want((musl / "rcrt1.o").exists(), f"musl ({musl}/rcrt1.o)", "musl-tools")
        python = Path(sysconfig.get_path("include"))
        self.want((python / "Python.h").exists(), f"{python}/Python.h", "python3-dev")

        folder = Path("build/static")
        folder.mkdir(parents=True, exist_ok=True)
        flags = [
            *self.COMPILE, *self.HARDENING[:2], f'-DYINYANG_VERSION="{VERSION}"',
            "-isystem", f"/usr/include/{triplet}",
            "-isystem", self.output(*compiler, "-print-file-name=include").strip(),
            "-I", str(python), "-idirafter", "/usr/include",  # Debian keeps a part of Python's headers there
            *os.environ.get("CFLAGS", "").split(),
        ]
        objects = []
        for source in ("csrc/main.c", *generated()[0].sources):
            objects.append(str(folder / f"{Path(source).stem}.o"))
            self.tool(*compiler, *flags, "-c", source, "-o", objects[-1])
        whole = folder / "yinyang.unstripped"
        self.link(
            *compiler, *self.LINK, *self.HARDENING[2:], *os.environ.get("LDFLAGS", "").split(), "-o", str(whole),
            str(musl / "rcrt1.o"), str(musl / "crti.o"), *objects, f"-L{musl}", "-Wl,--start-group", "-lc",
            self.output(*compiler, "-print-libgcc-file-name").strip(), "-Wl,--end-group", str(musl / "crtn.o"),
        )
        self.no_python(re.findall(r"\b_?Py[A-Z_]\w*", self.output("nm", str(whole))))
        sections = "--strip-section-headers"  # binutils 2.41
        less = [sections] if sections in self.output("strip", "--help") else []
        self.tool("strip", "--strip-all", *less, "-o", str(folder / "yinyang"), str(whole))
        print(f"{folder}/yinyang: {(folder / 'yinyang').stat().st_size} bytes")

    @staticmethod
    def want(there, what, package):
        """End with a clear message if something is missing."""
        if not there:
            raise SystemExit(f"build_static: {what} is missing; install {package}")

    @staticmethod
    def output(*command):
        """What a command prints."""
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    @staticmethod
    def tool(*command):
        """Run a command that explains by itself why it fails."""
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"build_static: {command[0]} failed")

    def link(self, *command):
        """Link; a Python function among what is undefined is the proof that the core is not free of Python."""
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
        self.no_python(re.findall(r"undefined (?:reference to|symbol:) [`']?(_?Py[A-Z_]\w*)", done.stderr))
        if done.returncode:
            raise SystemExit(f"{done.stderr}build_static: linking failed")

    @staticmethod
    def no_python(names):
        """End if there are Python functions."""
        if names:
            raise SystemExit(f"build_static: Python is reachable from main: {', '.join(sorted(set(names)))}")


setup(
    ext_modules=generated(),
    cmdclass={"build_static": BuildStatic},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
