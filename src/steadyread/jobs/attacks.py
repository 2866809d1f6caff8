"""What a cell is attacked with, and on which cases: every threat of the study at each of its levels."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch

from steadyread.assessment import Attack, name_of
from steadyread.attacks.optimised_noise import Strength, optimised_ct_noise
from steadyread.attacks.random_noise import RandomCTNoise
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import Effort, smallest_flip
from steadyread.attacks.stated import stated_attacks
from steadyread.cases import Cases, limit
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.gates import ROBUST, gate
from steadyread.jobs.material import Material, attacked_cases
from steadyread.jobs.plan import hardening_of
from steadyread.metrics.reads import ORIGINAL
from steadyread.registry import ATTACKS
from steadyread.store import Cell
from steadyread.study import Settings, Study
from steadyread.study.noise_hardening import Judged
from steadyread.threats import CTNoise, Spectrum
from steadyread.training.drift import DriftCorrection
from steadyread.types import Batch, Labels
from steadyread.units import Bounds, show_size, size_in_native

ByPart = dict[str, Sequence[Attack]]
WINDOW = (-1000.0, 400.0)   # HU, of noise that is optimised where the study states no window


def attacks_on(study: Study, cell: Cell, material: Material, epsilon: float | None = None) -> ByPart:
    """What a cell is tried with, by part of its cases. `study` is as it was asked.

    A hardened network is tried with the noise of `judged`, with the other attacks of the plain one (but for searches
    that only sort its reads), and by PGD at `epsilon`, the size (native units) that was taught. One that it is compared
    with is searched for its smallest flips in place of those. What leaves the weights as they were, as a drift
    correction does, is tried with noise alone.
    """
    noise = noise_attacks(study, noise_tried(study, cell)) if study.noise is not None else {}
    pixels = _pixel_attacks_on(material.study, cell, material.ready.bounds, epsilon) if study.linf else {}
    return {part: [*pixels.get(part, ()), *noise.get(part, ())] for part in dict.fromkeys((*pixels, *noise))}


def _pixel_attacks_on(study: Study, cell: Cell, bounds: Bounds, epsilon: float | None) -> ByPart:
    taught = [pgd(epsilon)] if epsilon is not None else []
    asked = hardening_of(study, cell) if cell.hardened else None
    if asked is not None and asked.how.method in ("none", "drift"):
        return {}
    if asked is not None and not asked.main:
        return {"test": [*taught, _flip(study, bounds)]}
    whole = pixel_attacks(_without_searches(study) if cell.hardened else study, bounds)
    known = {(name_of(attack), getattr(attack, "size", None)) for attack in whole["test"]}
    return whole | {"test": [*whole["test"], *(taught if ("pgd", epsilon) not in known else ())]}


def pixel_attacks(study: Study, bounds: Bounds) -> ByPart:
    """The attacks of [attacks] by part, in native units. Validation images only serve the thresholds of triage, which
    go by searches alone.

    Raises:
        UsageError: a size that is not in the images' unit, or stated twice.
    """
    stated = study.attacks
    fixed: list[Attack] = []
    searches: list[Attack] = []
    sizes = _sizes(stated.epsilons or (), bounds)
    for name in stated.use:
        settings = dict(stated.settings.get(name, {}))
        own = settings.pop("epsilons", None)
        made = stated_attacks(name, settings, sizes if own is None else _sizes(own, bounds, name), stated.loss)
        (searches if ATTACKS[name].searches else fixed).extend(made)
    for asked in map(gate, study.gates.fail_below):
        if asked.metric == ROBUST:
            size_in_native(asked.at or "", bounds)
    flip = [_flip(study, bounds)] if stated.smallest_flip else []
    return {"validation": [*searches, *flip], "test": [*fixed, *searches, *flip]}


def _without_searches(study: Study) -> Study:
    """The study without the searches beside our own: they are scores of the plain network's reads."""
    use = tuple(name for name in study.attacks.use if not ATTACKS[name].searches)
    return study.model_copy(update={"attacks": study.attacks.model_copy(update={"use": use})})


def _flip(study: Study, bounds: Bounds) -> Attack:
    largest, queries = study.attacks.largest, study.attacks.queries
    how: dict[str, Any] = {} if largest is None else {"largest": size_in_native(largest, bounds)}
    if queries is not None:
        how["effort"] = Effort(queries=queries)
    return partial(smallest_flip, **how) if how else smallest_flip


def _sizes(texts: Sequence[str], bounds: Bounds, of: str = "") -> list[float]:
    """The sizes in native units, each of them once; of the study or of one attack."""
    key = f"attacks.settings.{of}.epsilons" if of else "attacks.epsilons"
    sizes: dict[float, str] = {}
    for text in texts:
        size = size_in_native(text, bounds)
        other = next((other for known, other in sizes.items() if math.isclose(known, size, rel_tol=1e-6)), None)
        if other is not None:
            raise UsageError(f"{key}: '{other}' and '{text}' are one size, {show_size(size, bounds)}: "
                             "state each size once")
        sizes[size] = text
    return list(sizes)


