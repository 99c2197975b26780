"""Measures how well replicas can be told apart by their colours, and searches for the table of `--palette distinct`.

pip install -e . numpy
python tools/palette.py                # prints the figures of docs/palette.md, from the table and the hash of the build
python tools/palette.py --search       # searches for the table of csrc/palette.h, and prints it
python tools/palette.py --search --colours 68 --apart 17      # the same for another number of colours
python tools/palette.py --vectors      # writes tests/vectors/palette.json, by the description in csrc/palette.h
python tools/palette.py --picture      # writes docs/palette.svg

Two replicas cannot be told apart if the CIEDE2000 difference is below APART both for the first and for the second
halves of their symbols.
"""

import argparse
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ciede2000 import Array, between_all, check_formula, closest, difference, lab, lab_without_green_cones

import yinyang

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "csrc" / "palette.h"
APART = 20.0  # CIEDE2000 difference from which two colours differ at a glance
REPLICAS = 10
TRIALS = 50_000  # groups of replicas for each family of names
SEED = 2016
STARTS, TURNS, ROUNDS = 64, 1000, 20  # of the search
PALETTES = ("original", "distinct")
Look = tuple[str, str]

# ---- the search -----------------------------------------------------------------------------------------------------


def gaps(rgb: Array, ends: tuple[Array, Array]) -> Array:
    """The difference of each pair of `ends`, in each set of colours."""
    colours = lab(rgb)
    return difference(colours[:, ends[0]], colours[:, ends[1]])


def downhill(rgb: Array, ends: tuple[Array, Array], apart: float) -> Array:
    """The gradient in sRGB of a sum of squares: for each pair of a set, the difference missing to `apart`."""
    every = gaps(rgb, ends)
    which, pair = np.nonzero(every < apart)
    now = every[which, pair]
    one, other = ends[0][pair], ends[1][pair]
    colours = lab(rgb)
    gradient = np.zeros_like(rgb)
    step = np.where(rgb > 254, -0.5, 0.5)
    for channel in range(3):
        moved = rgb.copy()
        moved[..., channel] += step[..., channel]
        shifted = lab(moved)
        for end, rest in ((one, other), (other, one)):
            slope = (difference(shifted[which, end], colours[which, rest]) - now) / step[which, end, channel]
            np.add.at(gradient[..., channel], (which, end), -2 * (apart - now) * slope)
    return gradient


def push(rgb: Array, apart: float, turns: int, heat: float, rng: np.random.Generator) -> Array:
    """Let the colours of each set repel each other, except the first two: the Adam method, with noise of `heat` that
    falls to zero until half of the turns. Returns the sets in order, the best one first."""
    ends = np.triu_indices(rgb.shape[1], 1)
    mean, square = np.zeros_like(rgb), np.zeros_like(rgb)
    for turn in range(turns):
        gradient = downhill(rgb, ends, apart)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
        pace = (6 * (1 - turn / turns) + 0.05) / (1 - 0.9 ** (turn + 1))
        move = -pace * mean / (np.sqrt(square / (1 - 0.99 ** (turn + 1))) + 1e-3)
        move += rng.normal(0, 1, rgb.shape) * heat * max(0, 1 - 2 * turn / turns)
        move[:, :2] = 0
        rgb = np.clip(rgb + move, 0, 255)
    lack = (np.maximum(0, apart - gaps(rgb, ends)) ** 2).sum(axis=1)
    return rgb[lack.argsort(kind="stable")]


