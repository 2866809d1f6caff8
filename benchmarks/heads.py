"""Heads, shapes and states of a network: who gives the right answer, a wrong one, or none."""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.libraries import NotInstalled, shortened
from benchmarks.peers import ATTACKS, BARE
from benchmarks.setup import Setup
from benchmarks.situations import Situation, columns, situations
from benchmarks.success import flipped_within
from benchmarks.table import Goal, Part, Table
from steadyread import Classifier, attack
from steadyread.attacks.recipes.apgd import apgd
from steadyread.attacks.recipes.pgd import pgd

TITLE = "Heads, shapes, and networks as they come"
OURS = "steadyread"
LIBRARIES = (OURS, *(name for name in ATTACKS if name != BARE))
NONE = "–"
SAME = 1e-3   # of epsilon: the most that rounding may move a pixel
TOLD = (
    "Small networks that are affine in their input, whatever their layers, so that it is known exactly which reads "
    "can be flipped within epsilon (30 to 60 % of them). Attacked by PGD of 20 steps of epsilon / 4 from one "
    "random start, by APGD of 30 steps where a library has no PGD or the row says so, or by the library's standard "
    "AutoAttack (steadyread: its PGD with 5 restarts). *Right* means that an image flips in what is returned, "
    "within epsilon, if and only if that is possible, by the network in evaluation mode and in double precision. "
    "Every cell is judged by the same few lines from what the library returned or raised. We chose the rows, and "
    "chose them for what steadyread takes care of: the tallies, of the rows for which a library has an attack, "
    "rank nobody.",
    "Each is told what it can be told: ART, foolbox and secml-torch the bounds of the images, torchattacks its "
    "`set_normalization_used`, ART `BCEWithLogitsLoss` for one logit, adv-lib its difference of logits where the "
    "softmax has run out or classes are three; the network itself is given as it is. Where a cell is wrong, a "
    "wrapper around the network (a second column, a window) may cure it, which was not tried. Where one image is not "
    "a number, right is a refusal that says so, or the right answer for all "
    "others and word of that one. *Alone as in the batch* compares the images returned, after 3 steps from the "
    "same seed.",
)


@dataclass(frozen=True)
class Verdict:
    """What is said in a cell; `offered` where the library is there and has the attack."""

    right: bool
    text: str
    offered: bool = True


def measure(setup: Setup) -> Table:
    """Every library in every situation."""
    told = situations(setup.of(40, 20))
    found = {(one.name, name): verdict(one, name) for one in told for name in LIBRARIES}
    rows = tuple((one.name, f"{1 - float(one.truth.double().mean()):.0%}",
                  *(found[one.name, name].text for name in LIBRARIES)) for one in told)
    tallies = tuple(tally([found[one.name, name] for one in told]) for name in LIBRARIES)
    wrong = [f"{one.name}: {found[one.name, OURS].text}" for one in told if not found[one.name, OURS].right]
    goal = Goal("steadyread right in every row", not wrong,
                "; ".join((f"{len(told) - len(wrong)} of {len(told)}", *wrong)))
    rows = (*rows, ("right, of the rows offered", NONE, *tallies))
    return Table("heads", TITLE, TOLD, (Part("", ("", "robust, in truth", *LIBRARIES), rows),), (goal,))


def tally(column: Sequence[Verdict]) -> str:
    """How many cells of a column are right, of those in which the library has an attack."""
    offered = [one.right for one in column if one.offered]
    return f"{sum(offered)} of {len(offered)}" if offered else NONE


