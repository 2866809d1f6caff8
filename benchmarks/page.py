"""docs/benchmarks.md from the tables that were measured."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.setup import Setup
from benchmarks.table import Part, Table

IMAGES = "images"     # beside the page, where its charts stand
TRIED = Path(__file__).with_name("tried.md")
HEAD = (
    "Written by `make bench`, which sets up an environment of its own with the other libraries and measures "
    "everything side by side. Times of a CPU are ratios of processor seconds in alternating runs, each round in an "
    "order drawn anew: the median of the rounds, and in brackets the lowest and highest round. Passes are counted "
    "inside the network, alike for all. The other libraries are given what most of them ask for: images of 0 to 1 "
    "and one logit a class; steadyread has the images in their own units and the network's own head. All holds for "
    "these networks (two architectures, narrow, trained here), this data and one thread.")
PEERS = ("adversarial-robustness-toolbox", "heart-library", "foolbox", "torchattacks", "adv-lib", "autoattack",
         "secml-torch")


def about(setup: Setup) -> dict[str, Any]:
    """The machine, the versions and the day, as they stand above a table."""
    return {"date": date.today().isoformat(), "processor": _processor(),
            "device": torch.cuda.get_device_name(setup.device) if setup.device.type == "cuda" else "CPU",
            "python": platform.python_version(), "torch": torch.__version__, "commit": _commit(),
            "rounds": setup.rounds, "threads": setup.threads, "quick": setup.quick,
            "versions": {name: _version(name) for name in PEERS}}


def page(measured: Sequence[tuple[Table, dict[str, Any]]], lost: Sequence[str] | None) -> str:
    """The whole page, in Markdown. `lost` is what got worse, None where nothing is recorded yet."""
    return "\n".join([*_head(measured, lost), *(line for table, told in measured for line in _section(table, told)),
                      "", TRIED.read_text().rstrip(), ""])


def _head(measured: Sequence[tuple[Table, dict[str, Any]]], lost: Sequence[str] | None) -> Iterator[str]:
    told = measured[-1][1]
    yield "# Benchmarks"
    yield ""
    yield HEAD
    yield ""
    yield (f"{told['date']}, {told['processor']}, {told['device']}, {told['threads']} thread(s), Python "
           f"{told['python']}, torch {told['torch']}, commit {told['commit']}; "
           + ", ".join(f"{name} {version}" for name, version in told["versions"].items()) + ".")
    if any(each["quick"] for _, each in measured):
        yield ""
        yield "**Some tables are of a quick trial (`--quick`): far too small to conclude anything from.**"
    yield ""
    yield "## Goals"
    yield ""
    yield from _markdown(Part("", ("aim", "found", ""), tuple(
        (goal.aim, goal.found, {True: "met", False: "**missed**", None: "not told"}[goal.met])
        for table, _ in measured for goal in table.goals)))
    yield ""
    yield _against(lost)


def _against(lost: Sequence[str] | None) -> str:
    if lost is None:
        return "No run is recorded yet that this one could be held against (`--record`)."
    if lost:
        return f"More than 15 % worse than the recorded run, or gone: {'; '.join(lost)}."
    return "Nothing is more than 15 % worse than the recorded run (`benchmarks/recorded.json`)."


def _section(table: Table, told: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"## {table.title}"
    for paragraph in table.told:
        yield ""
        yield paragraph
    if table.missing:
        yield ""
        yield f"Not measured: {table.missing}."
    for chart in table.drawn:
        yield ""
        yield f"![{chart.caption}]({IMAGES}/{chart.name}.svg)"
    for part in table.parts:
        yield ""
        if part.caption:
            yield f"**{part.caption}**"
            yield ""
        yield from _markdown(part)
    yield ""
    yield (f"<sub>`make bench ARGS='--tables {table.key}'`, {told['date']}, {told['rounds']} rounds, "
           f"{told['threads']} thread(s), {told['device']}, commit {told['commit']}.</sub>")


def _markdown(part: Part) -> Iterator[str]:
    yield _row(part.columns)
    yield _row("---" for _ in part.columns)
    for row in part.rows:
        yield _row(cell.replace("|", "\\|") for cell in row)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.machine())


def _commit() -> str:
    """What was measured; the page itself and the record, which a run writes, do not make it another."""
    here = Path(__file__).resolve().parents[1]
    asked = subprocess.run(["git", "describe", "--always"], cwd=here, capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain", "src", "studies", "benchmarks/*.py"], cwd=here,
                             capture_output=True, text=True, check=False)
    return (asked.stdout.strip() or "unknown") + (" and changes" if changed.stdout.strip() else "")
