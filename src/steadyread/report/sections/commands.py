"""What to type next."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from steadyread.report.items import Command, Item
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets


@section("The next command", of=Plain, order=390)
def next_command(plain: Plain) -> Iterator[Item]:
    """To harden what is not hardened, and to refer more or fewer reads."""
    run = folder_said(plain.run.folder)
    if plain.hardening is None and plain.flips["searched"]:
        images = "" if plain.summary["training"] else " --data TRAINING_IMAGES"
        yield Command(f"steadyread harden {run}{images}", "Harden the network, and compare it on the same images:")
    if plain.referral is not None:
        yield Command(f"steadyread triage {run} --withhold 0.1", "Refer another share of the reads:")


@section("The next command", of=Sets, order=390)
def next_of_sets(sets: Sets) -> Iterator[Item]:
    """To harden the first set that is not hardened."""
    name = next((name for name, each in sets.each.items() if each["hardening"] is None), None)
    if name is not None:
        run = folder_said(sets.stored.folder / name, 2)
        yield Command(f"steadyread harden {run}", f"Harden the network of {sets.each[name]['title']}:")


@section("The next command", of=Noise, order=395)
def next_under_noise(noise: Noise) -> Iterator[Item]:
    """To look at what the network goes by."""
    if not noise.summary.get("seeing") and noise.folder is not None:
        yield Command(f"steadyread explain {folder_said(noise.folder)}",
                      "See what the network looks at, with noise and without:")


def folder_said(folder: Path, last: int = 1) -> str:
    """A run's folder as a command takes it: its own name, which the page may tell, and runs/ before it."""
    parts = folder.resolve().parts
    at = -last - 1 if len(parts) > last + 1 and parts[-last - 1] == "runs" else -last
    return shlex.quote("/".join(parts[at:]))
