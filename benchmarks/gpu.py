"""On a GPU, where absolute figures count: images per second at full width, and what share of the card that is."""

import copy
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.card import GAIN, best_batch, flops_of, matmul_peaks, tf32
from benchmarks.clock import Counted, interleaved, ratio, seconds
from benchmarks.libraries import shortened
from benchmarks.peers import ATTACKS, BARE, TELLS
from benchmarks.setup import Setup
from benchmarks.success import flipped_within
from benchmarks.table import Goal, Part, Table
from steadyread.attacks.recipe import Recipe, attack
from steadyread.attacks.search import Search, climb
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.classifier import Classifier
from steadyread.convolutions import whole_float32
from steadyread.models.nodule import nodule_cnn
from steadyread.models.vgg import vgg16
from steadyread.threats import Linf

STEPS, EPSILON = 10, 0.01
PEERS = (BARE, "ART", "foolbox", "torchattacks")
OURS, USED = "steadyread", "steadyread, `attack` in chunks of its own"
RECIPE = Recipe("pgd", Linf(EPSILON), Search(STEPS, 0.25, random_start=True, stop_at_flip=False,
                                             loss="cross_entropy"))
TRIED = False   # whether this table has ever run on a GPU; until then the page says so


@dataclass(frozen=True)
class Scale:
    """How large everything is: the defaults are [A]'s VGG16 and [B]'s 32 mm cubes at full width."""

    device: torch.device
    width: float = 1.0
    side: int = 116
    box: int = 32
    most: int = 4096        # images at once, at most
    matrix: int = 8192
    rounds: int = 5
    compiled: bool = True


@dataclass(frozen=True, eq=False)
class Work:
    """One network, its images, and what one of them costs."""

    name: str
    module: nn.Module
    images: Tensor
    labels: Tensor
    flops: float     # of an image's forward and backward pass


def measure(setup: Setup) -> Table:
    """The table, or why there is none."""
    if setup.device.type != "cuda":
        return Table("gpu", "On a GPU", tuple(_told()), missing="no GPU at hand")
    small = Scale(setup.device, width=0.25, side=64, box=16, most=64, matrix=2048, rounds=2, compiled=False)
    parts, ratios = figures(small if setup.quick else Scale(setup.device, rounds=setup.rounds))
    goals = tuple(Goal(f"PGD on {name} in one batch at most 1.1 times the bare loop", found <= 1.1, f"{found:.2f}")
                  for name, found in ratios.items())
    guarded = {f"PGD on {name} beside the bare loop": found for name, found in ratios.items()}
    return Table("gpu", "On a GPU", tuple(_told()), parts, goals, guarded)


def _told() -> Iterator[str]:
    if not TRIED:
        yield ("**This table has never run on a GPU.** Its code is tried at tiny sizes on a CPU alone "
               "(`tests/test_benchmark_growth.py`); expect to mend it where it first meets a card.")
    yield (f"PGD of {STEPS} steps from one random start, no early stop, on VGG16 at full width (116x116) and the "
           "3D nodule network of paper [B] at full width (32x32x32), random weights, random images, epsilon "
           f"{EPSILON:g} of the range, float32 with TF32 off. The batch is the power of two at which our images a "
           f"second are highest, doubled from 8 until memory ends or doubling gains less than {GAIN - 1:.0%}; all "
           "libraries take that batch. Ours takes it whole because it goes to the search itself: `attack` and "
           "`smallest_flip`, which stand below it, cut it into chunks by the pixels of an image. The goals are of "
           "the whole batch.")
    yield ("The card's peak is measured: the best of a few large square matrix products in each precision, not "
           "the number in a data sheet. Arithmetic is counted by `torch.utils.flop_counter` for one image's "
           "forward and backward pass to the image, times the passes that the network counted; the share is of "
           "the float32 peak.")
    yield ("Variants change the module alone. Every flip that a variant claims is looked at again by the plain "
           "module in float32; a variant is kept only if all its flips are confirmed, it flips no fewer "
           "than the plain module and it is faster.")


def figures(scale: Scale) -> tuple[tuple[Part, ...], dict[str, float]]:
    """The parts, and by network our ratio to the bare loop."""
    parts, ratios = [], {}
    with tf32(False), whole_float32(scale.device):
        peaks = matmul_peaks(scale.matrix, scale.device)
        parts.append(Part("The card's arithmetic, measured", ("precision", "TFLOP/s"),
                          tuple((name, f"{peak / 1e12:.3g}") for name, peak in peaks.items())))
        for work in _works(scale):
            def rate(many: int, work: Work = work) -> float:
                return many / min(seconds(lambda: _pgd(work.module, _first(work, many)), scale.device)
                                  for _ in range(3))

            batch, tried = best_batch(rate, most=scale.most)
            parts.append(Part(f"{work.name}: images per second of our PGD, by batch; {batch} is taken",
                              tuple(map(str, tried)), (tuple(f"{one:.1f}" for one in tried.values()),)))
            part, ratios[work.name] = _raced(_first(work, batch), scale, peaks["float32"])
            parts += [part, _variants(_first(work, batch), scale)]
    return tuple(parts), ratios


def _works(scale: Scale) -> Iterator[Work]:
    torch.manual_seed(0)
    for name, made, shape in (
            ("VGG16", vgg16(2, 1, size=scale.side, width=scale.width), (scale.side,) * 2),
            ("3D nodule network", nodule_cnn(3, size=scale.box, width=scale.width), (scale.box,) * 3)):
        module = made.eval().requires_grad_(False).to(scale.device)
        images = torch.rand(scale.most, 1, *shape, device=scale.device)
        with torch.no_grad():
            labels = torch.cat([module(part).argmax(1) for part in images.split(8)])
        yield Work(f"{name}, {'x'.join(map(str, shape))}", module, images, labels, flops_of(module, images[:1]))


