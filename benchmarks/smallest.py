"""The smallest flip of an image: how tight, at how many passes, beside every library that looks for one."""

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.clock import Counted, Ratio, interleaved, ratio, seconds
from benchmarks.libraries import shortened
from benchmarks.minimum_norm import ART_WAY, LOWEST, PAPERS_WAY, Method, grid_of, methods
from benchmarks.setup import Setup
from benchmarks.subjects import Attacked, Subject, subjects
from benchmarks.success import flip_sizes
from benchmarks.table import Goal, Part, Table
from steadyread.attacks.smallest_flip import THOROUGH, Effort, smallest_flip
from steadyread.classifier import Classifier

OURS, OURS_THOROUGH = "steadyread", "steadyread, THOROUGH"
FEWER_PASSES, LESS_TIME = 150, 100     # than [A]'s procedure, which is the aim
MODEST = 32 * 10 * 20 // FEWER_PASSES  # gradients that this leaves
TENTH_FROM = 300                       # gradients per image, from which a peer is held to a tenth of them
USUAL = 35                             # gradients that an image of two classes takes on average
_TRIED = 4                             # efforts, until one comes near what is allowed
LONG = 1.0                             # seconds, above which a method is run once
TOLD = (
    "For each image the smallest change that makes the network say another class: the largest change of any "
    "pixel. Every image is read right to begin with and must lose its class. All methods are judged by one "
    "function: the returned image is clipped to the bounds and read once more, and an image that keeps its class "
    "counts as not flipped, at a size of infinity. The *ratio* of an image is its size over the best of all rows; "
    "a quantile is the smallest ratio that this share of the images does not exceed.",
    "[A]'s procedure is PGD of 10 steps of epsilon / 4 from {starts} random starts at each of {sizes} epsilons, "
    "spaced evenly by ratio from 0.0001 of the range to {grids}; kept is the first epsilon that flips, so its "
    "sizes are as coarse as a grid step, a factor of {factors}. It stops nowhere early and takes {gradients} "
    "gradients per image. How tight it is is judged on those images only that it flips within its grid. The others "
    "run on their own defaults: FMN, DeepFool and FAB (untargeted, and for ten classes also to each of the nine "
    "others; that of torchattacks is auto-attack's code). Only secml-torch's FMN has no default for "
    "the step and gets 0.1, the best of 1, 0.3, 0.1, 0.03 and 0.01 on six lung patches. steadyread's settings "
    "were chosen on validation images of this kind of data, which is to its advantage. APGD of 100 steps is "
    "bisected {halvings} times between 0 and twice the size that steadyread found, which it is given for nothing; "
    "it climbs the cross-entropy where there are two classes and DLR where there are ten. Costly methods run on "
    "the first images only and are compared on those.",
    "Seconds are those of the method over those of steadyread's default on the same images, all passes counted in "
    "both; each method has attacked one image before it is timed. What takes longer "
    "than {long:g} s ran once, between two runs of ours, so its brackets hold two ratios only.",
)


@dataclass(frozen=True, eq=False)
class Row:
    """One method on the first `len(sizes)` images of a subject; sizes are shares of the range."""

    name: str
    sizes: Tensor
    forwards: float = math.nan
    backwards: float = math.nan
    seconds: Ratio | None = None
    said: str = ""     # why there are no sizes


