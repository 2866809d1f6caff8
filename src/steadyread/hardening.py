"""Hardening the network of a run: trained on adversarial images, and assessed anew by the same attacks."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from steadyread import records, set_aside
from steadyread.assessment import Attack, assess, model_digest, name_of
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import audit
from steadyread.checks import judged
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, TrainingFailed
from steadyread.files import CHECKPOINT, EXAMPLES, HARDENED, MODEL, SETTINGS, TRAINING
from steadyread.findings import Finding
from steadyread.jobs.examples import write_examples
from steadyread.jobs.material import Material, attacked_cases, refuse_untaught
from steadyread.jobs.networks import card_of, device_of, placed, taken_up, untrained
from steadyread.models.loading import read_card, save_weights
from steadyread.progress import Progress, quiet
from steadyread.report import write_report
from steadyread.study import Hardening
from steadyread.training.checkpoint import remove_checkpoint
from steadyread.training.epsilon import Useful, useful_epsilons
from steadyread.training.fit import TrainingSettings
from steadyread.training.harden import HardeningSettings, harden
from steadyread.units import Bounds, show_size, size_in_native

Attacks = Mapping[str, Sequence[Attack]]
# What is asked for, and the sizes that the training images tell, which are looked for once and only if wanted.
Asked = tuple[Hardening, Callable[[], Useful]]


@dataclass(frozen=True)
class Stages:
    """The sizes at which a network is hardened, in native units, and how they were come by."""

    epsilons: tuple[float, ...]
    why: str
    useful: Useful | None


def refuse_unfit(material: Material) -> None:
    """What hardening would stumble over after the training, said before any.

    Raises:
        InputRefused: no training or validation images.
        UsageError: a size in another unit, or stages that do not rise.
    """
    asked = material.study.hardening
    if asked is None:
        return
    refuse_untaught(material)
    for one in (asked, *asked.compared.values()):
        if one.epsilon != "auto":
            _typed(one, material.ready.bounds)


def carry_out_hardening(material: Material, classifier: Classifier, attacks: Attacks, folder: Path,
                        progress: Progress = quiet, show_ids: bool = False) -> None:
    """The study's hardening of its network, and those it is compared with, each in a folder of its own.

    The hardened network is assessed with the attacks of the plain one and reported on like it. Those that it is
    compared with are searched for their smallest flips, and attacked by PGD at the size that this one learnt.
    Everything resumes: finished networks and blocks of records are taken up. A training that comes to nothing is
    reported as a hardening that failed.
    """
    asked, study = material.study.hardening, material.study
    if asked is None:
        return
    useful = cache(lambda: useful_epsilons(classifier, material.ready.part("train"), seed=study.seed))
    held = _tried(material, classifier, (asked, useful), folder / HARDENED, progress)
    if held is None:
        return
    hardened, epsilon = held
    known = {(name_of(attack), getattr(attack, "size", None)) for attack in attacks.get("test", ())}
    at_training = [] if ("pgd", epsilon) in known else [pgd(epsilon)]   # the size that every claim speaks of
    _assess_whole(material, hardened, {**attacks, "test": [*attacks.get("test", ()), *at_training]},
                  folder / HARDENED, progress, show_ids)
    flip = smallest_flip if study.attacks.largest is None else partial(
        smallest_flip, largest=size_in_native(study.attacks.largest, material.ready.bounds))
    for name, other in asked.compared.items():
        place = folder / f"{HARDENED}-{name}"
        found = _tried(material, classifier, (other, useful), place, progress)
        if found is not None:
            _assess_compared(material, found[0], [pgd(epsilon), flip], place, progress)


def _tried(material: Material, classifier: Classifier, asked: Asked, folder: Path, progress: Progress
           ) -> tuple[Classifier, float] | None:
    """The hardened network and its last size. None where the training came to nothing (it diverged, or no size was
    found to train with): that is written down as a failure of the hardening, not of the run. Anything else that
    goes wrong, such as damaged weights, is no result, and is raised."""
    try:
        return _hardened(material, classifier, asked, folder, progress)
    except TrainingFailed as problem:
        remove_checkpoint(folder / CHECKPOINT)   # from there it would come to nothing again
        records.write_json(folder / TRAINING, {"method": asked[0].method, "epsilon": None, "epochs": [],
                                               "chosen_epoch": 0, "failed": str(problem)})
        return None


def _hardened(material: Material, classifier: Classifier, how: Asked, folder: Path, progress: Progress
              ) -> tuple[Classifier, float]:
    """The hardened network, trained here or taken up, and the size that it learnt last."""
    study, asked = material.study, how[0]
    digest, path = _digest(material, classifier, asked), folder / MODEL
    if path.exists():
        found = taken_up(material, path, digest)
        epsilon = _epsilon_of(folder)
    else:
        stages = _stages(material, *how)
        begin = untrained(material, study.seed) if asked.scratch else classifier
        fitted = harden(begin, material.ready.part("train"), material.ready.part("validation"),
                        _settings(asked, stages), seed=study.seed, checkpoint=folder / CHECKPOINT,
                        device=device_of(study), progress=progress, scratch=asked.scratch)
        useful = None if stages.useful is None else {
            name: getattr(stages.useful, name) for name in ("low", "median", "high", "images")}
        told = {"epsilon": stages.epsilons[-1], "unit": material.ready.bounds.unit, "why": stages.why,
                "useful": useful}
        records.write_json(folder / TRAINING, fitted.history | told)
        save_weights(fitted.module, path, card_of(material, digest) | {
            "hardening": asked.model_dump(mode="json", exclude={"compare"}) | told})
        remove_checkpoint(folder / CHECKPOINT)
        found, epsilon = fitted.classifier, stages.epsilons[-1]
    return placed(replace(found, name=classifier.name, stage=HARDENED), study), epsilon


def _epsilon_of(folder: Path) -> float:
    """The size that the hardened network of a folder learnt last, by the card beside its weights.

    Raises:
        InputRefused: its training.json, which the report goes by, tells of another training or is gone.
    """
    card = (read_card(folder / MODEL) or {}).get("hardening", {})
    told = records.read_object(folder / TRAINING) or {}
    if any(told.get(key) != card.get(key) for key in ("epsilon", "unit", "why")):
        raise InputRefused(f"{folder / TRAINING} is not that of the network beside it (damaged, gone, or another "
                           f"run's); nothing was overwritten: put it back from a copy, or remove {MODEL} there to "
                           "have both computed again")
    return float(card["epsilon"])


def _stages(material: Material, asked: Hardening, useful: Callable[[], Useful]) -> Stages:
    """The sizes as typed, in native units; or found from the smallest flips of the training images."""
    bounds = material.ready.bounds
    if asked.epsilon != "auto":
        sizes = _typed(asked, bounds)
        return Stages(sizes, "stated in the study: " + ", then ".join(show_size(size, bounds) for size in sizes),
                      None)
    found = useful()
    return Stages((found.median,), found.why, found)


def _typed(asked: Hardening, bounds: Bounds) -> tuple[float, ...]:
    sizes = tuple(size_in_native(text, bounds) for text, _ in asked.stages)
    if list(sizes) != sorted(sizes):
        raise InputRefused("hardening.epsilon: the sizes of the stages must rise; got "
                           + ", ".join(text for text, _ in asked.stages))
    return sizes


def _settings(asked: Hardening, stages: Stages) -> HardeningSettings:
    stated = asked.model_dump(include={"method", "steps", "step", "share", "beta", "clean_cost", "patience",
                                       "judged"})
    return HardeningSettings(**stated, epsilons=stages.epsilons, epochs=tuple(count for _, count in asked.stages),
                             training=TrainingSettings(**asked.training))


def _digest(material: Material, classifier: Classifier, asked: Hardening) -> str:
    """SHA-256 over what the hardened weights depend on; the plain network's own digest tells its data."""
    told = {"hardening": asked.model_dump(mode="json", exclude={"compare"}), "seed": material.study.seed,
            "begin": model_digest(classifier.module), "data": material.digest}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _assess_whole(material: Material, classifier: Classifier, attacks: Attacks, folder: Path, progress: Progress,
                  show_ids: bool) -> None:
    """The hardened network as a run of its own: records, findings, examples, report."""
    study, attacked = material.study, attacked_cases(material)
    records.write_json(folder / SETTINGS, study.model_dump(mode="json") | {"name": f"{study.name}, hardened"})
    table = assess(classifier, attacked, attacks, against=study.attacks.against, store=folder, seed=study.seed,
                   progress=progress)
    attacked = set_aside.assessed(attacked, table)
    set_aside.write_findings(folder, lambda: [
        *_failed(folder), *judged(classifier, attacked.part("test"), table, study.seed, progress),
        *(audit(material.raw, material.ready) if material.taught else [])])
    if not (folder / EXAMPLES).exists():
        write_examples(classifier, attacked.part("test"), table, folder, study.seed)
    write_report(folder, study.seed, show_ids)


def _assess_compared(material: Material, classifier: Classifier, attacks: Sequence[Attack], folder: Path,
                     progress: Progress) -> None:
    """A network to compare with: records of the test images, and what the checks say of them."""
    seed, test = material.study.seed, attacked_cases(material).part("test")
    table = assess(classifier, test, attacks, against="label", store=folder, seed=seed, progress=progress)
    test = set_aside.assessed(test, table)
    set_aside.write_findings(folder, lambda: [*_failed(folder), *judged(classifier, test, table, seed, progress)])


def _failed(folder: Path) -> Iterator[Finding]:
    told: dict[str, Any] = records.read_json(folder / TRAINING)
    if told.get("failed"):
        yield Finding("hardening failed", "error", str(told["failed"]))