def verdict(situation: Situation, library: str) -> Verdict:
    """One cell: what the library does with a copy of the network."""
    offered = [name for name in situation.attacks if library == OURS or name in ATTACKS[library]]
    if not offered:
        return Verdict(False, NONE, offered=False)
    network = deepcopy(situation.network)
    try:
        with silence():
            answer = run(library, offered[0], network, situation)
            alone = [run(library, offered[0], network, _only(situation, place))
                     for place in range(len(situation.images))] if situation.judged == "alone" else []
    except NotInstalled as missing:
        return Verdict(False, shortened(missing), offered=False)
    except ModuleNotFoundError as missing:   # what the library imports when it is used, and does not ask for
        return Verdict(False, f"needs {missing.name}, which is not installed")
    except Exception as failed:
        return refused(situation, failed)
    if situation.judged == "alone":
        return together(situation, answer, torch.cat(alone))
    found = looked_at(situation, answer)
    changed = changes(situation, network)
    if found.right and changed:
        return Verdict(False, f"right answer, but changes the network: {', '.join(changed)}")
    return replace(found, text=found.text + (f"; changes the network: {', '.join(changed)}" if changed else ""))


def run(library: str, name: str, network: nn.Module, situation: Situation) -> Tensor:
    """The images that a library returns."""
    if library == OURS:
        classifier = Classifier(network, situation.bounds, situation.output)
        recipe = (apgd(situation.epsilon, 30) if name == "apgd" else
                  pgd(situation.epsilon, situation.steps, restarts=5 if name == "suite" else 1))
        return attack(classifier, situation.images, situation.labels, recipe).images
    make = ATTACKS[library][name]
    steps = 30 if name == "apgd" and situation.judged != "alone" else situation.steps
    return make(network, situation.images, situation.labels, situation.epsilon, steps, 0, situation.bounds)()


def _only(situation: Situation, place: int) -> Situation:
    return replace(situation, images=situation.images[place:place + 1], labels=situation.labels[place:place + 1])


def refused(situation: Situation, failed: Exception) -> Verdict:
    """An exception is right only where there is something to refuse, and the message says what."""
    text = shortened(failed, 90)
    if situation.judged == "nan" and any(word in str(failed).lower() for word in ("nan", "finite", "not a number")):
        return Verdict(True, f"right: refuses, {text}")
    return Verdict(False, f"crashes: {text}")


def looked_at(situation: Situation, answer: Tensor) -> Verdict:
    """Flips in the returned images, beside the truth."""
    network = deepcopy(situation.network).eval()
    flips = flipped_within(lambda images: columns(network(images)), situation.images, answer, situation.labels,
                           situation.epsilon, situation.bounds)
    asked = torch.isfinite(situation.images).flatten(1).all(1)
    if not bool((flips == situation.truth)[asked].all()):
        robust, truth = (1 - float(each[asked].double().mean()) for each in (flips, situation.truth))
        return Verdict(False, f"wrong: {robust:.0%} robust, truth {truth:.0%}{outside(situation, answer)}")
    if situation.judged == "nan":
        return Verdict(False, "says nothing of it; the others right")
    return Verdict(True, "right")


def outside(situation: Situation, answer: Tensor) -> str:
    """Says so where pixels went beyond epsilon."""
    far = float((answer.double() - situation.images.double()).nan_to_num().abs().max()) / situation.epsilon
    return f" (pixels changed by up to {far:.3g} epsilon)" if far > 1.01 else ""


def together(situation: Situation, answer: Tensor, alone: Tensor) -> Verdict:
    """Whether images attacked alone are those attacked in the batch."""
    apart = (answer - alone).abs().flatten(1).amax(1) > SAME * situation.epsilon
    if not bool(apart.any()):
        return Verdict(True, "right")
    return Verdict(False, f"differs: {int(apart.sum())} of {len(apart)} images")


def changes(situation: Situation, network: nn.Module) -> list[str]:
    """What the attack left otherwise than it was, of what is watched."""
    before = situation.network
    looks: dict[str, Callable[[], str]] = {
        "statistics": lambda: "" if all(torch.equal(one, two) for one, two in zip(
            before.buffers(), network.buffers(), strict=True)) else "running statistics",
        "mode": lambda: "" if [part.training for part in before.modules()] == [
            part.training for part in network.modules()] else "training mode",
        "gradients": lambda: "" if all(parameter.grad is None for parameter in network.parameters()) else
        "gradients in its parameters"}
    return [said for name in situation.watched if (said := looks[name]())]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Progress bars and logs of libraries that cannot be told to keep quiet."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
