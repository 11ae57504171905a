"""Draw the rooms of the package, and the imports in their source.

    python docs/rooms.py            write docs/rooms.md, docs/rooms.svg and docs/rooms-before.svg
    python docs/rooms.py --check    exit with code 1 if docs/rooms.md is not up to date
    python docs/rooms.py --before FOLDER   store the rooms of another src/mezzotint to compare with

A room is a package or a module directly in src/mezzotint. An arrow leads from a room to each room
that one of its files imports from. The floor of a room is the number of rooms on the longest path
that starts there and follows arrows. So the rooms of floor 1 import no other room.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "mezzotint"
PAGE, BEFORE = "rooms.md", "rooms-before.json"

# From the top: a room may import only from the rooms of lower lines.
LAYERS = """
api cli
paper doctor ui
run pages tuning
evaluation
pipeline
config
trainer interop data metrics
diffusion networks storage
strict drawing
processes
devices
errors
"""
LAYER = {room: -i for i, line in enumerate(LAYERS.split("\n")) for room in line.split()}


@dataclass(frozen=True)
class Room:
    """A room: its purpose, the length of its code, and the rooms that it imports from."""

    purpose: str
    lines: int
    imports: tuple[str, ...]


def imported(path: Path) -> set[str]:
    """Return the rooms that a file imports from, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("mezzotint.")}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                sys.exit(f"{path}:{node.lineno} is a relative import: write it from mezzotint on")
            if node.module == "mezzotint":
                names |= {alias.name for alias in node.names}
            elif node.module and node.module.startswith("mezzotint."):
                names.add(node.module.split(".")[1])
    return names


def files(package: Path = PACKAGE) -> list[Path]:
    """Return the files of all rooms: all except the package's ``__init__`` and ``__main__``."""
    inside = package.rglob("*.py")
    return sorted(p for p in inside if p.parent != package or not p.stem.startswith("__"))


def room_of(path: Path, package: Path = PACKAGE) -> str:
    """Return the room of a file."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def rooms(package: Path = PACKAGE) -> dict[str, Room]:
    """Return all rooms by name."""
    found: dict[str, list[Path]] = {}
    for path in files(package):
        found.setdefault(room_of(path, package), []).append(path)
    return {
        name: Room(
            purpose(min(paths, key=lambda path: (path.stem != "__init__", path))),
            sum(len(path.read_text().splitlines()) for path in paths),
            tuple(sorted({n for p in paths for n in imported(p)} & set(found) - {name})),
        )
        for name, paths in found.items()
    }


def purpose(path: Path) -> str:
    """Return the first line of the docstring of a file."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]


