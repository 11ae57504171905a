"""Copy tables from docs/results to README.md.

    python docs/readme.py            write the tables
    python docs/readme.py --check    exit with code 1 if a table is not up to date

A block of README.md begins with the line `<!-- from docs/results/FILE.md: NAME -->` and ends with
the line `<!-- end -->`. It holds the table below `<!-- table: NAME -->` in that file, up to a blank
line.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def filled(readme: str, root: Path) -> str:
    """Fill all blocks of a text; exit with one line if a block cannot be filled."""
    start, *blocks = re.split(r"^<!-- from (\S+): (.+) -->$", readme, flags=re.MULTILINE)
    for file, name, rest in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        _, end, after = rest.partition("\n<!-- end -->")
        if not end:
            sys.exit(f"README.md: the block {file}: {name} is not closed: add <!-- end -->")
        start += f"<!-- from {file}: {name} -->\n{table(root / file, name)}{end}{after}"
    return start


def table(path: Path, name: str) -> str:
    """Return the table with a name in a file of results; exit with one line if there is none."""
    if not path.is_file():
        sys.exit(f"there is no {path}: correct the block of README.md")
    _, *after = path.read_text().split(f"<!-- table: {name} -->\n")
    if len(after) != 1 or not after[0].startswith("|"):
        sys.exit(f"{path}: put <!-- table: {name} --> above one table, on a line of its own")
    return after[0].split("\n\n")[0].rstrip("\n")


def main(arguments: list[str], root: Path = ROOT) -> None:
    path = root / "README.md"
    was = path.read_text()
    now = filled(was, root)
    if arguments == ["--check"]:
        if now != was:
            sys.exit("README.md differs from docs/results: run python docs/readme.py")
    elif arguments:
        sys.exit("usage: python docs/readme.py [--check]")
    else:
        path.write_text(now)


if __name__ == "__main__":
    main(sys.argv[1:])
