"""What a network sees with and without noise, measured on test images and stored: seen.json and seen.npz."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steadyread import records
from steadyread.attacks.optimised_noise import optimised_ct_noise
from steadyread.attacks.random_noise import RandomCTNoise
from steadyread.cases import Cases, collate, limit
from steadyread.classifier import Classifier, margin_of, prediction_of
from steadyread.errors import InputRefused
from steadyread.explain.attention import METHODS, TARGET, Method, attention, captum
from steadyread.explain.features import MEASURE, feature_change, ranked
from steadyread.explain.layers import Layer, layer_named, values
from steadyread.explain.sanity import WHICH, map_correlation, randomised
from steadyread.files import SEEN, SEEN_ARRAYS
from steadyread.metrics.attention_shift import (
    area,
    centre_distance_mm,
    mask_share,
    overlap,
    rank_correlation,
    share_inside,
)
from steadyread.progress import Progress, quiet
from steadyread.study.noise import Seeing
from steadyread.threats import CTNoise
from steadyread.types import Batch, Images, Labels, Logits

_BLOCK = 64      # images that are attacked together
_SANE = 32       # images whose maps are compared with those of randomised networks
_DRAWS = 3       # randomised networks of each kind


@dataclass(frozen=True)
class Look:
    """How it is looked: the section [noise.seeing], the noise, and the seed of its draws.

    `shown` are the places of the cases whose pictures are stored, chosen among those that flip if None. With
    `every` attention is measured on every case, else on the shown ones only.
    """

    seeing: Seeing
    noise: CTNoise
    seed: int = 0
    shown: tuple[int, ...] | None = None
    every: bool = True


@dataclass(frozen=True, eq=False)
class _Reads:
    """Images, clean or noisy, with what the network says of them."""

    images: Images
    logits: Logits
    read: Labels


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is looked at: the cases with their layers, reads and noisy selves by attack."""

    classifier: Classifier
    cases: Cases
    batch: Batch
    clean: _Reads
    noisy: dict[str, _Reads]
    layer: Layer
    feature_layer: Layer

    def spacing(self, places: Sequence[int]) -> NDArray[np.float64]:
        """Of the images at those places in mm, (m, axes); NaN where unknown."""
        axes = self.batch.images.ndim - 2
        held = self.batch.spacing_mm or (None,) * len(self.batch)
        return np.array([held[place] or (np.nan,) * axes for place in places], np.float64)


def write_seen(classifier: Classifier, cases: Cases, look: Look, folder: Path, progress: Progress = quiet) -> None:
    """Looks at (at most `look.seeing.images` of) the test cases and writes seen.npz and then seen.json.

    What stands there of the same settings is kept.

    Raises:
        InputRefused: captum is not installed; the network has no convolution; a mask is not on its image's grid.
        UsageError: no such layer.
    """
    asked = look.seeing.model_dump(mode="json")
    path = folder / SEEN
    if path.exists() and (folder / SEEN_ARRAYS).exists() and records.read_json(path).get("asked") == asked:
        return
    told, arrays = seen_of(classifier, looked_at(cases, look.seeing), look, progress)
    records.write_npz(folder / SEEN_ARRAYS, arrays)
    records.write_json(path, told | {"asked": asked})


def looked_at(cases: Cases, seeing: Seeing) -> Cases:
    """At most `images` of the cases, drawn by class: the same ones for the networks of all folds."""
    return limit(cases, max(min(seeing.images, len(cases)), len(cases.classes)), 0)