def floors(house: Mapping[str, Room]) -> dict[str, int]:
    """Return the floor of each room, from 1. Exit with one line if imports form a circle."""
    found: dict[str, int] = {}

    def floor(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            sys.exit(f"the imports go round in a circle: {' -> '.join([*above, name])}")
        if name not in found:
            below = [floor(other, (*above, name)) for other in house[name].imports]
            found[name] = 1 + max(below, default=0)
        return found[name]

    for name in house:
        floor(name)
    return found


def by_floor(house: Mapping[str, Room], floor: Mapping[str, int]) -> list[list[str]]:
    """Return the rooms of each floor, from the top."""
    return [[n for n in house if floor[n] == i] for i in sorted({*floor.values()}, reverse=True)]


def upward(house: Mapping[str, Room], layer: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the arrows that lead to a room of the same layer or a higher one."""
    return [(a, b) for a in house for b in house[a].imports if layer[b] >= layer[a]]


def totals(house: Mapping[str, Room]) -> dict[str, int]:
    """Count rooms, floors, arrows and lines."""
    return {
        "rooms": len(house),
        "floors": max(floors(house).values()),
        "arrows": sum(len(room.imports) for room in house.values()),
        "lines": sum(room.lines for room in house.values()),
    }


def table(house: Mapping[str, Room], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table of the rooms, in the order of the rows."""
    yield "| layer | room | what it is for | lines | imports |"
    yield "|---|---|---|---|---|"
    for number, names in enumerate(rows, 1):
        for name in names:
            room = house[name]
            imports = ", ".join(room.imports) or "none"
            yield f"| {number} | `{name}` | {room.purpose} | {room.lines:,} | {imports} |"


def page(house: Mapping[str, Room], before: Mapping[str, Room]) -> str:
    """Return the text of docs/rooms.md."""
    now, was = totals(house), totals(before)
    return "\n".join(
        [
            "# The rooms",
            "",
            "`python docs/rooms.py` makes this page and its images from the imports in the source.",
            "A room is a package or a module directly in `src/mezzotint`. An arrow leads from a",
            "room to each room that it imports from. Rooms import only from lower layers;",
            "`tests/test_imports.py` checks this. The move is the change that made the layers.",
            "",
            "| | now | before the move |",
            "|---|---|---|",
            *(f"| {name} | {now[name]:,} | {was[name]:,} |" for name in now),
            f"| arrows to the same or a higher layer | {len(upward(house, LAYER))} | no layers |",
            "",
            "The number of floors is the number of rooms on the longest path that follows arrows.",
            "",
            "## Now",
            "",
            "![The rooms by layer, with an arrow for each import](rooms.svg)",
            "",
            *table(house, (line.split() for line in LAYERS.strip().split("\n"))),
            "",
            "## Before the move",
            "",
            "This is commit 29977ce. The rooms had no layers, so the row of a room here is its",
            "floor: the number of rooms on the longest path of imports from there.",
            "",
            "![The rooms before the move, by floor](rooms-before.svg)",
            "",
        ]
    )


def draw(house: Mapping[str, Room], rows: list[list[str]], path: Path) -> None:
    """Draw rooms as boxes in rows, from the top, and imports as lines between them."""
    import matplotlib

    matplotlib.rcParams.update({"svg.hashsalt": "rooms", "font.size": 9})
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    place = _places(house, rows)
    step = 0.62
    figure = Figure(figsize=(5.4, step * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 5.4), ylim=(-step * len(rows) + step / 2, step / 2))
    axes.axis("off")
    at = {name: (x * 5.4, -step * row) for name, (x, row) in place.items()}
    for name, room in house.items():
        for other in room.imports:
            (x, y), (u, v) = at[name], at[other]
            flat, up = y == v, v > y
            axes.add_patch(
                FancyArrowPatch(
                    (x, y if flat else y - 0.12 + 0.24 * up),
                    (u, v if flat else v + 0.12 - 0.24 * up),
                    arrowstyle="-|>",
                    mutation_scale=5,
                    connectionstyle=f"arc3,rad={0.04 if u >= x else -0.04}",
                    linewidth=0.5,
                    color="firebrick" if flat or up else "steelblue",
                    alpha=0.45,
                    zorder=1,
                )
            )
    for name, (x, y) in at.items():
        half = 0.036 * len(name) + 0.08
        box = FancyBboxPatch(
            (x - half, y - 0.09),
            *(2 * half, 0.18),
            boxstyle="round,pad=0.03",
            facecolor="white",
            edgecolor="black",
            linewidth=0.6,
            zorder=2,
        )
        axes.add_patch(box)
        axes.text(x, y, name, ha="center", va="center", zorder=3)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {}, dpi=220)


def _places(house: Mapping[str, Room], rows: list[list[str]]) -> dict[str, tuple[float, int]]:
    """Place each room in its row, if possible below the mean place of its importers."""
    place: dict[str, tuple[float, int]] = {}
    for row, names in enumerate(rows):
        wish = {
            name: [place[other][0] for other in place if name in house[other].imports]
            for name in names
        }
        order = sorted(names, key=lambda n: (sum(wish[n]) / len(wish[n]) if wish[n] else 0.5, n))
        widths = [len(name) + 4 for name in order]
        gap, left = 1.0, 0.0
        total = sum(widths) + gap * len(widths)
        for name, width in zip(order, widths, strict=True):
            place[name] = ((left + (width + gap) / 2) / total, row)
            left += width + gap
    return place


def main(arguments: list[str], docs: Path = ROOT / "docs") -> None:
    if arguments[:1] == ["--before"] and len(arguments) == 2:
        kept = {name: asdict(room) for name, room in rooms(Path(arguments[1])).items()}
        (docs / BEFORE).write_text(json.dumps(kept, indent=1) + "\n")
        return
    house = rooms()
    before = {
        name: Room(room["purpose"], room["lines"], tuple(room["imports"]))
        for name, room in json.loads((docs / BEFORE).read_text()).items()
    }
    now = page(house, before)
    if arguments == ["--check"]:
        if without_lines(now) != without_lines((docs / PAGE).read_text()):
            sys.exit("docs/rooms.md is not what the imports say: run python docs/rooms.py")
    elif arguments:
        sys.exit("usage: python docs/rooms.py [--check | --before FOLDER]")
    else:
        (docs / PAGE).write_text(now)
        draw(house, [line.split() for line in LAYERS.strip().split("\n")], docs / "rooms.svg")
        draw(before, by_floor(before, floors(before)), docs / "rooms-before.svg")


def without_lines(text: str) -> str:
    """Return a page without the numbers of lines, which change with every edit."""
    text = re.sub(r"^\| lines \| [\d,]+ ", "| lines | ", text, flags=re.MULTILINE)
    return re.sub(r"\| [\d,]+ \| ([a-z]+(?:, [a-z]+)*) \|$", r"| \1 |", text, flags=re.MULTILINE)


if __name__ == "__main__":
    main(sys.argv[1:])
