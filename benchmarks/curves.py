"""Draw the figures in the log of a training against the images seen.

python benchmarks/curves.py RUN --out curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mezzotint.drawing.curves import Panel, draw
from mezzotint.storage.log import read

NOT_DRAWN = {"step", "images", "lr", "images_per_second", "figure", "how"}


def panels(log: Path) -> list[Panel]:
    """Return a panel for each figure in the log; the measured distance is the last."""
    rows = read(log)
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name in row.keys() - NOT_DRAWN:
            lines.setdefault(name, []).append((row["images"], row[name]))
    series = {name: lines[name] for name in sorted(lines) if len(lines[name]) > 1}
    found = [Panel({name: series[name]}, "images", name, log_y=True) for name in series]
    if points := [(row["images"], row["figure"]["value"]) for row in rows if "figure" in row]:
        name = next(row["figure"]["name"] for row in rows if "figure" in row)
        found.append(Panel({name: points}, "images", name, log_y=True))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    draw(panels(given.run / "log.jsonl"), given.out)


if __name__ == "__main__":
    main()
