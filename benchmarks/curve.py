"""The whole curve of accuracy over epsilon: one pass of the smallest flip beside three attacks at every epsilon."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import torch
from torch import Tensor

from benchmarks.clock import Counted, Ratio
from benchmarks.libraries import shortened
from benchmarks.minimum_norm import grid_of
from benchmarks.peers import ATTACKS, BARE, TELLS, Attack
from benchmarks.setup import Setup
from benchmarks.smallest import beside, ours, read_again
from benchmarks.subjects import Subject, subjects
from benchmarks.success import SLACK, flip_sizes
from benchmarks.table import Goal, Part, Table
from steadyread import attack
from steadyread.attacks.recipes.bim import bim
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import THOROUGH, Effort

STARTS = {"fgsm": 1, "bim": 1, "pgd": 5}     # [A]'s
STEPS = {"fgsm": 1, "bim": 10, "pgd": 10}
LIBRARIES = ("ART", "foolbox", "torchattacks", "secml-torch")
LESS_TIME = 10                               # times, which is the aim
TOLD = (
    "[A] draws accuracy over {sizes} epsilons from FGSM, BIM (10 steps of epsilon / 10) and PGD (10 steps of "
    "epsilon / 4, 5 random starts), each run anew at each epsilon; here these are spaced evenly by ratio from "
    "0.0001 of the range to the end of [A]'s grid for that kind of image. One pass of steadyread's smallest flip "
    "gives accuracy at every epsilon: the share of images whose smallest flip is larger. All images are read "
    "right to begin with, and all returned images are judged alike: read once more, they say another class within "
    "epsilon.",
    "*Below ours* is the most, in points over all epsilons, by which their accuracy lies under that of our single "
    "pass (above 0: ours is not the lowest curve there), *above ours* by how much theirs lies over it on average "
    "over the epsilons. *Flipped below our size* counts images that some attack flips by a change more than 0.1 % "
    "smaller than our smallest flip, and the largest such lead. An image is {point:.1f} points where all are "
    "attacked; the libraries run on the plain networks only, and on the first {few} images, against our curve on "
    "the same. Time is theirs over ours on as many images; attacks are made beforehand and run on one image, then "
    "all of theirs ran once, between two runs of ours.",
    "*steadyread, at each size* is steadyread's own FGSM, BIM and PGD, each flipped image leaving its search; "
    "nothing is carried from one size to the next while searching (it is when a report draws the curve).",
)


@dataclass(frozen=True, eq=False)
class Swept:
    """What attacks found over the grid: sizes of the returned images, inf where no flip, (attacks, epsilons, n)."""

    name: str
    sizes: Tensor
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: Ratio | None = None
    said: str = ""


@dataclass(frozen=True, eq=False)
class Beside:
    """A sweep beside our curve on the same images; points are of accuracy."""

    swept: Swept
    below: float
    above: float
    beaten: int
    lead: float


def measure(setup: Setup) -> Table:
    """Plain networks with every library, a hardened one with the bare loop."""
    images, few = setup.of(16, 3), setup.of(4, 1)
    keys = ("lidc", "cifar") if setup.quick else ("lidc", "nodule", "cifar")
    chosen = chain(subjects(setup, images, keys, ("plain",)),
                   () if setup.quick else subjects(setup, images, ("lidc",), ("hardened",)))
    found = [(one, examine(one, few, setup)) for one in chosen]
    if not found:
        return Table("curve", "The whole curve", (), missing="none of the data sets is there")
    told = (TOLD[0].format(sizes=_count(setup)), TOLD[1].format(point=100 / images, few=few), TOLD[2])
    return Table("curve", "The whole curve", told, tuple(_part(one, rows) for one, rows in found),
                 tuple(_goals(found)), _guarded(found))


def _count(setup: Setup) -> int:
    return setup.of(32, 6)


def examine(subject: Subject, few: int, setup: Setup) -> tuple[Beside, ...]:
    """Ours, the bare loop attack by attack and all together, steadyread's recipes, and the libraries."""
    grid = grid_of(subject.recipe.grid, _count(setup))
    everyone = len(subject.images)
    once = ours(subject, Effort(), everyone, "steadyread, smallest flip")
    thorough = ours(subject, THOROUGH, everyone, "steadyread, smallest flip, THOROUGH", setup)
    bare = [sweep(subject, BARE, (name,), grid, everyone, setup) for name in STARTS]
    swept = [*bare, joined(bare), own(subject, grid, everyone, setup)]
    if subject.stage == "plain":
        swept += [sweep(subject, name, tuple(STARTS), grid, few, setup) for name in LIBRARIES]
    passes = [Swept(row.name, row.sizes.expand(1, len(grid), -1), row.forwards, row.backwards, row.seconds)
              for row in (replace(once, seconds=Ratio(1.0, 1.0, 1.0)), thorough)]
    return tuple(compared(each, once.sizes, grid) for each in (*passes, *swept))


