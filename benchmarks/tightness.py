"""The smallest flip on networks of foreign kinds, against the gradients that it takes: steadyread beside every peer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import minimum_norm
from benchmarks.clock import Counted
from benchmarks.foreign import FOREIGN
from benchmarks.hardening import lesson_of, normalised, taught
from benchmarks.libraries import shortened
from benchmarks.setup import Setup
from benchmarks.smallest import quantile, shown, within
from benchmarks.subjects import STUDIES, Attacked
from benchmarks.success import flip_sizes
from benchmarks.table import Drawn, Goal, Part, Table
from steadyread.charts import Axis, Line, chart, curve
from steadyread.charts.look import BLUE, DASHED, DOTTED, GREEN, INK, ORANGE, PURPLE, VERMILION, Look
from steadyread.jobs.material import gather
from steadyread.jobs.networks import classifier_of, placed
from steadyread.study import override, read_study

TITLE, CHART = "Tightness against gradients, on foreign networks", "tightness"
IMAGES = 64
OURS = "steadyread"
BUDGETS = (10, 20, 35, 70, 150, 400)
STEPS = (10, 20, 50, 100, 200, 400)
_LOOKS = (Look(INK), Look(VERMILION, DASHED, "triangle-up"), Look(BLUE, DOTTED, "square"),
          Look(GREEN, (7, 3, 2, 3), "diamond"), Look(ORANGE, (4, 2), "triangle-down"),
          Look(PURPLE, (9, 2, 2, 2), "cross"))
_MOST = 2.0      # the highest ratio that the chart shows

# (steps, network, images in 0 to 1, their classes) -> the changed images
Peer = Callable[[int, nn.Module, Tensor, Tensor], Tensor]
PEERS: dict[str, tuple[Peer, Sequence[int]]] = {
    "FMN, foolbox": (minimum_norm.foolbox_fmn, STEPS), "FMN, adv-lib": (minimum_norm.adv_fmn, STEPS),
    "FMN, secml-torch": (minimum_norm.secml_fmn, STEPS), "FAB, adv-lib": (minimum_norm.adv_fab, STEPS[:4]),
    "DeepFool, foolbox": (minimum_norm.foolbox_deepfool, (10, 50))}


@dataclass(frozen=True, eq=False)
class Point:
    """A method with some steps on one network: gradients an image as counted, and the sizes it found (n,)."""

    name: str
    gradients: float
    sizes: Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Every point of one network; `best` is the smallest size of each image that any of them found."""

    name: str
    points: tuple[Point, ...]
    failed: dict[str, str]

    @property
    def best(self) -> Tensor:
        """The yardstick, (n,)."""
        return torch.stack([point.sizes for point in self.points]).amin(0)


def measure(setup: Setup) -> Table:
    """Every method at every budget on every foreign network whose data are there."""
    outcomes = [_outcome(name, one, setup) for name, one in _subjects(setup)]
    if not outcomes:
        return Table("tightness", TITLE, (), missing="none of the data sets is there")
    failed = sorted({f"{name}: {why}" for one in outcomes for name, why in one.failed.items()})
    told = (*_told(outcomes), *(["Not measured: " + "; ".join(failed) + "."] if failed else []))
    return Table("tightness", TITLE, told, (_part(outcomes),), tuple(_goals(outcomes)), drawn=(_drawn(outcomes),))


