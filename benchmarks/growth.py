"""How time and memory grow with images, their size and classes; each point in a process of its own.

    python -m benchmarks.growth POINT-JSON      one point, answered by one line of JSON
"""

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.clock import Counted
from benchmarks.libraries import library
from benchmarks.setup import Setup
from benchmarks.table import Goal, Part, Table
from steadyread.attacks.recipe import Recipe, attack, chunks
from steadyread.attacks.search import Search
from steadyread.attacks.smallest_flip import Effort, smallest_flip
from steadyread.classifier import Classifier, margin_of
from steadyread.threats import Linf
from steadyread.types import Batch, Bounds

STEPS, STEP, EPSILON = 5, 0.25, 0.01
# The least work at which every stage of a search is gone through: what is asked is how its cost grows.
EFFORT = Effort(steps=3, further=0, explore=1, refine=3, polish=1)
TOGETHER = 128          # images of 28x28 that foolbox is given at once, as many as steadyread takes of that size
FEATURES = 4
WHO = {"smallest_flip": "`smallest_flip`", "pgd": "`pgd`", "bare": "PGD as a bare loop",
       "foolbox": "foolbox `LinfPGD`"}
ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
LONGEST = 240           # seconds a point may take
STEEPEST = 1.1          # exponent of time
HELD = 0.1              # of an image's size, at most, that a further one may cost beside itself and its result
# Below this the measurement is at fault: a run cannot hold less than the images given and returned.
NOISE = -0.1
AIMED = ("images", "pixels", "voxels")   # of the axes; what classes cost here is next to nothing beside the pixels