def _first(work: Work, many: int) -> Work:
    return replace(work, images=work.images[:many], labels=work.labels[:many])


def _pgd(module: nn.Module, work: Work) -> Tensor:
    """Ours in one batch of any size: the search itself, since recipes and `attack` cut a batch into chunks."""
    classifier = Classifier(module, (0.0, 1.0), "logits")
    size = torch.full((len(work.images),), EPSILON, device=work.images.device)
    return climb(classifier, classifier.batch(work.images), work.labels, RECIPE.threat, RECIPE.search, size,
                 seed=0).images


def _raced(work: Work, scale: Scale, peak: float) -> tuple[Part, float]:
    """Every library's PGD and our smallest flip on one batch, and our ratio to the bare loop."""
    network = Counted(work.module).eval()
    classifier = Classifier(network, (0.0, 1.0), "logits")
    runs: dict[str, Callable[[], Tensor]] = {
        OURS: lambda: _pgd(network, work),
        USED: lambda: attack(classifier, work.images, work.labels, RECIPE).images,
        "steadyread, `smallest_flip`": lambda: smallest_flip(classifier, work.images, work.labels).images}
    rows, passes, success = [], {}, {}
    for name in PEERS:
        try:
            run = _peer(name, network, work)
            run()
            runs[name] = run
        except Exception as failed:   # a library's own fault goes into its cell
            rows.append((name, shortened(failed), *("–",) * 5))
    for name, run in runs.items():
        network.reset()
        attacked = run()
        passes[name] = network.forwards / len(work.images), network.backwards / len(work.images)
        size = 1.0 if "smallest" in name else EPSILON
        success[name] = float(flipped_within(work.module, work.images, attacked, work.labels, size).float().mean())
    times = interleaved(runs, scale.rounds, scale.device)
    for name, spent in times.items():
        rate = len(work.images) / statistics.median(spent)
        forwards, backwards = passes[name]
        done = rate * work.flops * (forwards + backwards) / 2   # a backward pass costs about a forward one
        rows.append((name, f"{forwards:.0f} + {backwards:.0f}", f"{rate:.1f}", str(ratio(spent, times[BARE])),
                     f"{done / 1e12:.3g}", f"{done / peak:.0%}", f"{success[name]:.0%}"))
    columns = ("", "passes per image, forward + backward", "images per second", "time over the bare loop", "TFLOP/s",
               "of the card's float32 peak", "flipped")
    part = Part(f"{work.name}: PGD, {len(work.images)} at once", columns, tuple(rows))
    return part, ratio(times[OURS], times[BARE]).median


def _peer(name: str, network: nn.Module, work: Work) -> Callable[[], Tensor]:
    """Another's PGD, with a forward pass over its images where it does not look at them itself, as we do."""
    attack = ATTACKS[name]["pgd"](network, work.images, work.labels, EPSILON, STEPS, 0)

    def run() -> Tensor:
        attacked = attack()
        with torch.no_grad():
            _ = attacked if name in TELLS else network(attacked)
        return attacked

    return run


class Halved(nn.Module):
    """A network in mixed precision: bfloat16 where torch's autocast dares, logits in float32."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network, self.kind = network, device.type

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        with torch.autocast(self.kind, torch.bfloat16):
            logits: Tensor = self.network(images)
        return logits.float()


def variants(work: Work, scale: Scale) -> Mapping[str, nn.Module]:
    """Modules that compute the same faster, or nearly the same."""
    last = torch.channels_last_3d if work.images.ndim == 5 else torch.channels_last
    turned = copy.deepcopy(work.module).to(memory_format=last)
    found = {"plain": work.module, "channels last": turned, "mixed precision": Halved(work.module, scale.device),
             "channels last, mixed precision": Halved(turned, scale.device)}
    if scale.compiled:
        found["torch.compile"] = torch.compile(work.module)
        found["torch.compile, channels last, mixed precision"] = torch.compile(Halved(turned, scale.device))
    return found


def _variants(work: Work, scale: Scale) -> Part:
    rows, runs, told = [], {}, {}
    for name, module in variants(work, scale).items():
        try:
            attacked = _pgd(module, work)   # compiles where it must
        except Exception as failed:   # torch.compile needs a compiler, which need not be there
            rows.append((name, shortened(failed), *("–",) * 4))
            continue
        claimed = flipped_within(module, work.images, attacked, work.labels, EPSILON)
        confirmed = claimed & flipped_within(work.module, work.images, attacked, work.labels, EPSILON)
        runs[name] = lambda module=module: _pgd(module, work)
        told[name] = int(claimed.sum()), int(confirmed.sum())
    times = interleaved(runs, scale.rounds, scale.device)
    for name, spent in times.items():
        (claimed, confirmed), faster = told[name], ratio(spent, times["plain"])
        good = confirmed == claimed and confirmed >= told["plain"][1] and faster.median < 1
        kept = "–" if name == "plain" else "yes" if good else "no"
        rows.append((name, f"{len(work.images) / statistics.median(spent):.1f}", str(faster), str(claimed),
                     f"{confirmed / claimed:.1%}" if claimed else "–", kept))
    columns = ("", "images per second", "time over the plain module", "flips claimed", "confirmed in float32", "kept")
    return Part(f"{work.name}: our PGD with other modules", columns, tuple(rows))
