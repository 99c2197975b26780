"""Builds the server without an interpreter: csrc/main.c and the generated C of the core, linked with musl.

All that needs Python must drop out as unreachable: the link has no Python library, so a Python function that `main`
reaches is an undefined symbol, and the build fails. CC, CFLAGS and LDFLAGS are honoured. ARCH=arm64, or a CC that
compiles for another machine, builds for that one.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from generate import INCLUDES, generate

COMPILE = (
    "-std=gnu11",
    "-O2",
    "-DCYTHON_INLINE=",  # the compiler chooses what to inline: the program is smaller, and no slower
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
    "-Wno-type-limits",  # Cython's functions for Python numbers compare a 32-bit long with 64-bit limits
    "-ffunction-sections",
    "-fdata-sections",  # so that the linker can drop each function that is not reached
    # GCC would store two pointers at once, from a constant in a section that all functions share. It is kept whole,
    # with all that its pointers lead to; with GCC 14, those of Cython's views lead to Python.
    "-fno-tree-slp-vectorize",
    "-fno-asynchronous-unwind-tables",  # nothing here unwinds the stack
    # What unreachable Python code calls must not bring in parts of the C library that then stay: with vsnprintf the
    # whole of stdio would, as exit(3) flushes it. And if the core used the heap or printf, it would not link.
    "-DNDEBUG",
    "-Dmalloc=PyMem_Malloc",
    "-Dfree=PyMem_Free",
    "-Dvsnprintf=PyOS_vsnprintf",
)
LINK = (
    "-Wl,--gc-sections",
    "-nostdlib",
    "-static-pie",
    "-Wl,-static,-pie,--no-dynamic-linker,-z,text",  # the latter because musl-gcc drops the former
    "-Wl,-z,noseparate-code",  # constants share pages with code; apart, each would be padded, by 8 KB in all
)
HARDENING = (
    "-fstack-protector-strong",  # an overflowing buffer ends the process before its function returns
    "-fstack-clash-protection",  # no stack frame can reach past the guard page below the stack
    "-fPIE",  # with -static-pie: the program is at another address each time it starts
)
HARDENING_LINK = (
    "-Wl,-z,relro,-z,now",  # what is relocated at the start, such as tables of pointers, is read-only from then on
    "-Wl,-z,noexecstack",  # no memory is both written and executed
)
# Not used: -D_FORTIFY_SOURCE, of which musl has nothing; -fcf-protection and -mbranch-protection, which the kernel
# enforces only where all of the C library is built with them too.

ARCHITECTURES = {  # as Debian names them: the GNU triplet of its compiler, and the triplet of musl
    "amd64": ("x86_64-linux-gnu", "x86_64-linux-musl"),
    "arm64": ("aarch64-linux-gnu", "aarch64-linux-musl"),
    "armhf": ("arm-linux-gnueabihf", "arm-linux-musleabihf"),
    "i386": ("i686-linux-gnu", "i386-linux-musl"),
    "ppc64el": ("powerpc64le-linux-gnu", "powerpc64le-linux-musl"),
    "riscv64": ("riscv64-linux-gnu", "riscv64-linux-musl"),
    "s390x": ("s390x-linux-gnu", "s390x-linux-musl"),
}
COMPILE_FOR = {
    # The table of contents (ELFv2 ABI) of an object is one section, which the linker keeps whole, with all that it
    # refers to: Python. So the compiler drops what is not reached, at link time. musl has no other long double.
    "ppc64el": ("-flto", "-mlong-double-64"),
}
CPUS = {"i386": "i386", "i486": "i386", "i586": "i386", "armv7l": "armhf", "ppc64le": "ppc64el"} | {
    triplet.partition("-")[0]: name for name, (triplet, _) in ARCHITECTURES.items()
}


class Failure(SystemExit):
    """The build cannot go on; the reason in one line."""

    def __init__(self, reason):
        super().__init__(f"build_static: {reason}")


def architecture(triplet):
    """Debian's name for the machine of a compiler's triplet."""
    cpu = triplet.partition("-")[0]
    if cpu not in CPUS:
        raise Failure(f"unknown architecture {cpu}; known are {', '.join(ARCHITECTURES)}")
    return CPUS[cpu]


def build_static(version):
    """Compile and link, check, strip; the path of the program."""
    native = architecture(sysconfig.get_config_var("HOST_GNU_TYPE"))
    compiler = find_compiler(native)
    triplet = output(*compiler, "-dumpmachine")
    target = architecture(triplet)
    folder = Path("build/static") if target == native else Path("build/static", target)
    folder.mkdir(parents=True, exist_ok=True)
    nm, strip = (find_binutil(compiler, name) for name in ("nm", "strip"))
    headers, start, end = find_musl(compiler, triplet)
    python = python_headers(folder / "python")
    whole = folder / "yinyang.unstripped"
    link(
        *compiler,
        *COMPILE,
        *COMPILE_FOR.get(target, ()),
        *HARDENING,
        f'-DYINYANG_VERSION="{version}"',
        *(f"-I{path}" for path in INCLUDES),
        *headers,
        "-isystem",
        python,
        *os.environ.get("CFLAGS", "").split(),
        *LINK,
        *HARDENING_LINK,
        *os.environ.get("LDFLAGS", "").split(),
        *start,
        "csrc/main.c",
        generate("yinyang/_core.pyx"),
        *end,
        "-o",
        str(whole),
    )
    no_python(re.findall(r"\b_?Py[A-Z_]\w*", output(nm, str(whole))))
    program = folder / "yinyang"
    output(strip, "--strip-all", "-o", str(program), str(whole))
    return program


def find_compiler(native):
    """CC, or the compiler that Debian has for ARCH, as a list of words."""
    wanted = os.environ.get("ARCH", native)
    if wanted not in ARCHITECTURES:
        raise Failure(f"unknown architecture {wanted}; known are {', '.join(ARCHITECTURES)}")
    cross = f"{ARCHITECTURES[wanted][0]}-gcc"
    compiler = os.environ.get("CC", "gcc" if wanted == native else cross).split()
    if not shutil.which(compiler[0]):
        package = f"gcc-{cross[:-4].replace('_', '-')} (Debian)" if compiler == [cross] else "gcc"
        raise Failure(f"{compiler[0]} is missing; install {package}, or name another compiler with CC")
    if "ARCH" in os.environ and architecture(output(*compiler, "-dumpmachine")) != wanted:
        raise Failure(f"CC={' '.join(compiler)} does not compile for ARCH={wanted}")
    return compiler


def find_binutil(compiler, name):
    """A tool for the machine that the compiler compiles for."""
    path = shutil.which(output(*compiler, f"-print-prog-name={name}"))
    if not path:
        raise Failure(f"{name} is missing; install binutils")
    return path


def find_musl(compiler, triplet):
    """The compiler's options for musl's headers, and what is linked before and after the program."""
    headers, lookup = [], []
    if not triplet.endswith(("-musl", "-musleabihf")):  # else musl is what the compiler uses by itself, as on Alpine
        name = ARCHITECTURES[architecture(triplet)][1]
        for include, library in (
            (f"/usr/include/{name}", f"/usr/lib/{name}"),  # Debian
            (f"build/cross/usr/include/{name}", f"build/cross/usr/lib/{name}"),  # tools/cross-toolchains
            (f"/usr/{name}/include", f"/usr/{name}/lib64"),  # Fedora
            (f"/usr/{name}/include", f"/usr/{name}/lib"),  # Fedora, 32 bits
            ("/usr/lib/musl/include", "/usr/lib/musl/lib"),  # Arch
        ):
            if Path(include, "stdio.h").exists() and Path(library, "rcrt1.o").exists():
                break
        else:
            raise Failure(
                f"musl for {name} is missing; install musl-dev (Debian; tools/cross-toolchains does for another "
                "architecture), musl-devel and musl-libc-static (Fedora) or musl (Arch)"
            )
        headers = ["-nostdinc", "-isystem", include, "-isystem", output(*compiler, "-print-file-name=include")]
        lookup = [f"-B{library}"]
    start, init, library, fini = (
        output(*compiler, *lookup, f"-print-file-name={file}") for file in ("rcrt1.o", "crti.o", "libc.a", "crtn.o")
    )
    return headers, [start, init], [library, output(*compiler, "-print-libgcc-file-name"), library, fini]


def python_headers(folder):
    """Python's headers, with a pyconfig.h that fits any target; the installed one describes the machine of Python."""
    installed = Path(sysconfig.get_path("include"))
    if not (installed / "Python.h").exists():
        packages = "python3-dev (Debian, Alpine) or python3-devel (Fedora)"
        raise Failure(f"{installed}/Python.h is missing; install {packages}")
    shutil.rmtree(folder, ignore_errors=True)
    # copied, because gcc may take a link for the file that it leads to, beside which is the installed pyconfig.h
    shutil.copytree(installed, folder, ignore=shutil.ignore_patterns("pyconfig.h"))
    shutil.copy("csrc/pyconfig.h", folder)
    return str(folder)


def output(*command):
    """What a command prints."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(f"{command[0]} failed")
    return done.stdout.strip()


def link(*command):
    """Compile and link; a Python function among what is undefined proves that the core is not free of Python."""
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    no_python(re.findall(r"undefined (?:reference to|symbol:) [`']?(_?Py[A-Z_]\w*)", done.stderr))
    if done.returncode:
        raise Failure(f"{command[0]} failed\n{done.stderr}")
    print(done.stderr, end="")


def no_python(names):
    """End if there are Python functions."""
    if names:
        raise Failure(f"Python is reachable from main: {', '.join(sorted(set(names)))}")
