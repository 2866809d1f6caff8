"""Attacks of a given size: what a library adds to the passes, and what it flips with as many."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.clock import Counted, Ratio, interleaved, ratio
from benchmarks.libraries import shortened
from benchmarks.peers import ATTACKS, BARE, TELLS, Attack
from benchmarks.setup import Setup
from benchmarks.subjects import STAGES, Subject, subjects
from benchmarks.success import flipped_within
from benchmarks.table import Goal, Part, Table
from steadyread import attack
from steadyread.attacks.recipe import Recipe
from steadyread.attacks.recipes.apgd import apgd
from steadyread.attacks.recipes.bim import bim
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.search import Search
from steadyread.convolutions import channels_last
from steadyread.threats import Linf

STEPS = {"fgsm": 1, "bim": 10, "pgd": 10, "apgd": 30}
OURS, USED, LAST = "steadyread", "steadyread, as it is used", "bare torch loop, channels last"
TITLE = "Attacks of a given size"
ALLOWED = 1.05   # times the bare loop
EQUAL = ("fgsm", "bim", "pgd")   # at equal passes; of APGD flipped images leave ours
AT_ONCE = {"fgsm": 5}   # times in one turn: once is over in milliseconds
# Sizes of hardened networks, as a multiple of those of plain ones, at which some reads flip and some do not.
HARDENED = 4.0
ORDER = (BARE, LAST, OURS, USED, *(name for name in ATTACKS if name != BARE))
TOLD = (
    "Every attack ends with knowing which reads have flipped: where a library returns images alone, one forward "
    "pass over them is added, as to the bare loop. FGSM is one step of epsilon, BIM 10 steps of epsilon / 10 from "
    "the image, PGD 10 steps of epsilon / 4 from one random start, APGD 30 steps from one random start; all climb "
    "the cross-entropy, on all images in one batch, and the parameters need no gradient, which spares the "
    "libraries that call `backward()` some work.",
    "The row *steadyread* does the same passes as the others (no image leaves early, except in APGD, which has no "
    "such switch); *as it is used* climbs the margin, and flipped images leave the batch. secml-torch's FGSM is "
    "foolbox's, called through it; adv-lib has none; foolbox and secml-torch have no APGD. adv-lib's PGD and "
    "secml-torch's do not look at the image that their last step makes. For APGD the bare loop is PGD of 30 steps.",
    "On a CPU steadyread lays the weights of convolutions out with their channels last while it attacks. *Bare "
    "torch loop, channels last* is the bare loop with that done by hand: beside it stands what steadyread adds to "
    "the passes.",
    "The ratio is to the bare loop, over all rounds of all networks. *Flipped* is the share of {images} images, "
    "all read right to begin with, that the network reads as another class in what the library returned, within "
    "epsilon, judged alike for all by the network as it comes; the mean over the rounds, each from another random "
    "start. FGSM is done five times in a turn: once is over in milliseconds. Epsilon is "
    "{sizes} of the range for the plain networks and {times:g} times that for the hardened ones.",
)


@dataclass(frozen=True)
class Run:
    """One library's attack on one network: seconds of each round, passes per image, the share flipped."""

    seconds: tuple[float, ...]
    forwards: float
    backwards: float
    flipped: float


@dataclass(frozen=True, eq=False)
class Contest:
    """One attack on one network by everyone. `said` holds why somebody has no run."""

    attack: str
    subject: Subject
    runs: dict[str, Run]
    said: dict[str, str]

    def ratios(self, name: str, other: str = BARE) -> list[float]:
        """Seconds of one library over another's, round by round."""
        mine, theirs = self.runs.get(name), self.runs.get(other)
        if mine is None or theirs is None:
            return []
        return [one / two for one, two in zip(mine.seconds, theirs.seconds, strict=True)]


class _Contestant:
    """A library's attack: each call of `work`, which is what is timed, does the next of its starts.

    What it raises is kept in `failed`, and it is not run again. `images` are what each start returned.
    """

    def __init__(self, counted: Counted, starts: list[Attack], look: bool, laid: bool = False, times: int = 1
                 ) -> None:
        self.counted, self.starts, self.look, self.times = counted, starts, look, times
        self.layout = channels_last if laid else nullcontext
        self.images: list[Tensor] = []
        self.failed = ""

    def work(self) -> None:
        """The attack, to knowing which reads have flipped."""
        if self.failed:
            return
        try:
            with self.layout(self.counted):
                for _ in range(self.times):
                    attacked = self.starts[len(self.images)]()
                    if self.look:
                        with torch.no_grad():
                            self.counted(attacked).argmax(1)
            self.images.append(attacked)
        except Exception as failed:
            self.failed = shortened(failed)


