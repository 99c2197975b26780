"""Describes the extension, and builds the static program; everything else about the package is in pyproject.toml."""

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
import zlib
from pathlib import Path
from typing import ClassVar

import rjsmin
from Cython.Build import cythonize
from setuptools import Command, Extension, setup

VERSION = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]["version"]

WALL = Path("build/csrc/wall.h")


def wall():
    """The page at /wall, as it is sent: one file, without what only readers of the source need."""
    html, css, js = (Path(f"yinyang/wall/wall.{kind}").read_text() for kind in ("html", "css", "js"))
    html = re.sub(r'="([\w-]+)"(?=[ >])', r"=\1", re.sub(r"\s*\n\s*|</li>|</option>", "", html))
    css = re.sub(r"\s*([{};:,>])\s+|\s+(?=[{}])|;(?=\s*})", r"\1", css.strip())
    html = html.replace('<link rel=stylesheet href="wall.css">', f"<style>{css}</style>")
    html = html.replace('<script src="wall.js">', f"<script>{rjsmin.jsmin(js)}")
    return html.encode()


def wall_header():
    """Have the wall as constant data, in a file that changes only when the wall does; its path."""
    page = wall()
    text = f"enum {{ WALL_SIZE = {len(page)} }};\nstatic const unsigned char wall[] = {{{','.join(map(str, page))}}};\n"
    if not WALL.exists() or WALL.read_text() != text:
        WALL.parent.mkdir(parents=True, exist_ok=True)
        WALL.write_text(text)
    return str(WALL)