def seen_of(classifier: Classifier, cases: Cases, look: Look, progress: Progress = quiet
            ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What seen.json and seen.npz hold of these cases (labelled, of one shape)."""
    captum()
    scene = _scene(classifier, cases, look)
    flipped = scene.noisy[look.seeing.attack].read != scene.clean.read
    shown = look.shown or _shown(scene, flipped, look.seeing.shown)
    places = tuple(range(len(cases))) if look.every else shown
    masks, rows = _masks(scene, places), list[dict[str, Any]]()
    for method in progress(METHODS, len(METHODS), "seeing"):
        rows += _attention_rows(scene, places, masks, method)
    layer, feature_layer = scene.layer, scene.feature_layer
    change = feature_change(classifier, scene.batch.images, scene.noisy["random"].images, feature_layer)
    told = {"attack": look.seeing.attack, "mas": look.seeing.mas, "layer": layer.name,
            "feature_layer": feature_layer.name, "measure": MEASURE, "target": TARGET, "methods": list(METHODS),
            "layer_grid": list(values(classifier, scene.batch.images[:1], layer).shape[2:]),
            "attention": rows, "sanity": list(_sanity(scene, places, look.seed)),
            "features": _features(scene, change, look.seed)}
    told_change = {"feature_case_id": _names(row.id for row in cases.rows),
                   "feature_patient_id": _names(row.patient for row in cases.rows),
                   "feature_change": change.cpu().numpy()}
    return told, _arrays(scene, shown, look, change) | told_change


def refuse_unseeable(classifier: Classifier, cases: Cases, look: Look) -> None:
    """What `write_seen` would stumble over, said before any work: captum, the layers' names, the dose.

    Raises:
        InputRefused, UsageError: one of them.
    """
    captum()
    batch, _ = collate([cases[0]], cases.bounds)
    placed = classifier.batch(batch)
    layer_named(classifier, placed.images, look.seeing.layer, "last")
    layer_named(classifier, placed.images, look.seeing.feature_layer, "first")
    look.noise.size_of(look.seeing.mas, placed)
    if look.seeing.attack != "random":
        list(look.noise.allowed(placed))


def _scene(classifier: Classifier, cases: Cases, look: Look) -> _Scene:
    loaded, _ = collate([cases[place] for place in range(len(cases))], cases.bounds)
    batch = classifier.batch(loaded)
    logits = torch.cat([classifier.examine(some) for some in torch.split(batch.images, _BLOCK)])
    clean = _Reads(batch.images, logits, prediction_of(logits).clamp(min=0))
    every = tuple(range(len(cases)))
    attacked = every if look.shown is None or look.every else look.shown
    noisy: dict[str, _Reads] = {
        attack: _under(classifier, batch, clean, (attack, look), every if attack == "random" else attacked)
        for attack in dict.fromkeys((look.seeing.attack, "random"))}
    return _Scene(classifier, cases, batch, clean, noisy,
                  layer_named(classifier, batch.images, look.seeing.layer, "last"),
                  layer_named(classifier, batch.images, look.seeing.feature_layer, "first"))


def _under(classifier: Classifier, batch: Batch, clean: _Reads, how: tuple[str, Look], places: Sequence[int]
           ) -> _Reads:
    """The images at `places` under one noise of the dose: one draw, or one search. The others stay clean."""
    attack, look = how
    mas = look.seeing.mas
    made = RandomCTNoise(look.noise, (mas,), draws=1) if attack == "random" else optimised_ct_noise(
        replace(look.noise, mas=mas), attack)  # type: ignore[arg-type] # the section allows rings and plausible only
    images, logits = clean.images.clone(), clean.logits.clone()
    for some in torch.split(torch.tensor(places), _BLOCK):
        outcome: Any = made(classifier, batch.pick(some), clean.read[some], look.seed)
        found = outcome[0] if isinstance(outcome, tuple) else outcome
        images[some], logits[some] = found.images.to(images), found.columns()["logits"].to(logits)
    return _Reads(images, logits, prediction_of(logits).clamp(min=0))


def _shown(scene: _Scene, flipped: Tensor, count: int) -> tuple[int, ...]:
    """Which cases are stored with their pictures: of each label in turn the flipped one that was read right with
    the middle margin of those, the last place for the middle one of the steady; then further ones of either.

    The middle and not the most striking, so that the pictures show what is ordinary.
    """
    labels = torch.tensor([int(row.label or 0) for row in scene.cases.rows])
    margins = margin_of(scene.clean.logits, scene.clean.read).cpu()
    right, lost = (scene.clean.read.cpu() == labels), flipped.cpu()
    groups = [_from_the_middle(margins, lost & right & (labels == label)) for label in sorted(set(labels.tolist()))]
    turns = [group[turn] for turn in range(len(labels)) for group in groups if turn < len(group)]
    steady = _from_the_middle(margins, ~lost & right) or _from_the_middle(margins, ~lost)
    wrong = _from_the_middle(margins, lost & ~right)
    first = turns[:count - 1] + steady[:1] if count > 1 and steady else turns[:count]
    return tuple(list(dict.fromkeys([*first, *turns, *wrong, *steady]))[:count])


def _from_the_middle(margins: Tensor, chosen: Tensor) -> list[int]:
    """The chosen places, those nearest to the median of their margins first."""
    places = chosen.nonzero()[:, 0]
    if not len(places):
        return []
    order = (margins[places] - margins[places].median()).abs().argsort(stable=True)
    return [int(place) for place in places[order].tolist()]


def _attention_rows(scene: _Scene, places: Sequence[int], masks: NDArray[np.uint8], method: Method
                    ) -> Iterator[dict[str, Any]]:
    """A row a case and noise: how far the map of the noisy image lies from that of the clean one."""
    spacing = scene.spacing(places)
    clean = _maps(scene, scene.batch.images, places, method)
    for attack, under in scene.noisy.items():
        noisy = _maps(scene, under.images, places, method)
        known = np.where(np.isfinite(spacing), spacing, 1.0)
        distance = np.where(np.isfinite(spacing).all(1), centre_distance_mm(clean, noisy, known), np.nan)
        columns = {"overlap": overlap(clean, noisy), "distance_mm": distance,
                   "inside_clean": share_inside(clean, masks), "inside_noisy": share_inside(noisy, masks),
                   "area_clean": area(clean), "area_noisy": area(noisy), "mask_share": mask_share(masks),
                   "rank_correlation": rank_correlation(clean, noisy)}
        for at, place in enumerate(places):
            row, read, then = scene.cases.rows[place], int(scene.clean.read[place]), int(under.read[place])
            yield {"case_id": row.id, "patient_id": row.patient, "label": row.label, "prediction": read,
                   "noisy_prediction": then, "flipped": read != then, "method": method, "attack": attack,
                   **{name: float(held[at]) for name, held in columns.items()}}


def _maps(scene: _Scene, images: Images, places: Sequence[int], method: Method) -> NDArray[np.float32]:
    """Maps of the images at `places` for what is read in the clean ones, (m, *space)."""
    chosen = torch.tensor(places)
    found = attention(scene.classifier, images[chosen], scene.clean.read[chosen], scene.layer, method)
    return np.asarray(found.cpu().numpy(), np.float32)


def _sanity(scene: _Scene, places: Sequence[int], seed: int) -> Iterator[dict[str, Any]]:
    """How alike the clean images' maps are to those of networks with weights drawn anew, mean over the draws."""
    some = sorted({places[int(at)] for at in np.linspace(0, len(places) - 1, min(_SANE, len(places)))})
    images = scene.batch.images[torch.tensor(some)]
    for which in WHICH:
        others = [randomised(scene.classifier, images, which, seed + draw) for draw in range(_DRAWS)]
        for method in METHODS:
            held = torch.stack([map_correlation(scene.classifier, other, images, method, scene.layer.name)
                                for other in others]).nanmean(0)
            known = held[torch.isfinite(held)]
            yield {"method": method, "randomised": which, "cases": len(some), "draws": _DRAWS,
                   "correlation": float(known.median()) if len(known) else None, "correlations": held.tolist()}


def _features(scene: _Scene, change: Tensor, seed: int) -> dict[str, Any]:
    """The features from the most changed down, with their medians, beside those of filters drawn anew."""
    order = ranked(change)
    other = randomised(scene.classifier, scene.batch.images, "all layers", seed)
    drawn = feature_change(other, scene.batch.images, scene.noisy["random"].images,
                           layer_named(other, scene.batch.images, scene.feature_layer.name))
    return {"ranking": order.tolist(), "median_change": change.nanmedian(0).values[order].tolist(),
            "constant": change.isnan().all(0).nonzero()[:, 0].tolist(),
            "median_change_of_weights_drawn_anew": drawn.nanmedian(0).values.sort(descending=True).values.tolist()}


def _arrays(scene: _Scene, shown: Sequence[int], look: Look, change: Tensor) -> dict[str, NDArray[Any]]:
    """Everything that pictures of the shown cases are drawn from."""
    chosen, under = torch.tensor(shown), scene.noisy[look.seeing.attack]
    rows = [scene.cases.rows[place] for place in shown]
    made: dict[str, Any] = {
        "case_id": _names(row.id for row in rows), "label": [int(row.label or 0) for row in rows],
        "prediction": scene.clean.read[chosen], "noisy_prediction": under.read[chosen],
        "attack": [look.seeing.attack] * len(rows), "mas": [float(look.seeing.mas)] * len(rows),
        "clean_probability": scene.classifier.probabilities(scene.clean.logits[chosen])[:, 1],
        "noisy_probability": scene.classifier.probabilities(under.logits[chosen])[:, 1],
        "clean": scene.clean.images[chosen, 0], "noisy": under.images[chosen, 0], "mask": _masks(scene, shown),
        "spacing_mm": scene.spacing(shown), "change": change[chosen],
        "features_clean": values(scene.classifier, scene.clean.images[chosen], scene.feature_layer),
        "features_noisy": values(scene.classifier, under.images[chosen], scene.feature_layer)}
    for method in METHODS:
        made[f"map_{method}_clean"] = _maps(scene, scene.clean.images, shown, method)
        made[f"map_{method}_noisy"] = _maps(scene, under.images, shown, method)
    return {name: held.cpu().numpy() if isinstance(held, Tensor) else np.asarray(held)
            for name, held in made.items()}


def _masks(scene: _Scene, places: Sequence[int]) -> NDArray[np.uint8]:
    """The masks on the images' grid, (m, *space), zeros where unknown.

    Raises:
        InputRefused: a mask of another shape than its image.
    """
    space = tuple(scene.batch.images.shape[2:])
    found = np.zeros((len(places), *space), np.uint8)
    for at, place in enumerate(places):
        row = scene.cases.rows[place]
        mask = scene.cases.mask(row)
        if mask is None:
            continue
        if mask.shape != space:
            raise InputRefused(f"{row.where or row.id}: its mask has the shape {mask.shape}, its image {space}: "
                               "give the mask on the image's grid")
        found[at] = mask
    return found


def _names(told: Iterator[str] | Any) -> NDArray[np.str_]:
    return np.array(list(told), str)