def noise_of(study: Study) -> CTNoise:
    """The noise that the study states."""
    asked = study.ct_noise
    spectrum = Spectrum.named(asked.spectrum, asked.reference_mas)
    return CTNoise(spectrum, spacing_mm=asked.spacing_mm, domain=asked.domain, mode=asked.mode)


def noise_tried(study: Study, cell: Cell) -> Mapping[str, Mapping[str, Settings]]:
    """The noise that a cell is tried with: by part, attacks by name with their settings."""
    asked = study.ct_noise
    if cell.hardened:
        judged = judged_of(study, cell)
        return {"test": judged.test, "train": judged.train}
    if cell.network == ORIGINAL:
        return {"test": asked.test, "train": asked.train}
    return {"test": asked.variants, "train": asked.variants}


def judged_of(study: Study, cell: Cell) -> Judged:
    """The noise by which a hardened network is judged, or `before`: one of [noise.hardening] as that says, one of
    [hardening] as the study's own network is."""
    noise, asked = study.ct_noise, hardening_of(study, cell)
    if asked.under == "hardening" or noise.hardening is None:
        return Judged(test=noise.test, train=noise.train)
    return noise.hardening.whole.get(asked.name, noise.hardening).judged


def noise_attacks(study: Study, stated: Mapping[str, Mapping[str, Settings]]) -> ByPart:
    """The attacks of each part, from their names and settings in the study."""
    noise = noise_of(study)
    return {part: [attack for name, settings in attacks.items() for attack in made(name, settings, noise, study)]
            for part, attacks in stated.items()}


def made(name: str, settings: Settings, noise: CTNoise, study: Study) -> Iterator[Attack]:
    """One kind of noise: one attack for all doses where it is drawn, one a dose where it is searched."""
    rest = dict(settings)
    mas = tuple(float(dose) for dose in rest.pop("mas", study.ct_noise.mas))
    if name in ("random", "inflated"):
        yield RandomCTNoise(noise, mas, inflated=name == "inflated", **rest)
        return
    for dose in mas:
        yield optimised_ct_noise(replace(noise, mas=dose), cast(Strength, name), window_hu=window_of(study), **rest)


def window_of(study: Study) -> tuple[float, float]:
    """What the network's input is clipped to, in units of which [B]'s search takes its steps."""
    return study.model.window or study.model.bounds or WINDOW


def cases_on(study: Study, cell: Cell, material: Material, attacked: Collection[str]) -> Cases:
    """The cases that a cell is assessed on, part by part ([B]'s attack pools the images of a block).

    Under noise a plain network reads its training cases too, a hardened one those of the `attacked` parts; without,
    the cases are those for testing and validation. Of each part at most `attacks.limit`, drawn by class.
    """
    if study.noise is None:
        both = attacked_cases(material)
        return both.part("test") if cell.hardened and not hardening_of(study, cell).main else both
    parts = sorted({*attacked, "test"} if cell.hardened else ("test", "train", "validation"))
    cases = material.ready if cell.hardened else material.assessed
    return replace(cases, rows=tuple(row for part in parts for row in _drawn(study, material, cases, part).rows))


def _drawn(study: Study, material: Material, cases: Cases, part: str) -> Cases:
    """The cases of a part, or as many of them as are attacked."""
    there, most = cases.part(part), study.attacks.limit
    return there if most is None or not len(there) else limit(there, max(most, len(there.classes)), material.seed)


@dataclass(frozen=True)
class Corrected:
    """An attack at one dose against the network whose drift is corrected for that dose.

    The reference is the read of the clean image, to which no noise was added and nothing is corrected.
    """

    attack: Any
    correction: DriftCorrection

    @property
    def name(self) -> str:
        """As it stands in the records."""
        return name_of(self.attack)

    @property
    def size(self) -> Any:
        """The dose."""
        return self.attack.size

    @property
    def threat(self) -> Any:
        """What the attack may do."""
        return self.attack.threat

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0) -> Any:
        found = self.attack(self.correction.corrected(classifier), batch, reference, seed)
        if not isinstance(self.attack, RandomCTNoise):
            return found
        with classifier.frozen(), torch.no_grad():    # drift is told from the margin that was not corrected
            clean = margin_of(classifier.logits(batch.images), reference)
        return tuple(replace(one, clean=clean) for one in found)


def corrected(attacks: ByPart, corrections: Sequence[DriftCorrection]) -> ByPart:
    """Attacks by noise, each against the network as corrected for its dose."""
    known = {correction.mas: correction for correction in corrections}
    return {part: [Corrected(one, known[_dose(one)]) for attack in several for one in _one_dose_each(attack)]
            for part, several in attacks.items()}


def _one_dose_each(attack: Any) -> Iterator[Any]:
    """An attack of several doses as one of each; its draws are common to the doses, and stay what they are."""
    if isinstance(attack, RandomCTNoise):
        yield from (replace(attack, mas=(mas,)) for mas in attack.mas)
    else:
        yield attack


def _dose(attack: Any) -> float:
    return float(attack.size[0] if isinstance(attack.size, tuple) else attack.size)
