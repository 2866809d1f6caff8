"""What to type next."""

from collections.abc import Iterator
from pathlib import Path

from steadyread.report.items import Command, Item
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.words.commands import harden_command, triage_command

_HARDEN = "Harden the network, and compare it on the same images:"


@section("The next command", of=Plain, order=390)
def next_command(plain: Plain) -> Iterator[Item]:
    """To harden what is not hardened, and to refer more or fewer reads."""
    run = named(plain.run.folder)
    triage = triage_command(plain.summary, run, " --withhold 0.1") if plain.referral is not None else ""
    yield from (Command(text, says) for text, says in (
        (harden_command(plain.summary, run), _HARDEN), (triage, "Refer another share of the reads:")) if text)


@section("The next command", of=Sets, order=390)
def next_of_sets(sets: Sets) -> Iterator[Item]:
    """To harden the first set that is not hardened."""
    for name, each in sets.each.items():
        if text := harden_command(each, named(sets.stored.folder / name, 2)):
            yield Command(text, f"Harden the network of {each['title']}, and compare it on the same images:")
            return


@section("The next command", of=Noise, order=395)
def next_under_noise(noise: Noise) -> Iterator[Item]:
    """To harden what is not hardened, and to look at what the network goes by."""
    if noise.folder is not None:
        run = named(noise.folder)
        seen = "" if noise.summary.get("seeing") else f"steadyread explain {run}"
        yield from (Command(text, says) for text, says in ((harden_command(noise.summary, run), _HARDEN), (
            seen, "See what the network looks at, with noise and without:")) if text)


def named(folder: Path, last: int = 1) -> str:
    """A run's folder as a command takes it: its own name, which the page may tell, and runs/ before it."""
    parts = folder.resolve().parts
    return "/".join(parts[-last - 1:] if len(parts) > last + 1 and parts[-last - 1] == "runs" else parts[-last:])