@dataclass(frozen=True, eq=False)
class Duel:
    """A peer beside steadyread with at most `allowed` gradients, on the peer's images."""

    peer: Row
    ours: Row
    allowed: float

    @property
    def images(self) -> Tensor:
        """Which are compared, (n,): of [A]'s procedure, whose grid has an end, those that it flips."""
        flipped = torch.isfinite(self.peer.sizes)
        return flipped if self.peer.name == PAPERS_WAY else torch.ones_like(flipped)


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that was measured on one subject.

    `modest` is steadyread held to what [A]'s goal allows, on its images, `brief` the same on ART's images.
    """

    subject: Subject
    rows: tuple[Row, ...]
    duels: tuple[Duel, ...]
    modest: Row
    yardstick: Tensor = field(repr=False)
    brief: Row | None = None

    @property
    def where(self) -> str:
        """Its name in the goals."""
        return f"{self.subject.recipe.key} {self.subject.stage}"

    def ratios(self, row: Row, images: Tensor | None = None) -> Tensor:
        """To the best of all rows, sorted; of some images, or all."""
        found = row.sizes / self.yardstick[:len(row.sizes)]
        return (found if images is None else found[images]).sort().values

    def row(self, name: str) -> Row | None:
        """The one of that name, if it has sizes."""
        return next((row for row in self.rows if row.name == name and not row.said), None)


def measure(setup: Setup) -> Table:
    """Every method on every subject."""
    stages = ("plain",) if setup.quick else ("plain", "hardened")
    keys = ("lidc", "cifar") if setup.quick else ("lidc", "nodule", "cifar")
    outcomes = [examine(one, setup) for one in subjects(setup, setup.of(24, 2), keys, stages)]
    if not outcomes:
        return Table("smallest", "Smallest flip", (), missing="none of the data sets is there")
    ends = sorted({one.subject.recipe.grid for one in outcomes})
    factors = [f"{(end / LOWEST) ** (1 / (_sizes(setup) - 1)):.2f}" for end in ends]
    second = TOLD[1].format(starts=_starts(setup), sizes=_sizes(setup), factors=" or ".join(factors),
                            grids=" or ".join(f"{end:g}" for end in ends), gradients=_papers_gradients(setup),
                            halvings=setup.of(10, 2))
    told = (TOLD[0], second, TOLD[2].format(long=LONG))
    parts = (*(_part(one) for one in outcomes), _duels(outcomes))
    return Table("smallest", "Smallest flip", told, parts, tuple(_goals(outcomes)), _guarded(outcomes))


def _sizes(setup: Setup) -> int:
    return setup.of(32, 4)


def _starts(setup: Setup) -> int:
    return setup.of(20, 2)


def _papers_gradients(setup: Setup) -> int:
    return _sizes(setup) * 10 * _starts(setup)


def _images(method: Method, setup: Setup) -> int:
    """How many images a method gets: the costlier, the fewer."""
    if method.name == ART_WAY:
        return setup.of(3, 1)
    if method.name == PAPERS_WAY:
        return setup.of(8, 2)
    return setup.of(24, 2) if method.gradients < 500 else setup.of(10, 1)


def examine(subject: Subject, setup: Setup) -> Outcome:
    """Every method on one subject, and steadyread with as few passes as the goals allow."""
    everyone = len(subject.images)
    classes = _classes(subject)
    rows = [ours(subject, Effort(), everyone, OURS)]
    rows.append(ours(subject, THOROUGH, everyone, OURS_THOROUGH, setup))
    grid = grid_of(subject.recipe.grid, _sizes(setup))
    bracket = 2 * torch.minimum(rows[0].sizes, rows[1].sizes)
    peers = [theirs(subject, method, min(_images(method, setup), everyone), setup)
             for method in methods(classes, grid, _starts(setup), bracket, setup.of(1, 5))]
    rows[0] = replace(rows[0], seconds=Ratio(1.0, 1.0, 1.0))
    paper = next(row for row in peers if row.name == PAPERS_WAY)
    modest = within(subject, MODEST, len(paper.sizes) or everyone, setup)     # on the images that both are judged on
    art = next(row for row in peers if row.name == ART_WAY)
    brief = None if art.said else within(subject, MODEST, len(art.sizes), setup)
    duels = tuple(_against(subject, peers, rows[0]))
    seen = [row for row in (*rows, *peers, modest, *(duel.ours for duel in duels)) if not row.said]
    yardstick = torch.stack([_padded(row.sizes, everyone) for row in seen]).amin(0)
    return Outcome(subject, (*rows, modest, *peers), duels, modest, yardstick, brief)


def _padded(sizes: Tensor, count: int) -> Tensor:
    return torch.cat([sizes, torch.full((count - len(sizes),), torch.inf, dtype=sizes.dtype)])


def _classes(subject: Attacked) -> int:
    with torch.no_grad():
        return int(subject.unit_network()(subject.unit_images()[:2]).shape[1])


def ours(subject: Attacked, effort: Effort, count: int, name: str, setup: Setup | None = None) -> Row:
    """steadyread with an effort on the first images, in their own units; timed where there is a setup."""
    classifier, counted = _counted(subject)
    images, reference = subject.images[:count], subject.reference[:count]
    found = smallest_flip(classifier, images, reference, effort=effort).images
    forwards, backwards = counted.forwards / count, counted.backwards / count
    sizes = read_again(subject, found)
    times = None if setup is None else beside(
        subject, lambda: smallest_flip(classifier, images, reference, effort=effort), count, setup)
    return Row(name, sizes.cpu(), forwards, backwards, times)


def read_again(subject: Attacked, found: Tensor) -> Tensor:
    """Sizes of flips of the first images, as shares of the range, read as a user would: not as the search did."""
    subject.classifier.module.eval()
    bounds, count = subject.classifier.valid, len(found)
    sizes = flip_sizes(subject.classifier.logits, subject.images[:count], found, subject.reference[:count],
                       (bounds.low, bounds.high))
    return sizes / bounds.range


def _counted(subject: Attacked) -> tuple[Classifier, Counted]:
    counted = Counted(subject.classifier.module).eval()
    return replace(subject.classifier, module=counted), counted


def theirs(subject: Attacked, method: Method, count: int, setup: Setup | None = None) -> Row:
    """A peer on the first images, in 0 to 1; timed where there is a setup."""
    counted = Counted(subject.unit_network()).eval()
    images, labels = subject.unit_images()[:count], subject.reference[:count]
    held: list[Tensor] = []

    def work() -> None:
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 -- ART draws from it
        counted.reset()
        held[:] = [method.find(counted, images, labels)]

    try:
        if setup is None:
            work()
            times = None
        else:
            (method.warm or method.find)(counted, images[:1], labels[:1])
            times = beside(subject, work, count, setup)
    except Exception as failed:   # a library's own fault goes into its cell
        return Row(method.name, torch.empty(0), said=shortened(failed))
    sizes = flip_sizes(subject.unit_network(), images, held[0], labels)
    return Row(method.name, sizes.cpu(), counted.forwards / count, counted.backwards / count, times)


def beside(subject: Attacked, work: Callable[[], object], count: int, setup: Setup, once: bool = False) -> Ratio:
    """The work's seconds over those of steadyread's default on as many images; what is long is run once."""
    mine = partial(smallest_flip, _counted(subject)[0], subject.images[:count], subject.reference[:count])
    gc.collect()
    before, spent, after = (seconds(each, setup.device) for each in (mine, work, mine))
    if once or spent > LONG or setup.quick:
        return ratio([spent, spent], [before, after])
    found = interleaved({"theirs": work, "ours": mine}, setup.rounds, setup.device)
    return ratio(found["theirs"], found["ours"])


def within(subject: Attacked, gradients: int, count: int, setup: Setup | None = None) -> Row:
    """steadyread with at most so many gradients per image, as counted."""
    asked, best, tried = gradients, None, set[int]()
    while asked not in tried:      # images that settle take fewer than asked for, those that do not more
        tried.add(asked)
        effort = effort_of(asked, _classes(subject))
        found = ours(subject, effort, count, f"steadyread, at most {gradients} gradients")
        if found.backwards <= gradients and (best is None or found.backwards > best[1].backwards):
            best = effort, found
        if (found.backwards <= gradients or asked <= 4) and len(tried) >= _TRIED:
            break
        nearer = int(asked * gradients / max(found.backwards, 1))
        asked = max(2, nearer if found.backwards <= gradients else min(asked - 1, nearer))
    effort, found = best or (effort, found)
    return found if setup is None else ours(subject, effort, count, found.name, setup)


def effort_of(gradients: int, classes: int) -> Effort:
    """The effort that takes so many, shared out as in steadyread's own settings."""
    if classes == 2:
        usual = Effort()
        if gradients >= THOROUGH.steps:
            return replace(THOROUGH, steps=gradients)
        if gradients < USUAL:      # so few are better spent alike: shared out, the first of them find no flip
            return replace(usual, steps=gradients, further=0)
        return replace(usual, steps=round(gradients * usual.steps / USUAL))
    known = [one for one in (Effort(), THOROUGH)
             if one is not THOROUGH or gradients >= one.targets * one.explore + one.refine][-1]
    whole = known.targets * known.explore + known.refine
    explore = max(1, gradients * known.explore // whole)
    return replace(known, explore=explore, refine=max(1, gradients - known.targets * explore),
                   steps=min(known.steps, gradients))


def _against(subject: Subject, peers: Sequence[Row], default: Row) -> Iterator[Duel]:
    """Each peer beside steadyread: at a tenth of its gradients where it takes many, else as it is, if no dearer."""
    known: dict[tuple[int, int], Row] = {}
    for peer in peers:
        if peer.said or peer.name == ART_WAY:   # the bare loop stands for both
            continue
        count = len(peer.sizes)
        if peer.backwards >= TENTH_FROM:
            key = (int(peer.backwards / 10), count)
            if key not in known:
                known[key] = within(subject, *key)
            duel = Duel(peer, known[key], key[0])
            if bool(duel.images.any()):
                yield duel
        elif default.backwards <= peer.backwards:
            yield Duel(peer, replace(default, sizes=default.sizes[:count]), peer.backwards)


def quantile(ordered: Tensor, share: float) -> float:
    """The smallest of the sorted values that this share of them does not exceed; infinity is a value."""
    return float(ordered[max(math.ceil(share * len(ordered) - 1e-9) - 1, 0)])


def _part(one: Outcome) -> Part:
    columns = ("", "images", "forward passes", "backward passes", "seconds / steadyread's", "median ratio",
               "90th percentile", "within 1 %", "not flipped")
    median = float(one.yardstick.median()) * one.subject.range
    caption = (f"{one.subject.name}: median size of the best {median / one.subject.range:.2g} of the range, "
               f"{median:.2g} {one.subject.classifier.valid.unit}")
    return Part(caption, columns, tuple(_cells(one, row) for row in one.rows))


def _cells(one: Outcome, row: Row) -> tuple[str, ...]:
    if row.said:
        return row.name, "–", "–", "–", "–", row.said, "–", "–", "–"
    ratios = one.ratios(row)
    return (row.name, str(len(ratios)), f"{row.forwards:.0f}", f"{row.backwards:.0f}", str(row.seconds or "–"),
            shown(quantile(ratios, 0.5)), shown(quantile(ratios, 0.9)), f"{(ratios <= 1.01).double().mean():.0%}",
            f"{torch.isinf(row.sizes).double().mean():.0%}")


def shown(value: float) -> str:
    """With as many digits as say something."""
    if math.isinf(value):
        return "∞"
    return f"{value:.4f}" if value < 1.1 else f"{value:.3f}" if value < 10 else f"{value:.3g}"


def _pair(one: Outcome, row: Row, images: Tensor | None = None) -> tuple[float, float]:
    """Median and 90th percentile, as shown: what cannot be told apart in the table counts as the same."""
    found = one.ratios(row, images)
    return round(quantile(found, 0.5), 4), round(quantile(found, 0.9), 4)


def _worse(one: Outcome, duel: Duel) -> bool:
    pairs = (_pair(one, row, duel.images) for row in (duel.ours, duel.peer))
    return any(mine > other for mine, other in zip(*pairs, strict=True))


def _duels(outcomes: Sequence[Outcome]) -> Part:
    """One row a peer, one column a subject."""
    names = list(dict.fromkeys(duel.peer.name for one in outcomes for duel in one.duels))
    rows = []
    for name in names:
        cells = []
        for one in outcomes:
            duel = next((duel for duel in one.duels if duel.peer.name == name), None)
            cells.append("–" if duel is None else _duel_cell(one, duel))
        rows.append((name, *cells))
    caption = (f"At a tenth of the passes: steadyread with at most a tenth of the peer's gradients where these are "
               f"{TENTH_FROM} or more, and as it is where the peer takes no fewer. Gradients, then median and 90th "
               "percentile of the ratios, of steadyread and of the peer; bold where steadyread's are worse")
    return Part(caption, ("", *(f"{one.subject.recipe.key}, {one.subject.stage}" for one in outcomes)), tuple(rows))


def _duel_cell(one: Outcome, duel: Duel) -> str:
    told = "; ".join(f"{row.backwards:.0f}: {shown(low)}, {shown(high)}"
                     for row in (duel.ours, duel.peer) for low, high in (_pair(one, row, duel.images),))
    return f"**{told}**" if _worse(one, duel) else told


def _goals(outcomes: Sequence[Outcome]) -> Iterator[Goal]:
    tight, quick = [], []
    for one in outcomes:
        paper, art, brief = one.row(PAPERS_WAY), one.row(ART_WAY), one.brief
        if paper is not None:
            duel = Duel(paper, one.modest, MODEST)
            flips, count = int(duel.images.sum()), len(duel.images)
            fewer = one.modest.backwards * FEWER_PASSES <= paper.backwards
            told = " against ".join(_told(one, duel, row) for row in (duel.ours, paper)) if flips else "nothing"
            tight.append((fewer and not _worse(one, duel) if flips else None,
                          f"{one.where} {told} on the {flips} of {count} that it flips"))
        if art is not None and art.seconds is not None and brief is not None and brief.seconds is not None:
            quick.append((art.seconds.median / brief.seconds.median, one.where))
    judged = [kept for kept, _ in tight if kept is not None]
    yield Goal(f"smallest flip: at least as tight as [A]'s procedure with {FEWER_PASSES} times fewer gradients",
               bool(judged) and all(judged), "; ".join(
                   ["median and 90th percentile: " + "; ".join(told for _, told in tight)] * bool(tight)
                   + absent(outcomes, PAPERS_WAY)) or "not measured")
    yield Goal(f"smallest flip: {LESS_TIME} times less time so than [A]'s procedure with ART",
               bool(quick) and min(quick)[0] >= LESS_TIME, "; ".join(
                   [", ".join(f"{where} {times:.0f} times" for times, where in quick)] * bool(quick)
                   + absent(outcomes, ART_WAY)) or "not measured")
    yield _tenth(outcomes)


def absent(outcomes: Sequence[Outcome], *names: str) -> list[str]:
    """What is said of rows, or of all, that came to nothing."""
    said = (row.name for one in outcomes for row in one.rows if row.said)
    gone = Counter(name for name in said if not names or name in names)
    some = [f"{name} on {count} of {len(outcomes)} networks" for name, count in gone.items()]
    return [f"absent or failed: {' and '.join(some)}"] if some else []


def _told(one: Outcome, duel: Duel, row: Row) -> str:
    return " / ".join(shown(value) for value in _pair(one, row, duel.images))


def _tenth(outcomes: Sequence[Outcome]) -> Goal:
    both = [(one, duel) for one in outcomes for duel in one.duels]
    lost = [(one, duel) for one, duel in both if _worse(one, duel)]
    fought, beaten = (Counter(duel.peer.name for _, duel in some) for some in (both, lost))
    worse = [f"worse than {name} on {count} of {fought[name]} networks" for name, count in beaten.items()]
    return Goal("smallest flip: never worse than a peer in median or 90th percentile at a tenth of its gradients "
                f"(from {TENTH_FROM} on; at no more than its own below)", bool(both) and not lost,
                "; ".join([f"no worse in {len(both) - len(lost)} of {len(both)}", *worse, *absent(outcomes)]))


def _guarded(outcomes: Sequence[Outcome]) -> dict[str, float]:
    found = {}
    for one in outcomes:
        found[f"{one.where}, 90th percentile of the ratio"] = quantile(one.ratios(one.rows[0]), 0.9)
        peer = one.row("FMN of 100, adv-lib")
        if peer is not None and peer.seconds is not None:
            found[f"{one.where}, time beside adv-lib's FMN of 100"] = 1 / peer.seconds.median
    return {name: value for name, value in found.items() if math.isfinite(value)}