def measure(setup: Setup) -> Table:
    """Every attack of every library on every network."""
    images = setup.of(32, 4)
    stages = STAGES[:1] if setup.quick else STAGES
    contests = [contest(each, one, setup) for one in subjects(setup, images, stages=stages) for each in STEPS]
    if not contests:
        return Table("fixed_size", TITLE, (), missing="none of the data sets is there")
    sizes = {one.subject.recipe.title.split(",")[0]: one.subject.recipe.attacked_at for one in contests}
    told = (*TOLD[:3], TOLD[3].format(sizes=", ".join(f"{size:g} ({name})" for name, size in sizes.items()),
                                      images=images, times=HARDENED))
    return Table("fixed_size", TITLE, told, tuple(part(contests, each) for each in STEPS),
                 tuple(goals(contests)), guarded(contests))


def contest(attack_name: str, subject: Subject, setup: Setup) -> Contest:
    """Everyone's turn at one network, in alternating rounds."""
    turns = setup.rounds + 1
    entered = {OURS: _ours(subject, _equal(attack_name, _native(subject)), turns, attack_name),
               USED: _ours(subject, _as_used(attack_name, _native(subject)), turns, attack_name)}
    said = {}
    for name, offered in ATTACKS.items():
        if attack_name not in offered:
            continue
        try:
            entered[name] = _theirs(name, attack_name, subject, turns)
            if name == BARE:
                entered[LAST] = _theirs(BARE, attack_name, subject, turns, laid=True)
        except Exception as failed:
            said[name] = shortened(failed)
    times = interleaved({name: one.work for name, one in entered.items()}, setup.rounds, setup.device)
    said |= {name: one.failed for name, one in entered.items() if one.failed}
    each = turns * len(subject.images) * AT_ONCE.get(attack_name, 1)
    return Contest(attack_name, subject, {
        name: Run(tuple(times[name]), one.counted.forwards / each, one.counted.backwards / each,
                  _flipped(name, one, subject)) for name, one in entered.items() if not one.failed}, said)


def _theirs(name: str, attack_name: str, subject: Subject, turns: int, laid: bool = False) -> _Contestant:
    # in evaluation mode itself: a library that finds it training would put the whole network there
    counted = Counted(subject.unit_network()).eval()
    starts = [ATTACKS[name][attack_name](counted, subject.unit_images(), subject.reference, size_of(subject),
                                         STEPS[attack_name], seed) for seed in range(turns)]
    counted.reset()   # some look at the network when they are made
    return _Contestant(counted, starts, name not in TELLS, laid, AT_ONCE.get(attack_name, 1))


def _ours(subject: Subject, recipe: Callable[..., object], turns: int, attack_name: str) -> _Contestant:
    counted = Counted(subject.classifier.module).eval()
    classifier = replace(subject.classifier, module=counted)

    def start(seed: int) -> Attack:
        return lambda: attack(classifier, subject.images, subject.reference, recipe, seed).images

    return _Contestant(counted, [start(seed) for seed in range(turns)], look=False,
                       times=AT_ONCE.get(attack_name, 1))


def size_of(subject: Subject) -> float:
    """Epsilon, a share of the range."""
    return subject.recipe.attacked_at * (HARDENED if subject.stage == "hardened" else 1.0)


def _native(subject: Subject) -> float:
    return size_of(subject) * subject.range


def _equal(name: str, epsilon: float) -> Callable[..., object]:
    if name == "apgd":
        return apgd(epsilon, STEPS[name], loss="cross_entropy")
    step = {"fgsm": 1.0, "bim": 1 / STEPS["bim"], "pgd": 0.25}[name]
    return Recipe(name, Linf(epsilon), Search(STEPS[name], step, random_start=name == "pgd", stop_at_flip=False,
                                              loss="cross_entropy"))


def _as_used(name: str, epsilon: float) -> Callable[..., object]:
    return {"fgsm": fgsm(epsilon), "bim": bim(epsilon), "pgd": pgd(epsilon, restarts=1),
            "apgd": apgd(epsilon, STEPS["apgd"])}[name]


def _flipped(name: str, one: _Contestant, subject: Subject) -> float:
    """The share over all starts, judged in the units that the library had."""
    if name in (OURS, USED):
        bounds = subject.classifier.valid
        subject.classifier.module.eval()   # and in its own layout, as a user would read them again
        with torch.no_grad():
            found = [flipped_within(subject.classifier.logits, subject.images, images, subject.reference,
                                    _native(subject), (bounds.low, bounds.high)) for images in one.images]
    else:
        found = [flipped_within(subject.unit_network(), subject.unit_images(), images, subject.reference,
                                size_of(subject)) for images in one.images]
    return float(torch.cat(found).float().mean())