def sweep(subject: Subject, name: str, attacks: Sequence[str], grid: Sequence[float], count: int,
          setup: Setup) -> Swept:
    """A library's attacks at every epsilon, from every start."""
    counted = Counted(subject.unit_network()).eval()
    images, labels = subject.unit_images()[:count], subject.reference[:count]

    def looked_at(attack: Attack) -> Tensor:
        found = attack()
        if name not in TELLS:
            with torch.no_grad():
                counted(found).argmax(1)
        return found

    def made(by: str, epsilon: float, count: int) -> list[Attack]:
        return [partial(looked_at, ATTACKS[name][by](counted, images[:count], labels[:count], epsilon, STEPS[by],
                                                     start)) for start in range(STARTS[by])]

    title = f"{name}: {' '.join(by.upper() for by in attacks)}"
    try:
        held, seconds = _over(subject, made, counted, attacks, grid, count, setup)
    except Exception as failed:   # a library's own fault goes into its cell
        return Swept(title, torch.empty(0), said=shortened(failed))
    judge = subject.unit_network()
    sizes = _judged(held, lambda found: flip_sizes(judge, images, found, labels))
    return Swept(title, sizes, counted.forwards / count, counted.backwards / count, seconds)


def own(subject: Subject, grid: Sequence[float], count: int, setup: Setup) -> Swept:
    """steadyread's own recipes at every epsilon."""
    counted = Counted(subject.classifier.module).eval()
    classifier, whole = replace(subject.classifier, module=counted), subject.classifier.valid.range
    make = {"fgsm": fgsm, "bim": bim, "pgd": pgd}

    def made(by: str, epsilon: float, count: int) -> list[Attack]:
        recipe, images, labels = make[by](epsilon * whole), subject.images[:count], subject.reference[:count]
        return [lambda: attack(classifier, images, labels, recipe).images]

    held, seconds = _over(subject, made, counted, tuple(STARTS), grid, count, setup)
    forwards, backwards = counted.forwards / count, counted.backwards / count
    sizes = _judged(held, partial(read_again, subject))
    return Swept("steadyread, at each size: FGSM BIM PGD", sizes, forwards, backwards, seconds)


Held = Mapping[tuple[str, float], list[Tensor]]


def _over(subject: Subject, made: Callable[[str, float, int], list[Attack]], counted: Counted,
          attacks: Sequence[str], grid: Sequence[float], count: int, setup: Setup) -> tuple[Held, Ratio]:
    """Every attack at every epsilon, timed as one piece of work that runs once; made, and warm, before."""
    ready = {(by, epsilon): made(by, epsilon, count) for by in attacks for epsilon in grid}
    held: dict[tuple[str, float], list[Tensor]] = {}

    def work() -> None:
        for each, starts in ready.items():
            held[each] = [start() for start in starts]

    for by in attacks:
        made(by, grid[0], 1)[0]()
    counted.reset()
    return held, beside(subject, work, count, setup, once=True)