def spread(count: int, apart: float, rng: np.random.Generator) -> Iterator[Array]:
    """Sets of `count` colours, black and white among them, with differences of `apart` or nearly so; the best of each
    round. The first round starts from random colours, the others from the best sets with one to three colours moved."""
    rgb = rng.uniform(0, 255, (STARTS, count, 3))
    rgb[:, 0], rgb[:, 1] = 0, 255
    best = push(rgb, apart, TURNS, 3.0, rng)[:8]
    for _ in range(ROUNDS):
        yield from best[:3]
        rgb = best[np.arange(STARTS) % len(best)].copy()
        for one in rgb[len(best) :]:
            thrown = rng.choice(np.arange(2, count), rng.integers(1, 4), replace=False)
            one[thrown] = rng.uniform(0, 255, (len(thrown), 3))
        best = push(rgb, apart, TURNS // 4, 1.0, rng)[:8]


def whole(rgb: Array, apart: float) -> Array:
    """The colours in whole numbers: rounded, then moved by up to 2 in each channel while that improves the set."""
    rgb = rgb.round()
    near = np.array([(r, g, b) for r in range(-2, 3) for g in range(-2, 3) for b in range(-2, 3)])
    better = True
    while better:
        better = False
        for i in range(2, len(rgb)):
            tried = np.clip(rgb[i] + near, 0, 255)
            others = lab(np.delete(rgb, i, axis=0))
            lack = (np.maximum(0, apart - difference(lab(tried)[:, None], others)) ** 2).sum(axis=1)
            if lack.min() < lack[len(near) // 2] - 1e-9:
                rgb[i] = tried[lack.argmin()]
                better = True
    return rgb


def search(count: int, apart: float, enough: float, seed: int) -> Array:
    """The table, dark to light: the first set with large enough differences, or else the best set."""
    best = np.zeros((2, 3))
    for rgb in spread(count, apart, np.random.default_rng(seed)):
        found = whole(rgb, apart)
        if closest(found) > closest(best):
            best = found
            print(f"/* the two closest: {closest(best):.3f} */", flush=True)
        if closest(best) >= enough:
            break
    return best[np.argsort(lab(best)[:, 0], kind="stable")].astype(int)


def print_table(rgb: Array) -> None:
    """Print the table as in csrc/palette.h."""
    print(f"enum {{ PALETTE_SIZE = {len(rgb)} }};")
    print("static const unsigned char palette[PALETTE_SIZE][3] = {")
    cells = [f"{{0x{r:02x}, 0x{g:02x}, 0x{b:02x}}}," for r, g, b in rgb]
    for line in range(0, len(cells), 5):
        print("    " + " ".join(cells[line : line + 5]))
    print("};")
    print(f"/* the two closest: {closest(rgb):.3f} */")


# ---- the look of a name ---------------------------------------------------------------------------------------------


def table() -> list[str]:
    """The colours of csrc/palette.h, as #rrggbb."""
    rows = re.findall(r"\{0x(..), 0x(..), 0x(..)\}", HEADER.read_text())
    return ["#" + "".join(row) for row in rows]


def mixed(name: bytes) -> int:
    """FNV-1a in 64 bits, and the finaliser of MurmurHash3 over it."""
    most = 2**64 - 1
    h = 0xCBF29CE484222325
    for byte in name:
        h = (h ^ byte) * 0x100000001B3 & most
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & most
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & most
    return h ^ h >> 33


def described(name: str, colours: list[str]) -> Look:
    """The colours of both halves, by the description at the top of csrc/palette.h, without the build."""
    digits = re.search(r"[0-9]*$", name)[0]
    number = int(digits or 0)
    h = mixed(name.removesuffix(digits).encode())
    first = ((h >> 32) + 11 * number) % 2**64 % len(colours)
    second = ((h & 0xFFFFFFFF) + 13 * number) % 2**64 % (len(colours) - 1)
    return colours[first], colours[second + (second >= first)]


def look_of(palette: str) -> Callable[[str], Look]:
    """The function that gives the colours of a name, as built."""
    return lambda name: yinyang.identify(name, palette=palette).colours


# ---- names ----------------------------------------------------------------------------------------------------------

SAFE = "bcdfghjklmnpqrstvwxz2456789"  # letters of random names in Kubernetes, which spell no words
SERVICES = ("web", "api", "app", "worker", "db", "cache", "proxy", "frontend", "backend", "auth", "queue", "whoami")


def word(rng: random.Random) -> str:
    """A made-up name of a project."""
    return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def pods(rng: random.Random) -> list[str]:
    """The pods of one Deployment: the same hash of the template, and a random suffix for each."""
    start = f"{word(rng)}-{rng.choice(SERVICES)}-{''.join(rng.choices(SAFE, k=10))}-"
    return [start + "".join(rng.choices(SAFE, k=5)) for _ in range(REPLICAS)]


def ordinals(rng: random.Random) -> list[str]:
    """The pods of one StatefulSet."""
    name = word(rng)
    return [f"{name}-{number}" for number in range(REPLICAS)]


def container_ids(rng: random.Random) -> list[str]:
    """The host names that Docker gives to containers."""
    return [f"{rng.getrandbits(48):012x}" for _ in range(REPLICAS)]


def compose(rng: random.Random) -> list[str]:
    """The containers of one service of Compose."""
    start = f"{word(rng)}-{rng.choice(SERVICES)}-"
    return [f"{start}{number + 1}" for number in range(REPLICAS)]


FAMILIES = {
    "Kubernetes Deployment": pods,
    "Kubernetes StatefulSet": ordinals,
    "Docker ids": container_ids,
    "Compose": compose,
}
WEB = [f"web-{number}" for number in range(REPLICAS)]

# ---- figures --------------------------------------------------------------------------------------------------------

PAIRS = np.triu_indices(REPLICAS, 1)


class Groups:
    """Groups of replicas, as numbers of colours, and the differences between the colours."""

    def __init__(self, groups: list[list[Look]]) -> None:
        self.colours = sorted({colour for group in groups for look in group for colour in look})
        number = {colour: i for i, colour in enumerate(self.colours)}
        self.groups = np.array([[[number[colour] for colour in look] for look in group] for group in groups])
        self.rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in self.colours])

    def gaps(self, to_lab: Callable[[Array], Array] = lab) -> Array:
        """For each pair in each group, the larger one of the differences of their halves."""
        apart = between_all(to_lab(self.rgb))
        one, other = self.groups[:, PAIRS[0]], self.groups[:, PAIRS[1]]
        return apart[one, other].max(axis=2)

    def count_looks(self) -> int:
        """The number of different looks."""
        return len(np.unique(self.groups.reshape(-1, 2), axis=0))


