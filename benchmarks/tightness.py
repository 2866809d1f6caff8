"""The smallest flip on networks that steadyread does not ship, by the gradients that it takes, beside every peer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import minimum_norm
from benchmarks.foreign import FOREIGN
from benchmarks.hardening import lesson_of, normalised, taught
from benchmarks.minimum_norm import Method
from benchmarks.setup import Setup
from benchmarks.smallest import USUAL, Row, ours, quantile, shown, theirs, within
from benchmarks.subjects import STUDIES, Attacked
from benchmarks.table import Drawn, Goal, Part, Table
from steadyread.attacks.smallest_flip import Effort
from steadyread.charts import Axis, Line, chart, curve
from steadyread.charts.look import BLUE, DASHED, DOTTED, GREEN, INK, ORANGE, PURPLE, VERMILION, Look
from steadyread.jobs.material import gather
from steadyread.jobs.networks import classifier_of, placed
from steadyread.study import override, read_study

TITLE, CHART = "Tightness against gradients, on foreign networks", "tightness"
IMAGES = 64
OURS, AS_IT_IS = "steadyread", "steadyread, as it is"
BUDGETS = (10, 20, 35, 70, 150, 400)
STEPS = (10, 20, 50, 100, 200, 400)
_LOOKS = (Look(INK), Look(VERMILION, DASHED, "triangle-up"), Look(BLUE, DOTTED, "square"),
          Look(GREEN, (7, 3, 2, 3), "diamond"), Look(ORANGE, (4, 2), "triangle-down"),
          Look(PURPLE, (9, 2, 2, 2), "cross"))
_LEAST, _MOST = 0.01, 100.0      # %, above the best: what the chart shows; less is drawn as the least

# (steps, network, images in 0 to 1, their classes) -> the changed images
Peer = Callable[[int, nn.Module, Tensor, Tensor], Tensor]
PEERS: dict[str, tuple[Peer, Sequence[int]]] = {
    "FMN, foolbox": (minimum_norm.foolbox_fmn, STEPS), "FMN, adv-lib": (minimum_norm.adv_fmn, STEPS),
    "FMN, secml-torch": (minimum_norm.secml_fmn, STEPS), "FAB, adv-lib": (minimum_norm.adv_fab, STEPS[:4]),
    "DeepFool, foolbox": (minimum_norm.foolbox_deepfool, (50,))}


@dataclass(frozen=True, eq=False)
class Point:
    """What a method found with some `steps` on one network; steadyread with so many gradients at most, or as it is."""

    name: str
    steps: int
    row: Row


@dataclass(frozen=True, eq=False)
class Outcome:
    """Every point of one network, those among them that came to nothing."""

    name: str
    points: tuple[Point, ...]

    @property
    def known(self) -> list[Point]:
        """The points that came to something."""
        return [point for point in self.points if not point.row.said]

    @property
    def best(self) -> Tensor:
        """The smallest size of each image that any of them found, (n,); infinite where none flipped it."""
        return torch.stack([point.row.sizes for point in self.known]).amin(0)

    def ratios(self, point: Point) -> Tensor:
        """To the best, of the images that anyone flipped, sorted."""
        flipped = torch.isfinite(self.best)
        return (point.row.sizes[flipped] / self.best[flipped]).sort().values

    def at(self, name: str, steps: int) -> Point | None:
        """The point of a method, where it came to something."""
        return next((point for point in self.known if (point.name, point.steps) == (name, steps)), None)


@dataclass(frozen=True, eq=False)
class Pooled:
    """A method with some steps over the `networks` on which it came to something."""

    name: str
    steps: int
    networks: int
    forwards: float
    gradients: float
    ratios: Tensor = field(repr=False)


def measure(setup: Setup) -> Table:
    """Every method at every budget on every foreign network whose data are there."""
    outcomes = [_outcome(name, one, setup) for name, one in _subjects(setup)]
    if not outcomes:
        return Table("tightness", TITLE, (), missing="none of the data sets is there")
    return Table("tightness", TITLE, tuple(_told(outcomes)), (_part(outcomes),), tuple(goals(outcomes)),
                 drawn=(_drawn(outcomes),))


def _told(outcomes: Sequence[Outcome]) -> Iterator[str]:
    never = sum(int(torch.isinf(one.best).sum()) for one in outcomes)
    yield ("Networks that steadyread does not ship and on which none of its settings was chosen (those on which they "
           "were are residual or have max-pooling too, and read LIDC patches, brain MRI or CIFAR-10): "
           f"{', '.join(one.name for one in outcomes)}. Each is "
           f"attacked on at most {max(len(one.best) for one in outcomes)} images that it reads right, test images but "
           "for the stranger's, which learnt from its own. The ratio of an image is the size found over the "
           "smallest that any method found at any of its budgets; not flipped is infinite"
           + (f", and {never} images that none flips are left out" if never else "") + ".")
    yield ("Passes are those of an image, as counted in the network. steadyread is held to so many gradients on "
           "average, or used as it is; the others to a number of steps (FAB takes the gradient of every class at "
           "each). The last 8 to 12 forward passes of steadyread, which cut the change down and read it again, have no "
           "counterpart. The others run on their own defaults but for the steps, whose number FMN's schedule follows; "
           "secml-torch's FMN has no default for the step and gets 0.1.")
    failed = [f"{point.name} of {point.steps} on {one.name} ({point.row.said})"
              for one in outcomes for point in one.points if point.row.said]
    if failed:
        yield f"Not measured: {'; '.join(failed)}."


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
    weights = setup.data_root / "models/torch-brain-mri-a/brain_tumor_model.pth"
    if weights.exists() and (setup.data_root / "brain-mri").exists():
        # by where they stand, since a study's paths are those of the folder that it is run in
        study = read_study(STUDIES / "strangers/brain_a.toml", override(f"data.path={setup.data_root / 'brain-mri'}"),
                           override(f"model.weights={weights}"),
                           override(f"model.name={STUDIES / 'strangers/nets.py'}:BrainA"))
        material = gather(study)
        classifier = placed(classifier_of(material, setup.folder / "networks" / "brain_a"), material.study)
        cases = material.ready
        chosen = range(0, len(cases), max(1, len(cases) // (2 * count)))
        yield "a stranger's two convolutions with tanh (brain MRI)", Attacked(
            classifier, torch.stack([cases[at].image for at in chosen]).float().to(classifier.device),
            torch.tensor([cases.rows[at].label for at in chosen]).to(classifier.device)).read_right(count)


def _outcome(name: str, subject: Attacked, setup: Setup) -> Outcome:
    count = len(subject.images)
    points = [Point(OURS, budget, within(subject, budget, count)) for budget in BUDGETS[:setup.of(len(BUDGETS), 2)]]
    points.append(Point(AS_IT_IS, 0, ours(subject, Effort(), count, AS_IT_IS)))
    for peer, (find, several) in PEERS.items():
        points += [Point(peer, steps, theirs(subject, Method(peer, steps, partial(find, steps)), count))
                   for steps in several[:setup.of(len(several), 1)]]
    return Outcome(name, tuple(points))


def pooled(outcomes: Sequence[Outcome]) -> list[Pooled]:
    """Every method with every number of steps, over all images of the networks on which it came to something."""
    found = []
    for name, steps in dict.fromkeys((point.name, point.steps) for one in outcomes for point in one.known):
        known = [(one, point) for one in outcomes if (point := one.at(name, steps)) is not None]
        count = sum(len(point.row.sizes) for _, point in known)
        forwards, gradients = (sum(getattr(point.row, way) * len(point.row.sizes) for _, point in known) / count
                               for way in ("forwards", "backwards"))
        ratios = torch.cat([one.ratios(point) for one, point in known]).sort().values
        found.append(Pooled(name, steps, len(known), forwards, gradients, ratios))
    return found


def _part(outcomes: Sequence[Outcome]) -> Part:
    rows = []
    for each in pooled(outcomes):
        cells = [_pair(one.ratios(point)) if (point := one.at(each.name, each.steps)) is not None else "–"
                 for one in outcomes]
        some = "" if each.networks == len(outcomes) else f" ({each.networks} networks)"
        rows.append((each.name, f"{each.forwards:.0f} + {each.gradients:.0f}", _pair(each.ratios) + some, *cells))
    return Part("Median and 90th percentile of the ratios to the best of all",
                ("", "passes, forward + backward", "all networks", *(one.name for one in outcomes)), tuple(rows))


def _pair(ratios: Tensor) -> str:
    return f"{shown(quantile(ratios, 0.5))} / {shown(quantile(ratios, 0.9))}"


def _drawn(outcomes: Sequence[Outcome]) -> Drawn:
    every = [each for each in pooled(outcomes) if each.networks == len(outcomes) and each.name != AS_IT_IS]
    panels = []
    for share, words in ((0.5, "median"), (0.9, "90th percentile")):
        lines = []
        for name, look in zip(dict.fromkeys(each.name for each in every), _LOOKS, strict=False):
            points = sorted((each.gradients, max(100 * (size - 1), _LEAST)) for each in every
                            if each.name == name and math.isfinite(size := quantile(each.ratios, share)))
            lines.append(Line(name, look, [x for x, _ in points], [y for _, y in points], marked=None))
        panels.append(curve(lines, Axis("gradients an image", log=True), Axis(
            f"above the best, %, {words}", (_LEAST, _MOST), log=True)))
    caption = ("By how much the smallest flip is larger than the best of all methods, by gradients an image, over the "
               f"images of {len(outcomes)} networks: lower and further to the left is better. Up to {_LEAST:g} % is "
               f"drawn as {_LEAST:g}, above {_MOST:g} % nothing.")
    return Drawn(CHART, caption, chart(CHART, caption, *panels).svg())


def goals(outcomes: Sequence[Outcome]) -> Iterator[Goal]:
    """No worse than any peer at no more gradients, network by network; and a tail that is tight."""
    worse: dict[str, dict[str, None]] = {}
    compared, lost = 0, 0
    for one in outcomes:
        mine = [point for point in one.known if point.name == OURS]
        for other in (point for point in one.known if point.name not in (OURS, AS_IT_IS)):
            cheaper = [point for point in mine if point.row.backwards <= other.row.backwards]
            if cheaper:
                compared += 1
                pairs = ((quantile(one.ratios(cheaper[-1]), share), quantile(one.ratios(other), share))
                         for share in (0.5, 0.9))
                if any(round(own, 4) > round(peer, 4) for own, peer in pairs):
                    lost += 1
                    worse.setdefault(other.name, {})[one.name] = None
    gone = [f"{point.name} of {point.steps} on {one.name}"
            for one in outcomes for point in one.points if point.row.said]
    who = [f"{name} on {' and '.join(where)}" for name, where in worse.items()]
    told = "".join(f"; {what} {'; '.join(some)}" for what, some in (
        ("worse than", who), ("absent or failed:", gone)) if some)
    yield Goal("smallest flip on foreign networks: at no more gradients than a peer takes, no worse than it in median "
               "or 90th percentile", bool(compared) and not worse,
               f"no worse in {compared - lost} of {compared}{told}")
    usual = next((each for each in pooled(outcomes) if (each.name, each.steps) == (OURS, USUAL)), None)
    yield Goal(f"and within {USUAL} gradients its 90th percentile is at most 1.03",
               usual is not None and quantile(usual.ratios, 0.9) <= 1.03,
               "not measured" if usual is None else _pair(usual.ratios))