def _judged(held: Held, size_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Sizes (attacks, epsilons, n), the smaller where there were several starts; inf where epsilon is exceeded."""
    attacks = list(dict.fromkeys(by for by, _ in held))
    rows = []
    for by in attacks:
        found = [(epsilon, torch.stack([size_of(images) for images in starts]))
                 for (name, epsilon), starts in held.items() if name == by]
        rows.append(torch.stack([torch.where(sizes <= epsilon + SLACK, sizes, torch.inf).amin(0)
                                 for epsilon, sizes in found]))
    return torch.stack(rows).cpu()


def joined(swept: Sequence[Swept]) -> Swept:
    """Several attacks taken together: what any of them flips."""
    kept = [one.seconds for one in swept if one.seconds is not None]
    total = Ratio(*(sum(getattr(one, name) for one in kept) for name in ("median", "low", "high")))
    name = f"{swept[0].name.split(':')[0]}: {' '.join(one.name.split(': ')[1] for one in swept)}"
    return Swept(name, torch.cat([one.sizes for one in swept]), sum(one.forwards for one in swept),
                 sum(one.backwards for one in swept), total)


def compared(swept: Swept, mine: Tensor, grid: Sequence[float]) -> Beside:
    """Their curve beside that of our sizes, on the same images."""
    if swept.said:
        return Beside(swept, 0.0, 0.0, 0, 0.0)
    mine = mine[:swept.sizes.shape[2]]
    epsilons = torch.tensor(grid, dtype=torch.float64)[:, None]
    gap = 100 * (accuracy(swept.sizes.amin(0), epsilons) - accuracy(mine.expand(len(grid), -1), epsilons))
    lead = 1 - swept.sizes.amin((0, 1)) / mine
    beaten = lead > 1e-3   # False where neither flips
    return Beside(swept, max(0.0, -float(gap.min())), float(gap.mean()), int(beaten.sum()),
                  float(lead[beaten].max()) if bool(beaten.any()) else 0.0)


def accuracy(sizes: Tensor, epsilons: Tensor) -> Tensor:
    """The share of images, at each epsilon (e, 1), that no change of at most it flips; sizes are (e, n)."""
    return (sizes > epsilons + SLACK).double().mean(1)


def _part(subject: Subject, rows: Sequence[Beside]) -> Part:
    columns = ("", "images", "forward passes", "backward passes", "time / ours", "below ours, points",
               "above ours, points", "flipped below our size")
    return Part(f"{subject.name}, 0.0001 to {subject.recipe.grid:g} of the range", columns,
                tuple(_cells(row) for row in rows))


def _cells(row: Beside) -> tuple[str, ...]:
    swept = row.swept
    if swept.said:
        return swept.name, "–", "–", "–", "–", swept.said, "–", "–"
    count = swept.sizes.shape[2]
    beaten = f"{row.beaten} of {count}" + (f", by up to {row.lead:.1%}" if row.beaten else "")
    return (swept.name, str(count), f"{swept.forwards:.0f}", f"{swept.backwards:.0f}", str(swept.seconds or "–"),
            f"{row.below:.1f}", f"{row.above:.1f}", beaten)


def _theirs(rows: Sequence[Beside]) -> list[Beside]:
    """Attacks of a fixed size that came to something."""
    return [row for row in rows[2:] if not row.swept.said]


def _bare(rows: Sequence[Beside]) -> Ratio:
    found = next((row.swept.seconds for row in rows
                  if row.swept.name.startswith(BARE) and len(row.swept.sizes) == 3), None)
    return found if found is not None else Ratio(math.nan, math.nan, math.nan)


def _goals(found: Sequence[tuple[Subject, tuple[Beside, ...]]]) -> Iterator[Goal]:
    lowest, quick = [], []
    for subject, rows in found:
        where = f"{subject.recipe.key} {subject.stage}"
        worst = max(_theirs(rows), key=lambda row: row.below, default=None)
        if worst is not None:
            lowest.append((worst.below, f"{where} {worst.below:.1f}"
                           + (f" ({worst.swept.name})" if worst.below > 0 else "")))
        if not math.isnan(_bare(rows).median):
            quick.append((_bare(rows).median, where))
    gone = list(dict.fromkeys(row.swept.name.split(":")[0] for _, rows in found for row in rows if row.swept.said))
    yield Goal("curve: from one pass, nowhere above that of FGSM, BIM and PGD at each size",
               bool(lowest) and all(below <= 0 for below, _ in lowest),
               "most points above: " + ", ".join(one for _, one in lowest)
               + (f"; absent or failed: {', '.join(gone)}" if gone else ""))
    yield Goal(f"curve: {LESS_TIME} times less time than the three attacks in a bare loop",
               bool(quick) and min(quick)[0] >= LESS_TIME,
               ", ".join(f"{where} {times:.0f} times" for times, where in quick) or "not measured")


def _guarded(found: Sequence[tuple[Subject, tuple[Beside, ...]]]) -> dict[str, float]:
    return {f"{subject.recipe.key} {subject.stage}, time beside the three attacks in a bare loop":
            1 / _bare(rows).median for subject, rows in found if not math.isnan(_bare(rows).median)}