@dataclass(frozen=True)
class Point:
    """What one process measures."""

    who: str
    images: int
    shape: tuple[int, ...]
    classes: int
    threads: int = 1

    @property
    def pixels(self) -> int:
        """Of one image."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Found:
    """Processor seconds, the peak of memory above what it was with the images at hand, the passes of an image."""

    seconds: float
    peak_bytes: int
    forwards: float
    backwards: float


@dataclass(frozen=True)
class Axis:
    """What grows, in one row of points; `of` is what the exponent is fitted in, from `fitted_from` on."""

    name: str
    title: str
    points: tuple[Point, ...]
    of: Callable[[Point], int]
    fitted_from: int = 0


Measured = Mapping[str, list[tuple[Point, Found | str]]]


def measure(setup: Setup) -> Table:
    """All points of all axes, one process after the other."""
    axes = tuple(_axes(setup))
    found = {axis.name: measured(axis, setup) for axis in axes}
    ours = ("smallest_flip", "pgd")
    return Table("growth", "Cost as the work grows", tuple(_told(setup)),
                 tuple(_part(axis, found[axis.name]) for axis in axes),
                 (*(time_goal(who, axes, found) for who in ours),
                  *(memory_goal(who, found["images"][who]) for who in ours)), dict(_guarded(ours, axes, found)))


def time_goal(who: str, axes: Sequence[Axis], found: Mapping[str, Measured]) -> Goal:
    """Whether time grows about as the work does. Missed where any point is missing."""
    told, met = [], True
    for axis in axes:
        if axis.name not in AIMED:
            continue
        several = found[axis.name][who]
        lost = [f"{_head(axis, point)} {said}" for point, said in several if isinstance(said, str)]
        fitted = _fitted(axis, several)
        last, _ = _fitted(axis, several[-2:])   # a fit over all sizes would hide what grows in the end
        if lost or not fitted[0] <= STEEPEST or not last <= STEEPEST:
            met = False
        bare = found[axis.name].get("bare")
        beside = f" (bare loop {_exponent(_fitted(axis, bare)[0])})" if bare else ""
        told.append(f"{axis.name} {_exponent(*fitted)}, of the last two {_exponent(last)}{beside}"
                    + (f", without {', '.join(lost)}" if lost else ""))
    return Goal(f"time of {WHO[who]} grows by an exponent of at most {STEEPEST} in images, pixels and voxels, over "
                "all sizes and over the last two", met and bool(told), "; ".join(told))


def memory_goal(who: str, found: Sequence[tuple[Point, Found | str]]) -> Goal:
    """Whether memory is flat in images. Missed where any point is missing or the figure cannot be."""
    lost = [f"{point.images:,} {said}" for point, said in found if isinstance(said, str)]
    share = held_an_image(found)
    told = "not measurable" if not share >= NOISE else f"{share:.2f} of it"
    return Goal(f"memory of {WHO[who]} beside the images given and returned is flat: a further image costs at most "
                "a tenth of its own size", not lost and NOISE <= share <= HELD,
                told + (f", without {', '.join(lost)}" if lost else ""))


def _guarded(ours: Sequence[str], axes: Sequence[Axis], found: Mapping[str, Measured]
             ) -> Iterator[tuple[str, float]]:
    for who in ours:
        for axis in axes:
            exponent, _ = _fitted(axis, found[axis.name][who])
            if exponent > 0:
                yield f"exponent of {who} in {axis.name}", exponent
        share = held_an_image(found["images"][who])
        if share >= NOISE:
            yield f"memory of {who}, images given, returned and held, in images", 2 + max(share, 0.0)


def _told(setup: Setup) -> Iterator[str]:
    yield ("A network of two linear layers with four features between them, random weights, random images of 0 to "
           f"1; `smallest_flip` with `{EFFORT}`, PGD with {STEPS} steps from one start, no early stop. The bare "
           "loop does PGD's passes in plain torch and in the chunks that steadyread takes (by an image's pixels, "
           "from 128 images of 28x28 down to 8), and so shows what torch itself makes of larger inputs. foolbox "
           f"takes in one go what it is given; it is given {TOGETHER} images at a time, as many as steadyread "
           "takes of that size, and its results go into one array made beforehand, as the bare loop's do. Every "
           "point has a process of its own, which first goes through eight images to load what is loaded once.")
    yield ("Memory is the peak of the resident set less what it was with the images made, less as much again for "
           "the images returned: what is held besides. It misses what fits in memory that was freed before the "
           "measurement (a few MiB).")
    yield ("Seconds are processor time. The exponent is the slope of log time in a least-squares fit, with its "
           "standard error. With more than two classes `smallest_flip` tries up to three other classes, so it "
           "costs more passes up to four classes, after which further classes enlarge the last layer alone: the "
           "exponent in classes is fitted from four on. Four features times the classes are nothing beside the "
           "pixels, so those rows can show only what the library itself adds, and no goal rests on them. A goal is "
           "missed where a point came to nothing.")


def _axes(setup: Setup) -> Iterator[Axis]:
    def points(who: Sequence[str], *each: tuple[int, tuple[int, ...], int]) -> tuple[Point, ...]:
        return tuple(Point(one, *what, setup.threads) for one in who for what in each)

    sizes = (100, 1000) if setup.quick else (100, 1_000, 10_000, 100_000)
    flat = (28, 56) if setup.quick else (28, 56, 112, 224)
    deep = (16, 32) if setup.quick else (32, 48, 64, 96)
    many = (4, 32) if setup.quick else (2, 4, 10, 100)
    ours = ("smallest_flip", "pgd") if setup.quick else ("smallest_flip", "pgd", "bare")
    peer = () if library("foolbox") is None else ("foolbox",)
    yield Axis("images", "Images of 28x28, 10 classes",
               points((*ours, *peer), *((n, (1, 28, 28), 10) for n in sizes)), lambda point: point.images)
    yield Axis("pixels", f"Side of {setup.of(128, 32)} images, 2 classes",
               points(ours, *((setup.of(128, 32), (1, side, side), 2) for side in flat)),
               lambda point: point.pixels)
    yield Axis("voxels", f"Side of {setup.of(16, 4)} volumes, 2 classes",
               points(ours, *((setup.of(16, 4), (1, side, side, side), 2) for side in deep)),
               lambda point: point.pixels)
    yield Axis("classes", f"Classes, {setup.of(1024, 128)} images of 28x28",
               points(ours, *((setup.of(1024, 128), (1, 28, 28), classes) for classes in many)),
               lambda point: point.classes, fitted_from=4)


def measured(axis: Axis, setup: Setup) -> Measured:
    """Every point of the axis, by who: what came out, or why nothing did. The whole order is gone through alike."""
    found: dict[str, list[tuple[Point, Found | str]]] = {}
    for point in sorted(axis.points, key=axis.of):   # all contestants of one size beside each other in time
        found.setdefault(point.who, []).append((point, elsewhere(point)))
    return found


def elsewhere(point: Point) -> Found | str:
    """The point in a fresh process; a sentence where that ended without an answer."""
    command = [sys.executable, "-m", "benchmarks.growth", json.dumps(asdict(point))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return f"over {LONGEST} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return "killed" if done.returncode == -9 else (lines or [f"exit {done.returncode}"])[-1][:60]
    return Found(**json.loads(done.stdout.splitlines()[-1]))


def here(point: Point) -> Found:
    """The point in this process, whose memory it fills. A short run is repeated, and the median taken."""
    torch.set_num_threads(point.threads)
    torch.manual_seed(0)
    network = Counted(_tiny(point)).eval().requires_grad_(False)
    run = _runs(network)[point.who]
    images = torch.rand(point.images, *point.shape)
    with torch.no_grad():
        labels = torch.cat([network(part).argmax(1) for part in images.split(TOGETHER)])
    run(images[:8].clone(), labels[:8])
    network.reset()
    before = _peak()
    times = [_timed(run, images, labels)]
    peak, passes = _peak() - before, (network.forwards / point.images, network.backwards / point.images)
    while len(times) < 5 and sum(times) < 1.0:
        times.append(_timed(run, images, labels))
    return Found(sorted(times)[len(times) // 2], peak, *passes)


def _tiny(point: Point) -> nn.Module:
    """Next to no work, in proportion to the pixels, so that a library's own cost shows; and every read can be
    flipped, since it is linear."""
    return nn.Sequential(nn.Flatten(), nn.Linear(point.pixels, FEATURES), nn.Linear(FEATURES, point.classes))


def _runs(network: nn.Module) -> Mapping[str, Callable[[Tensor, Tensor], object]]:
    classifier = Classifier(network, (0.0, 1.0), "logits")
    recipe = Recipe("pgd", Linf(EPSILON), Search(STEPS, STEP, random_start=True, stop_at_flip=False))

    def foolbox(images: Tensor, labels: Tensor) -> object:
        from foolbox import PyTorchModel
        from foolbox.attacks import LinfPGD

        pgd = LinfPGD(abs_stepsize=STEP * EPSILON, steps=STEPS, random_start=True)
        model, found = PyTorchModel(network, bounds=(0, 1), device="cpu"), torch.empty_like(images)
        for part, asked, into in zip(*(each.split(TOGETHER) for each in (images, labels, found)), strict=True):
            into.copy_(pgd(model, part, asked, epsilons=EPSILON)[1])
        return found

    return {"smallest_flip": lambda images, labels: smallest_flip(classifier, images, labels, effort=EFFORT),
            "pgd": lambda images, labels: attack(classifier, images, labels, recipe),
            "bare": lambda images, labels: _bare(network, images, labels), "foolbox": foolbox}


def _bare(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """PGD written out in steadyread's chunks, the result in one array made beforehand: nothing is held twice."""
    found = torch.empty_like(images)
    sizes = [len(places) for places in chunks(Batch(images, ("",) * len(images), Bounds(0.0, 1.0, "")))]
    for part, asked, into in zip(*(each.split(sizes) for each in (images, labels, found)), strict=True):
        least, most = (-part).clamp(min=-EPSILON), (1 - part).clamp(max=EPSILON)
        delta = torch.clamp((torch.rand_like(part) * 2 - 1) * EPSILON, least, most)
        for _ in range(STEPS):
            delta.requires_grad_(True)
            gradient = torch.autograd.grad(-margin_of(network(part + delta), asked).sum(), delta)[0]
            delta = torch.clamp(delta.detach() + STEP * EPSILON * gradient.sign(), least, most)
        into.copy_(part + delta)
        with torch.no_grad():
            network(into)
    return found