def share(hits: Array) -> str:
    """A share in per cent, with its 95 % confidence interval (Wilson)."""
    n, p, z = len(hits), float(hits.mean()), 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (100 * (middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return f"{100 * p:.2f} % ({low:.2f} to {high:.2f})"


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def figures(trials: int) -> None:
    """The tables of docs/palette.md."""
    looks = {palette: look_of(palette) for palette in PALETTES}
    colours = table()
    rng = random.Random(SEED)
    names = {family: [make(rng) for _ in range(trials)] for family, make in FAMILIES.items()}
    for name in (name for groups in names.values() for group in groups[:500] for name in group):
        built, expected = looks["distinct"](name), described(name, colours)
        if built != expected:
            raise SystemExit(f"{name}: the build gives {built}, the description {expected}")
    seen = {
        (family, palette): Groups([[look(name) for name in group] for group in groups])
        for family, groups in names.items()
        for palette, look in looks.items()
    }
    print(f"\nChance that at least two of {REPLICAS} replicas look the same, {trials:,} groups each:\n")
    row("names", *PALETTES, "seen without green cones: original", "distinct")
    row(*["---"] * 5)
    for family in FAMILIES:
        gaps = [seen[family, palette].gaps(view) for view in (lab, lab_without_green_cones) for palette in PALETTES]
        row(family, *(share((gap < APART).any(axis=1)) for gap in gaps))
    print("\nFor a Deployment, by the CIEDE2000 difference below which two halves count as the same:\n")
    row("CIEDE2000", *PALETTES)
    row(*["---"] * 3)
    for apart in (1, 5, 10, 15, 20, 25):
        row(apart, *(share((seen["Kubernetes Deployment", p].gaps() < apart).any(axis=1)) for p in PALETTES))
    print("\nThe palettes:\n")
    row("", *PALETTES)
    row(*["---"] * 3)
    every = [seen["Docker ids", palette] for palette in PALETTES]
    row("looks", *(each.count_looks() for each in every))
    firsts = [each.rgb[np.unique(each.groups[:, :, 0])] for each in every]
    row("colours of the first half", *map(len, firsts))
    row("the closest two of them", *(f"{closest(rgb):.2f}" for rgb in firsts))
    print_web(looks)


def print_web(looks: dict[str, Callable[[str], Look]]) -> None:
    """Print the table for the best-known names."""
    print("\nweb-0 to web-9:\n")
    row("", *PALETTES)
    row(*["---"] * 3)
    for name in WEB:
        row(name, *(" ".join(look(name)) for look in looks.values()))
    gaps = [Groups([[look(name) for name in WEB]]).gaps()[0] for look in looks.values()]
    row(f"pairs of {len(PAIRS[0])} that cannot be told apart", *((gap < APART).sum() for gap in gaps))
    row("the closest pair", *(f"{gap.min():.2f}" for gap in gaps))


# ---- files ----------------------------------------------------------------------------------------------------------


def write_vectors() -> None:
    """Write 200 names with their colours, by the description."""
    rng = random.Random(SEED)
    names = [*WEB, "vm", "a", "-", "localhost", "Größe", "緑", "x" * 255, "y" * 64, "yinyang-7d4b9c6f5-x2x9z"]
    names += ["7", "web-007", "web-10", "web-46", "a" + "9" * 30, "1" * 254]
    while len(names) < 200:
        names += [rng.choice(make(rng)) for make in FAMILIES.values()]
    colours = table()
    rows = (json.dumps(name) + ": " + json.dumps(described(name, colours)) for name in names[:200])
    (ROOT / "tests" / "vectors" / "palette.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


def drawn(look: Look, palette: str) -> str:
    """The symbol of the page, 100 wide."""
    one, other = look
    white = "#ffffff" if palette == "original" else one
    return (
        f'<circle cx="50" cy="50" r="48" fill="{one}" stroke="#000"/>'
        f'<path d="M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48" fill="{other}"/>'
        f'<circle cx="50" cy="26" r="6" fill="{other}"/><circle cx="50" cy="74" r="6" fill="{white}"/>'
    )


def write_picture() -> None:
    """Draw ten pods of one Deployment in each palette."""
    names = pods(random.Random(SEED))
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1100 290" font-family="sans-serif" font-size="16">']
    parts.append('<rect width="1100" height="290" fill="#fff"/>')
    for line, palette in enumerate(PALETTES):
        look = look_of(palette)
        for column, name in enumerate(names):
            symbol = drawn(look(name), palette)
            parts.append(f'<g transform="translate({5 + 110 * column},{10 + 125 * line})">{symbol}</g>')
    for column, name in enumerate(names):
        parts.append(f'<text x="{55 + 110 * column}" y="270" text-anchor="middle">{name[-5:]}</text>')
    (ROOT / "docs" / "palette.svg").write_text("\n".join([*parts, "</svg>"]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--search", action="store_true")
    what.add_argument("--vectors", action="store_true")
    what.add_argument("--picture", action="store_true")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--colours", type=int, default=47)
    parser.add_argument("--apart", type=float, default=20.2)
    parser.add_argument("--enough", type=float, default=APART)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.vectors:
        write_vectors()
    elif given.picture:
        write_picture()
    elif given.search:
        print_table(search(given.colours, given.apart, given.enough, given.seed))
    else:
        print(check_formula())
        figures(given.trials)


if __name__ == "__main__":
    main()