def part(contests: list[Contest], attack_name: str) -> Part:
    """Of one attack: a row a library."""
    mine = [one for one in contests if one.attack == attack_name]
    columns = ("", "passes, forward + backward", "ratio to the bare loop",
               *(f"flipped: {one.subject.recipe.key}, {one.subject.stage}" for one in mine))
    return Part(attack_name.upper(), columns, tuple(_row(mine, name) for name in ORDER if _any(mine, name)))


def _any(contests: list[Contest], name: str) -> bool:
    return any(name in one.runs or name in one.said for one in contests)


def _row(contests: list[Contest], name: str) -> tuple[str, ...]:
    runs = [one.runs[name] for one in contests if name in one.runs]
    passes = f"{_span(run.forwards for run in runs)} + {_span(run.backwards for run in runs)}" if runs else "–"
    cells = [f"{one.runs[name].flipped:.0%}" if name in one.runs else one.said.get(name, "–") for one in contests]
    return name, passes, str(over_all(contests, name) or "–"), *cells


def _span(values: Iterable[float]) -> str:
    ordered = sorted(round(value, 1) for value in values)
    return f"{ordered[0]:g}" if ordered[0] == ordered[-1] else f"{ordered[0]:g} to {ordered[-1]:g}"


def over_all(contests: Iterable[Contest], name: str, other: str = BARE) -> Ratio | None:
    """Over all rounds of all networks on which both ran."""
    each = [value for one in contests for value in one.ratios(name, other)]
    return ratio(each, [1.0] * len(each)) if each else None


def goals(contests: list[Contest]) -> Iterator[Goal]:
    """What was aimed at and what came of it, on every network by itself."""
    mine = [one for one in contests if one.attack in EQUAL]
    for other, aim in (
            (BARE, f"FGSM, BIM and PGD cost at most {ALLOWED} times a bare torch loop of the same passes"),
            (LAST, f"and {ALLOWED} times one in the same layout of memory")):
        costs = {one: found.median for one in mine if (found := over_all([one], OURS, other)) is not None}
        over = sorted((one for one in costs if not costs[one] <= ALLOWED), key=lambda one: -costs[one])
        yield Goal(aim, bool(costs) and not over,
                   f"{len(costs) - len(over)} of {len(costs)} attacks on networks; "
                   + (", ".join(f"{_named(one)} {costs[one]:.2f}" for one in over)
                      or f"at most {max(costs.values(), default=0):.2f}"))
    fought = [(one, peer, found.median) for one in mine for peer in _peers([one])
              if (found := over_all([one], peer, OURS)) is not None]
    faster = [(one, peer, share) for one, peer, share in fought if not share > 1]
    yield Goal("FGSM, BIM and PGD faster than by any other library, at equal passes, on every network",
               bool(fought) and not faster, f"in {len(fought) - len(faster)} of {len(fought)} comparisons"
               + "".join(f"; {peer} takes {share:.2f} of our time, {_named(one)}" for one, peer, share in faster))
    behind = [f"{name.upper()}: {peer} {theirs:.1%}, steadyread {ours:.1%}" for name in EQUAL
              for peer in _peers([one for one in mine if one.attack == name])
              for ours, theirs in [_shares([one for one in mine if one.attack == name], peer)] if theirs > ours]
    yield Goal("FGSM, BIM and PGD flip at least as many reads as by any other library, at equal passes, over all "
               "networks", bool(fought) and not behind, "; ".join(behind) or "in all three")


def _named(one: Contest) -> str:
    return f"{one.attack.upper()} on {one.subject.recipe.key} {one.subject.stage}"


def _shares(contests: list[Contest], peer: str) -> tuple[float, float]:
    """What we flip and what they flip, over the networks that they can attack."""
    both = [(one.runs[OURS].flipped, one.runs[peer].flipped) for one in contests if peer in one.runs]
    return statistics.fmean(mine for mine, _ in both), statistics.fmean(theirs for _, theirs in both)


def _peers(contests: list[Contest]) -> list[str]:
    return [name for name in ATTACKS if name != BARE and any(name in one.runs for one in contests)]


def guarded(contests: list[Contest]) -> dict[str, float]:
    """Times beside the bare loop, and passes beside those of an attack that no image leaves early."""
    found = {}
    for name in STEPS:
        mine = [one for one in contests if one.attack == name]
        if (cost := over_all(mine, OURS)) is not None:
            found[f"{name.upper()}, time beside the bare loop"] = cost.median
        found[f"{name.upper()} as it is used, passes beside the bare loop"] = statistics.median(
            (one.runs[USED].forwards + one.runs[USED].backwards)
            / (one.runs[BARE].forwards + one.runs[BARE].backwards) for one in mine)
    return found
