"""Damage runs, models, data and caches at random, and check how the commands react.

    python benchmarks/fuzz.py --acts 1000 --seed 0 --out /tmp/fuzz

Each act copies a small trained run with its data, its cache and a saved model. It damages the copy,
and calls a command in its own process. Files are emptied, cut, overwritten, exchanged, removed, or
replaced by folders, links and pipes. JSON gets values of other types. Checksums are updated to
match the damaged files. Trainings are killed, or the size of their files is limited.

The command must end with one line and exit code 2, or with a right result: the samples of a
checkpoint, or the bits of a training that was not interrupted. A traceback, a second line, a hang,
too much memory and any other result are failures. Act i depends only on the seed and i, so
``--first i --acts 1`` repeats it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds that a command may take
MEMORY = 3 << 30  # bytes that a command may use
VALUES = [None, True, -1, 0, 1.5, "", "x", "../..", "\ud800", [], {}, [[]], {"a": 1}, float("nan")]


@dataclass
class Act:
    """The damage and the outcome of one act."""

    number: int
    spoilt: str
    command: str
    outcome: str = ""
    problems: list[str] = field(default_factory=list)


# Ways to damage a file.


def overwrite(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 8, 64))):
        if content:
            content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size + 1)])


def lengthen(path: Path, draw: random.Random) -> None:
    with path.open("ab") as file:
        file.write(draw.randbytes(draw.choice((1, 100, 100_000))))


def empty(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()


def folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to(draw.choice(("nowhere", path.name, "/dev/null", "..")))


def pipe(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def exchange(path: Path, draw: random.Random) -> None:
    others = [p for p in path.parents[1].rglob("*") if p.is_file() and p != path]
    other = draw.choice(others)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def lose_folder(path: Path, draw: random.Random) -> None:
    shutil.rmtree(path.parent)


def deepen(path: Path, draw: random.Random) -> None:
    path.write_text(100_000 * draw.choice(("[", '{"a":')))


def retype(path: Path, draw: random.Random) -> None:
    """Change the type of a random value in a JSON file."""
    try:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        at = draw.randrange(len(lines))
        content = json.loads(lines[at])
    except (ValueError, RecursionError):  # it is already damaged
        return overwrite(path, draw)
    place = content
    while isinstance(place, dict | list) and place:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not (isinstance(place[key], dict | list) and place[key]) or draw.random() < 0.2:
            place[key] = draw.choice(VALUES)
            break
        place = place[key]
    path.write_text("\n".join([*lines[:at], json.dumps(content), *lines[at + 1 :]]))
    return None


SPOIL: tuple[Callable[[Path, random.Random], None], ...] = (
    *(overwrite, cut, lengthen, empty, remove, folder, link, pipe, exchange, lose_folder, deepen),
    *(retype, retype, retype),
)


def seal(checkpoint: Path) -> None:
    """Update the checksums of a checkpoint to match its files."""
    files = [p for p in checkpoint.iterdir() if p.is_file() and p.name != "manifest.json"]
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    (checkpoint / "manifest.json").write_text(json.dumps({"sha256": sums}))


def spoil(home: Path, draw: random.Random) -> tuple[str, bool]:
    """Damage one to three files; return the damage, and whether checksums were updated."""
    said, sealed = [], False
    place = draw.choice(("run", "run", "run", "run", "model", "data", "data.zip", "cache"))
    for _ in range(draw.choice((1, 1, 2, 3))):
        root = home / place
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        files = [p for p in files if not p.is_symlink()]
        if not files:
            break
        path, how = draw.choice(files), draw.choice(SPOIL)
        if how in (retype, deepen):
            files = [p for p in files if p.suffix in (".json", ".jsonl")]
            if not files:
                continue
            path = draw.choice(files)
        if how is lose_folder and path.parent == home:
            continue
        how(path, draw)
        said.append(f"{how.__name__} {path.relative_to(home)}")
        checkpoint = path.parent
        if (checkpoint / "manifest.json").is_file() and draw.random() < 0.5:
            seal(checkpoint)
            sealed = True
            said.append("sealed")
    return ", ".join(said), sealed


# Commands, each in its own process.


def call(work: Callable[[], int], kill_after: float | None = None) -> tuple[int, str]:
    """Run ``work`` in a fork; return its exit code and its output.

    The output also says if the process hung or took too much memory. The process writes to a pipe,
    because the limit on file sizes does not apply to pipes.
    """
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    if not (child := os.fork()):
        code = 70
        try:
            os.dup2(write, 1)
            os.dup2(write, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            code = work()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    hung = False
    begun, patience = time.monotonic(), PATIENCE if kill_after is None else kill_after
    while True:
        found, status, used = os.wait4(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() - begun > patience:
            os.kill(child, signal.SIGKILL)
            _, status, used = os.wait4(child, 0)
            hung = kill_after is None
            break
        time.sleep(0.005)
    os.close(write)
    with open(read, "rb") as end:
        said = end.read().decode(errors="replace")
    said += "\nit hung\n" * hung
    if used.ru_maxrss * 1024 > MEMORY:
        said += "\nit took too much memory\n"
    return os.waitstatus_to_exitcode(status), said


def command(*arguments: object) -> Callable[[], int]:
    def work() -> int:
        from mezzotint import cli

        cli.main([str(argument) for argument in arguments])
        return 0

    return work


def limited(work: Callable[[], int], size: int) -> Callable[[], int]:
    """Limit the size of the files that a command may write."""

    def small() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return work()

    return small


def judge(act: Act, code: int, said: str) -> None:
    """Check that a command ended with a result or with one line."""
    ours = [line for line in said.splitlines() if line.startswith("mezzotint: ")]
    lines = [line for line in ours if not line.startswith("mezzotint: warning: ")]
    act.outcome = {0: "result", 1: "findings", 2: "one line"}.get(code, f"exit code {code}")
    if "Traceback (most recent call last)" in said:
        act.problems.append("a traceback")
    if code not in (0, 1, 2) or (code == 1 and not act.command.startswith("doctor")):
        act.problems.append(f"exit code {code}")
    if len(lines) != (code == 2):
        act.problems.append(f"{len(lines)} lines")
    act.problems += [words for words in ("it hung", "it took too much memory") if words in said]
    if act.problems:
        act.problems.append(said[-1500:])


# The right results.


def digest(folder: Path, *names: str) -> str:
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()


def trained(run: Path) -> str:
    """Return a digest of the weights of a finished training."""
    names = ("net.safetensors", "ema.safetensors", "optimizer.safetensors")
    return digest(run / "checkpoints" / "step-20", *names)


def sampled(folder: Path) -> str:
    return digest(folder, "000000.png", "000001.png")


SAMPLE = ("-n", 2, "--seed", 3, "--steps", 2)


def build(home: Path) -> int:
    """Train half of a run, which all acts start from, and the whole run, for comparison."""
    import numpy as np
    from PIL import Image

    import mezzotint as mz

    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (home / "data" / name).mkdir(parents=True)
        for i in range(8):
            image = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            image.save(home / "data" / name / f"{i}.png")
    shutil.make_archive(str(home / "data"), "zip", home / "data")
    fields: dict[str, Any] = {
        "data": home / "data",
        "images": 160,
        "batch": 8,
        "channels": (8, 16),
        "blocks": 1,
        "groups": 4,
        "attention": (),
        "patch": 2,
        "warmup": 16,
        "ema_halflife": 100.0,
        "precision": "float32",
        "log_every": 16,
        "save_every": 32,
        "keep": 3,
        "steps": 2,
        "sample_every": 64,
        "snapshots": 32,
    }
    mz.train("glyphs-ddpm", out=home / "whole", progress=False, **fields)
    half = mz.training("glyphs-ddpm", out=home / "run", **fields)
    next(now for now in half if now.images == 64)
    half.close()  # type: ignore[attr-defined]
    mz.load(home / "run").save(home / "model")
    return 0


@dataclass(frozen=True)
class Right:
    """The results of the commands with undamaged files."""

    trained: str
    samples: frozenset[str]


def right(home: Path) -> Right:
    found = set()
    for source in ("run", "run/checkpoints/step-4", "model"):
        out = home.parent / "right" / source.replace("/", "-")
        code, said = call(command("sample", home / source, *SAMPLE, "--out", out))
        assert code == 0, said
        found.add(sampled(out))
    return Right(trained(home / "whole"), frozenset(found))


# Acts.


def perform(number: int, seed: int, template: Path, home: Path, expected: Right) -> Act:
    """Perform one act in a fresh copy of the files."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(template, home, symlinks=True)
    os.environ["MEZZOTINT_CACHE"] = str(home / "cache")
    draw = random.Random(f"{seed} {number}")
    kind = draw.choices(("spoil", "kill", "limit"), (8, 1, 1))[0]
    run = home / "run"
    resume = command("train", "--resume", run)
    if kind == "spoil":
        said, sealed = spoil(home, draw)
        name, words = draw.choice(commands(home))
        act = Act(number, said, name)
        judge(act, *call(command(*words)))
        if act.outcome == "result" and not sealed:
            compare(act, home, expected)
        return act
    act = Act(number, kind, "train")
    if kind == "kill":
        call(resume, kill_after=draw.uniform(0, 2))
    else:
        judge(act, *call(limited(resume, draw.choice((0, 100, 2_000, 20_000, 60_000)))))
    again = Act(number, kind, "train")
    judge(again, *call(resume))
    compare(again, home, expected)
    return Act(number, kind, "train", again.outcome, [*act.problems, *again.problems])