def _timed(run: Callable[[Tensor, Tensor], object], images: Tensor, labels: Tensor) -> float:
    """Processor seconds, which others on the machine lengthen least."""
    began = time.process_time()
    run(images, labels)
    return time.process_time() - began


def _peak() -> int:
    """The peak of this process's resident set so far, in bytes.

    Linux hands `ru_maxrss` on from the process that started this one, whose set may be larger.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def exponent_of(work: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """The k of seconds = a work^k and its standard error, by least squares of the logarithms.

    NaN for both below two points, for the error below three.
    """
    x, y = ([math.log(value) for value in values] for values in (work, seconds))
    n = len(x)
    if n < 2:
        return math.nan, math.nan
    middle_x, middle_y = sum(x) / n, sum(y) / n
    spread = sum((one - middle_x) ** 2 for one in x)
    slope = sum((one - middle_x) * (two - middle_y) for one, two in zip(x, y, strict=True)) / spread
    left = sum((two - middle_y - slope * (one - middle_x)) ** 2 for one, two in zip(x, y, strict=True))
    return slope, math.sqrt(left / (n - 2) / spread) if n > 2 else math.nan


def held_an_image(found: Sequence[tuple[Point, Found | str]]) -> float:
    """Memory that each further image costs beside itself and its result, in sizes of an image: between the fewest
    and the most images. NaN unless both were measured."""
    (small, few), (large, most) = found[0], found[-1]
    if isinstance(few, str) or isinstance(most, str) or small.images == large.images:
        return math.nan
    size = 4 * small.pixels
    return (most.peak_bytes - few.peak_bytes) / (size * (large.images - small.images)) - 1


def _fitted(axis: Axis, found: Sequence[tuple[Point, Found | str]]) -> tuple[float, float]:
    known = [(axis.of(point), one.seconds) for point, one in found
             if isinstance(one, Found) and axis.of(point) >= axis.fitted_from]
    return exponent_of([work for work, _ in known], [seconds for _, seconds in known])


def _part(axis: Axis, found: Measured) -> Part:
    """A row for each contestant: at every size its milliseconds an image and what it holds, then the exponent."""
    sizes = list(dict.fromkeys(point for point, _ in next(iter(found.values()))))
    heads = tuple(_head(axis, point) for point in sizes)
    rows = []
    for who, several in found.items():
        told = [one for _, one in several]
        passes = next((f"{one.forwards:.0f} + {one.backwards:.0f}" for one in reversed(told)
                       if isinstance(one, Found)), "–")
        rows.append((WHO[who], passes, *(_cell(point, one) for point, one in several),
                     _exponent(*_fitted(axis, several)), _exponent(_fitted(axis, several[-2:])[0])))
    return Part(f"{axis.title}: processor seconds; MiB held beside the images given and returned",
                ("", "passes per image, forward + backward", *heads, "exponent of time", "of the last two"),
                tuple(rows))


def _head(axis: Axis, point: Point) -> str:
    if axis.name == "images":
        return f"{point.images:,}"
    return str(point.classes) if axis.name == "classes" else "x".join(map(str, point.shape[1:]))


def _cell(point: Point, found: Found | str) -> str:
    if isinstance(found, str):
        return found
    beside = (found.peak_bytes - 4 * point.pixels * point.images) / MIB
    return f"{found.seconds:.3g} s; {beside:.0f} MiB" if beside >= 0 else f"{found.seconds:.3g} s; –"


def _exponent(exponent: float, error: float = math.nan) -> str:
    return "–" if math.isnan(exponent) else f"{exponent:.2f}" + ("" if math.isnan(error) else f" ± {error:.2f}")


if __name__ == "__main__":
    what = json.loads(sys.argv[1])
    print(json.dumps(asdict(here(Point(**what | {"shape": tuple(what["shape"])})))))
