"""Describes the extension; everything else about the package is in pyproject.toml."""

import tomllib
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

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

setup(
    ext_modules=cythonize(
        core,
        build_dir="build",  # the generated C is a product like any other
        compiler_directives={"language_level": 3, "cdivision": True, "boundscheck": False, "wraparound": False},
    ),
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