def commands(home: Path) -> list[tuple[str, tuple[object, ...]]]:
    run, out = home / "run", home / "made"
    page = ("--out", home / "page.html", "--samples", 1)
    return [
        *[("sample a run", ("sample", run, *SAMPLE, "--out", out))] * 6,
        *[("sample a model", ("sample", home / "model", *SAMPLE, "--out", out))] * 3,
        *[("train", ("train", "--resume", run))] * 6,
        *[("data", ("data", home / "data")), ("data", ("data", home / "data.zip"))] * 2,
        *[("average", ("average", run, "--length", 0.1))] * 2,
        *[("report", ("report", run, *page))],
        *[("doctor", ("doctor", run, "--samples", 10))],
    ]


def compare(act: Act, home: Path, expected: Right) -> None:
    """Compare a result with the right result."""
    if act.command == "train" and trained(home / "run") != expected.trained:
        act.problems.append("another result of the training")
    if act.command.startswith("sample") and sampled(home / "made") not in expected.samples:
        act.problems.append("other samples")


def table(acts: list[Act]) -> str:
    """Return a table of the outcomes by command, in Markdown."""
    outcomes = sorted({act.outcome for act in acts})
    counts = Counter((act.command, act.outcome) for act in acts)
    rows = [f"| command | acts | {' | '.join(outcomes)} | failures |"]
    rows.append("|---|" + "---|" * (len(outcomes) + 2))
    for name in sorted({act.command for act in acts}):
        mine = [act for act in acts if act.command == name]
        cells = [str(len(mine)), *(str(counts[name, outcome]) for outcome in outcomes)]
        failed = sum(bool(act.problems) for act in mine)
        rows.append(f"| {name} | {' | '.join(cells)} | {failed} |")
    return "\n".join(rows)