core = Extension(
    "yinyang._core",
    ["yinyang/_core.pyx"],
    depends=[wall_header(), *(str(path) for folder, kind in (("yinyang/core", "*/*.pxd"), ("csrc", "*.h"))
                              for path in sorted(Path(folder).glob(kind)))],
    include_dirs=["csrc", str(WALL.parent)],
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
    """Builds the server without an interpreter: the same generated C, csrc/main.c, and csrc/system.c in place of a C
    library, of which only the headers are used: those of musl.

    Everything that needs Python must drop out as unreachable; were a Python function reachable from `main`, linking
    would fail. CC, CFLAGS and LDFLAGS are honoured, as in CC=clang LDFLAGS=-fuse-ld=lld. It is smallest with gcc and
    lld, which does not pad the file to a page before what is writable.
    """

    description = "build the static program, build/static/yinyang (needs gcc or clang, binutils and musl's headers)"
    user_options: ClassVar[list] = []

    HARDENING = ("-fstack-protector-strong", "-fPIE")
    HARDENING_LINK = ("-static-pie", "-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack")
    COMPILE = (
        "-std=gnu11", "-Oz", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables", "-fno-ident",
        "-Wall", "-Wextra", "-Wno-unused-function", "-nostdinc", "-include", "csrc/system.h", "-Icsrc",
        f"-I{WALL.parent}",
        # what unreachable Python code calls must not bring in half a C library before it drops out; and should the
        # core come to use the heap or printf, it would not link
        "-DNDEBUG", "-Dmalloc=PyMem_Malloc", "-Dfree=PyMem_Free", "-Dvsnprintf=PyOS_vsnprintf",
    )
    COMPILE_GCC = (
        "-fwhole-program",  # what is not reachable is dropped before code is made of it, so that it leaves no trace
        "-DYINYANG_PACKED", "-fno-data-sections", "-fno-merge-constants",  # all constants are in one section: .rodata
        "-fno-jump-tables",  # they would be offsets that the linker fills in
        # passes that make the code longer here, by 2 KB in all
        "-fno-tree-loop-im", "-fno-tree-forwprop", "-fno-inline-small-functions", "-fno-code-hoisting",
        "-fno-tree-tail-merge", "-fno-optimize-sibling-calls", "-fno-caller-saves", "-fno-move-loop-invariants",
        "-fno-forward-propagate", "-fno-ipa-modref", "-fno-ipa-sra", "-fno-tree-scev-cprop", "-fno-schedule-insns2",
        "-fno-shrink-wrap", "-fno-ipa-cp", "-fno-tree-pre", "-fno-tree-switch-conversion", "-fno-tree-copy-prop",
        "-fno-tree-slsr",
    )
    COMPILE_FOR: ClassVar[dict] = {  # by machine
        "x86_64": (
            "-mno-red-zone",  # system.c says why
            "-mtune=k8",  # takes the shortest ways
            "-mstack-protector-guard=global",  # there are no threads that could each have their own
        ),
        "aarch64": (
            "-mno-outline-atomics",  # else they are functions of libgcc, which ask the C library for the CPU
            # a global one would be found by way of a table of pointers
            "-mstack-protector-guard=sysreg", "-mstack-protector-guard-reg=tpidr_el0",
            "-mstack-protector-guard-offset=0",
        ),
    }
    LINK = (
        "-nostdlib", "-Wl,--gc-sections,--build-id=none,--hash-style=sysv,-O2",
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
                              ("objcopy", "binutils"), ("readelf", "binutils"), ("strip", "binutils")):
            self.want(shutil.which(tool), tool, package)
        machine = self.output(*compiler, "-dumpmachine").strip()
        triplet = "-".join((machine.split("-")[0], "linux-musl"))
        musl = Path("/usr/include", triplet)
        self.want((musl / "stdio.h").exists(), f"musl ({musl}/stdio.h)", "musl-dev")
        python = Path(sysconfig.get_path("include"))
        self.want((python / "Python.h").exists(), f"{python}/Python.h", "python3-dev")

        folder = Path("build/static")
        folder.mkdir(parents=True, exist_ok=True)
        flags = [
            *self.COMPILE, *self.HARDENING, f'-DYINYANG_VERSION="{VERSION}"',
            "-isystem", str(musl),
            "-isystem", self.output(*compiler, "-print-file-name=include").strip(),
            "-I", str(python), "-idirafter", "/usr/include",  # Debian keeps a part of Python's headers there
            *os.environ.get("CFLAGS", "").split(),
        ]
        flags += self.COMPILE_FOR.get(machine.split("-")[0], ())
        end = [*os.environ.get("LDFLAGS", "").split(), self.output(*compiler, "-print-libgcc-file-name").strip()]
        core = generated()[0].sources[0]
        whole = folder / "yinyang.unstripped"
        self.program(compiler, flags, end, core, whole)
        if "clang" not in self.output(*compiler, "--version"):
            # Only now that the linker has shown that no Python is reachable: told that this is all there is, gcc takes
            # module state that nobody fills in for a constant, and what would use it for impossible.
            self.program(compiler, [*flags, *self.COMPILE_GCC], end, core, whole)
        sections = "--strip-section-headers"  # binutils 2.41
        less = [sections] if sections in self.output("strip", "--help") else []
        self.tool("strip", "--strip-all", *less, "-o", str(folder / "yinyang"), str(whole))
        print(f"{folder}/yinyang: {(folder / 'yinyang').stat().st_size} bytes")

    def program(self, compiler, flags, end, core, whole):
        """Compile and link all, as one translation unit, and check what came out."""
        objects = [f"{whole}.o"]
        self.tool(*compiler, *flags, "-include", core, "-include", "csrc/system.c", "-c", "csrc/main.c",
                  "-o", objects[0])
        if "-DYINYANG_PACKED" in flags:
            objects.append(self.packed(compiler, objects[0]))
        self.link(*compiler, *self.LINK, *self.HARDENING_LINK, "-o", str(whole), *objects, *end)
        self.no_relocation(self.output("readelf", "--relocs", "--wide", str(whole)))
        self.no_python(re.findall(r"\b_?Py[A-Z_]\w*", self.output("nm", str(whole))))

    def packed(self, compiler, whole):
        """Have the constants of an object packed in another one, whose name is returned, and an empty place for them,
        a section that csrc/unpack.h fills in. Zopfli packs them in 300 bytes less than zlib, which is always there."""
        name = f"{whole[:-2]}.constants"
        self.tool("objcopy", "--output-target=binary", "--only-section=.rodata", whole, name)
        self.no_relocation(self.output("readelf", "--relocs", "--wide", whole).partition("'.rela.rodata'")[2])
        if shutil.which("zopfli"):
            zopfli = ("zopfli", "--deflate", "--i100", "-c", name)
            packed = subprocess.run(zopfli, check=True, stdout=subprocess.PIPE).stdout
        else:
            packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
            packed = packer.compress(Path(name).read_bytes()) + packer.flush()
        # the reader looks a few bytes ahead
        Path(f"{name}.c").write_text(f"const unsigned char packed[] = {{{','.join(map(str, packed))},0,0,0}};\n")
        self.tool(*compiler, "-c", f"{name}.c", "-o", f"{name}.o")
        self.tool("objcopy", "--set-section-alignment", ".rodata=4096", "--rename-section", ".rodata=constants,alloc",
                  whole)
        return f"{name}.o"

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
    def no_relocation(listed):
        """End if something would have to be filled in at the start, as nothing there does that."""
        if re.search(r"R_[A-Z0-9]+_", listed):
            raise SystemExit(f"build_static: constant data holds pointers, where it must hold offsets: {listed}")

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