def _told(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield ("Networks of kinds that steadyread ships none of, none of which had a part in the choice of its settings: "
           f"{', '.join(one.name for one in outcomes)}. Each is attacked on at most {len(outcomes[0].best)} test "
           "images that it reads right. The ratio of an image is the size found over the smallest that any method "
           "found at any of its budgets; not flipped is infinite. Gradients are backward passes an image, as counted "
           "in the network: steadyread is held to a budget, the others to a number of steps (FAB takes the gradient of "
           "every class at each). They run on their own defaults but for the steps, whose number FMN's schedule "
           "follows; secml-torch's FMN has no default for the step and gets 0.1.")


def _subjects(setup: Setup) -> Iterator[tuple[str, Attacked]]:
    count = setup.of(IMAGES, 4)
    if (setup.data_root / "lidc-patches-2d").exists():
        lesson = lesson_of(setup)
        images, labels = lesson.images("test")
        for seed, (name, make) in enumerate(FOREIGN.items()):
            torch.manual_seed(seed)
            network = make(2, 1)
            taught(lesson, 0.0, lesson.epochs, network)
            yield f"{name} (LIDC)", Attacked(normalised(network, lesson), images, labels).read_right(count)
    weights = setup.data_root / "models/torch-brain-mri-b/brain_tumor_model.pth"
    if weights.exists() and (setup.data_root / "brain-mri").exists():
        # by where they stand, since a study's paths are those of the folder that it is run in
        study = read_study(STUDIES / "strangers/brain_b.toml", override(f"data.path={setup.data_root / 'brain-mri'}"),
                           override(f"model.weights={weights}"),
                           override(f"model.name={STUDIES / 'strangers/nets.py'}:BrainB"))
        material = gather(study)
        classifier = placed(classifier_of(material, setup.folder / "networks" / "brain_b"), material.study)
        cases = material.ready
        chosen = range(0, len(cases), max(1, len(cases) // (2 * count)))
        yield "a stranger's three convolutions (brain MRI)", Attacked(
            classifier, torch.stack([cases[at].image for at in chosen]).float(),
            torch.tensor([cases.rows[at].label for at in chosen])).read_right(count)


def _outcome(name: str, subject: Attacked, setup: Setup) -> Outcome:
    points, failed = [], {}
    for budget in BUDGETS[:setup.of(len(BUDGETS), 2)]:
        found = within(subject, budget, len(subject.images))
        points.append(Point(OURS, found.backwards, found.sizes))
    for peer, (find, several) in PEERS.items():
        for steps in several[:setup.of(len(several), 1)]:
            try:
                points.append(_peers(subject, peer, partial(find, steps)))
            except Exception as problem:     # a library's own fault
                failed[peer] = shortened(problem)
    return Outcome(name, tuple(points), failed)


def _peers(subject: Attacked, name: str, find: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Point:
    counted = Counted(subject.unit_network()).eval()
    images = subject.unit_images()
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    found = find(counted, images, subject.reference)
    sizes = flip_sizes(subject.unit_network(), images, found, subject.reference)
    return Point(name, counted.backwards / len(images), sizes.cpu())


def _names(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(point.name for one in outcomes for point in one.points))


def _pooled(outcomes: Sequence[Outcome], name: str) -> list[tuple[float, Tensor]]:
    """Of a method, budget by budget: gradients an image, and the sorted ratios of all images of all networks."""
    found = []
    for several in zip(*([point for point in one.points if point.name == name] for one in outcomes), strict=False):
        ratios = torch.cat([point.sizes / one.best for point, one in zip(several, outcomes, strict=True)])
        weights = [len(point.sizes) for point in several]
        gradients = sum(point.gradients * n for point, n in zip(several, weights, strict=True)) / sum(weights)
        found.append((gradients, ratios.sort().values))
    return found


def _part(outcomes: Sequence[Outcome]) -> Part:
    rows = []
    for name in _names(outcomes):
        own = [[point for point in one.points if point.name == name] for one in outcomes]
        for at, (gradients, ratios) in enumerate(_pooled(outcomes, name)):
            cells = [_pair((several[at].sizes / one.best).sort().values)
                     for several, one in zip(own, outcomes, strict=True)]
            rows.append((name, f"{gradients:.0f}", _pair(ratios), *cells))
    return Part("Median and 90th percentile of the ratios to the best of all",
                ("", "gradients an image", "all networks", *(one.name for one in outcomes)), tuple(rows))


def _pair(ratios: Tensor) -> str:
    return f"{shown(quantile(ratios, 0.5))} / {shown(quantile(ratios, 0.9))}"


def _drawn(outcomes: Sequence[Outcome]) -> Drawn:
    panels = []
    for share, words in ((0.5, "median"), (0.9, "90th percentile")):
        lines = []
        for name, look in zip(_names(outcomes), _LOOKS, strict=False):
            points = [(gradients, quantile(ratios, share)) for gradients, ratios in _pooled(outcomes, name)]
            points = sorted((x, y) for x, y in points if math.isfinite(y))
            lines.append(Line(name, look, [x for x, _ in points], [y for _, y in points], marked=None))
        panels.append(curve(lines, Axis("gradients an image", log=True), Axis(
            f"size over the best, {words}", (1.0, _MOST), log=True, ticks=(1.0, 1.05, 1.1, 1.2, 1.4, 1.7, 2.0))))
    caption = ("Size of the smallest flip over the best of all methods, by gradients an image, over the images of "
               f"{len(outcomes)} networks: lower and further to the left is better. Above {_MOST:g} nothing is shown.")
    return Drawn(CHART, caption, chart(CHART, caption, *panels).svg())


def _goals(outcomes: Sequence[Outcome]) -> Iterator[Goal]:
    ours = _pooled(outcomes, OURS)
    worse, compared = [], 0
    for name in _names(outcomes):
        for gradients, ratios in _pooled(outcomes, name) if name != OURS else ():
            mine = [own for own in ours if own[0] <= gradients]
            if mine:
                compared += 1
                pairs = [(quantile(mine[-1][1], share), quantile(ratios, share)) for share in (0.5, 0.9)]
                if any(round(own, 4) > round(other, 4) for own, other in pairs):
                    worse.append(f"{name} at {gradients:.0f}")
    lost = f"; worse than {', '.join(worse)}" if worse else ""
    yield Goal("smallest flip on foreign networks: at no more gradients than a peer takes, no worse than it in median "
               "or 90th percentile", bool(compared) and not worse,
               f"no worse in {compared - len(worse)} of {compared}{lost}")
    default = [_pair(ratios) for gradients, ratios in ours if round(gradients) == 35]
    tail = [quantile(ratios, 0.9) for gradients, ratios in ours if round(gradients) == 35]
    yield Goal("and within 35 gradients its 90th percentile is at most 1.03", bool(tail) and tail[0] <= 1.03,
               default[0] if default else "not measured")