def fuzz(numbers: range, seed: int, out: Path) -> list[Act]:
    """Perform acts, print those that fail, and return all of them."""
    import torch
    import torch._dynamo  # import it once, because it would take seconds in every fork

    from mezzotint.pages.samples import SECTIONS

    SECTIONS.clear()  # leaves out the samples of the page, which take seconds
    torch.set_num_threads(1)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    template, done = out / "act", []  # the files contain this path
    os.environ["MEZZOTINT_CACHE"] = str(template / "cache")
    code, said = call(lambda: build(template))
    assert code == 0, said
    expected = right(template)
    template.rename(out / "template")
    for number in numbers:
        act = perform(number, seed, out / "template", out / "act", expected)
        done.append(act)
        if act.problems or len(numbers) == 1:
            print(f"act {number}: {act.spoilt}; {act.command}: {act.outcome}", flush=True)
            print("".join(f"  {problem}\n" for problem in act.problems), end="", flush=True)
        if len(done) % 50 == 0:
            print(f"{len(done)} acts, {sum(bool(a.problems) for a in done)} failures", flush=True)
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="the number of the first act")
    given = parser.parse_args()
    found = fuzz(range(given.first, given.first + given.acts), given.seed, given.out)
    print(table(found))
    sys.exit(any(act.problems for act in found))
