"""Prints which folders of the core use which others, and checks that no arrow runs back up.

    python tools/import_graph.py

A folder may use the folders before it in ORDER, and the files of a folder may use each other without a cycle. Exits
with 1 and names each arrow that breaks this rule.
"""

import graphlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = ROOT / "yinyang/core"
ORDER = (
    "text",
    "verdict",
    "os",
    "config",
    "identity",
    "log",
    "http",
    "shared",
    "routes",
    "worker",
    "supervisor",
    "watch",
    "cli",
)
CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+cimport\s*(\([^)]*\)|.*)|cimport\s+(.*))$", re.M)

Graph = dict[Path, set[Path]]  # the files that each file uses, relative to the folder of the core


def cimports(text: str) -> list[str]:
    """The modules that a source uses, and `module.name` for each name, as that may be a module too."""
    found = []
    for module, names, modules in CIMPORT.findall(re.sub(r"#.*", "", text)):
        prefix = module if not module or module.endswith(".") else f"{module}."
        found += [module] if module else []
        found += [prefix + part.split()[0] for part in (names or modules).strip("() \n").split(",") if part.strip()]
    return found


def resolved(module: str, source: Path, core: Path) -> Path | None:
    """The file of a module of the core, for a source that uses it; None for any other module."""
    dots = len(module) - len(module.lstrip("."))
    if dots:
        folder = source.parents[dots - 1]
    elif module.startswith("yinyang.core."):
        folder, module = core, module.removeprefix("yinyang.core.")
    else:
        return None
    file = folder.joinpath(*module.lstrip(".").split(".")).with_suffix(".pxd")
    return file if file.is_file() else None


def graph(core: Path = CORE) -> Graph:
    """All files of the core, and the files that they use."""
    found: Graph = {}
    for source in sorted(core.rglob("*.pxd")):
        if source.name != "__init__.pxd":
            used = {resolved(module, source, core) for module in cimports(source.read_text())} - {None}
            found[source.relative_to(core)] = {file.relative_to(core) for file in used}
    return found


def folder_of(file: Path) -> str:
    """The folder that has a place in ORDER, or ought to have one."""
    return file.parts[0] if len(file.parts) > 1 else "."


def problems(files: Graph) -> list[str]:
    """Arrows that run back up, files without a place in the order, and a cycle."""
    found = [f"{file}: its folder has no place in the order" for file in files if folder_of(file) not in ORDER]
    for source, used in files.items():
        for file in sorted(used):
            folders = folder_of(source), folder_of(file)
            if set(folders) <= set(ORDER) and ORDER.index(folders[0]) < ORDER.index(folders[1]):
                found.append(f"{source} uses {file}: {folders[0]} comes before {folders[1]}")
    try:
        graphlib.TopologicalSorter(files).prepare()
    except graphlib.CycleError as error:
        found.append("a cycle: " + " uses ".join(map(str, reversed(error.args[1]))))
    return found


def by_folder(files: Graph) -> str:
    """A line for each folder, with the folders that it uses."""
    lines = []
    for folder in ORDER:
        used = {folder_of(file) for source, its in files.items() if folder_of(source) == folder for file in its}
        lines.append(f"{folder:10} uses {', '.join(each for each in ORDER if each in used - {folder}) or 'none'}")
    return "\n".join(lines)


def main() -> int:
    files = graph()
    print(by_folder(files))
    found = problems(files)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
