"""The pictures of the cases that a page shows, beside the records: what the network says on the way to each flip, and
CT noise at every dose of the study."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from steadyread import set_aside
from steadyread.assessment import SMALLEST_FLIP, name_of
from steadyread.attacks.random_noise import RandomCTNoise, sizes_at
from steadyread.attacks.recipe import chunks
from steadyread.cases import Cases, collate
from steadyread.cases.readable import only
from steadyread.classifier import Classifier, prediction_of
from steadyread.metrics import reads_of
from steadyread.metrics.case_rows import case_rows
from steadyread.metrics.choosing import Shown
from steadyread.metrics.plan import part_of
from steadyread.pictured import (
    FLIPS,
    REDRAWS,
    ROOM,
    Pictured,
    Walk,
    Whole,
    in_steps,
    parts_of,
    pictured_ids,
    read_part,
    read_walk,
    room_of,
)
from steadyread.picturing import Album
from steadyread.threats import CTNoise
from steadyread.types import Batch, Labels

ALONG = tuple(round(0.1 * step, 1) for step in range(21))   # times the flip, at which the network is asked
FEW_ALONG = ALONG[::2]      # in a first look
_AT_ONCE = 32     # cases whose images are held together
Along = Float[Tensor, "n k"]


def shown_cases(cases: Cases, table: pa.Table, dose: bool = False) -> Cases:
    """The judged cases of which a page has pictures, as far as a network's pictures have room."""
    judged = cases.part("test") if part_of(table) == "test" else cases
    if not len(judged):
        return judged
    rows = case_rows(reads_of(table, part_of(table), bounds=cases.bounds), dose=dose)
    places = rows.shown(Shown().within(ROOM // room_of(judged[0].image.shape)))
    return only(judged, rows.case_id[places].tolist())


def pictured(classifier: Classifier, cases: Cases, table: pa.Table,
             attacks: Sequence[Any] | Mapping[str, Sequence[Any]], folder: Path, seed: int,
             hurried: bool = False) -> None:
    """The pictures of what the attacks found, of all parts or by part, of a network assessed outside of a study."""
    by_part = attacks.values() if isinstance(attacks, Mapping) else [attacks]
    every = [attack for several in by_part for attack in several]
    picture_flips(classifier, shown_cases(cases, table), every, folder, seed, hurried)
    for attack in every:
        if isinstance(attack, RandomCTNoise) and not attack.inflated:
            picture_redraws(classifier, shown_cases(cases, table, True), attack.threat, attack.mas, folder, seed)


def picture_flips(classifier: Classifier, cases: Cases, attacks: Sequence[Any], folder: Path, seed: int,
                  hurried: bool = False) -> None:
    """What the network says from each shown image to twice its flip, at half as many places for a first look
    (`hurried`); `cases` are those shown.

    A flip whose picture is not there, as in a run of an earlier version, is searched once more, by the search among the
    `attacks`.
    """
    walk = read_walk(folder, FLIPS)
    if walk is not None and set(walk.id) == {row.id for row in cases.rows}:
        return
    search = next((attack for attack in attacks if name_of(attack) == SMALLEST_FLIP), None)
    there = pictured_ids(folder, FLIPS)
    missing = only(cases, [row.id for row in cases.rows if row.id not in there])
    if search is not None and len(missing):
        _search_again(classifier, missing, search, folder, seed)
    done: dict[str, np.ndarray] = {}
    along = FEW_ALONG if hurried else ALONG
    at = torch.tensor(along)
    for _, path in parts_of(folder, FLIPS):
        part = read_part(path)
        if part is None or part.scale.shape[1] != 1:
            continue
        for batch, _ in _batches(only(cases, set(part.id) - done.keys()), classifier):
            found = part.of(batch.keys)
            scale = torch.from_numpy(np.nan_to_num(found.scale)) * at
            done |= _walked(classifier, batch, torch.from_numpy(found.change), scale, clipped=True)
    _write_walk(done, cases, np.array(along), folder, FLIPS)


def picture_redraws(classifier: Classifier, cases: Cases, noise: CTNoise, mas: Sequence[float], folder: Path, seed: int
                    ) -> None:
    """One draw of the noise on each shown image at every dose, with what the network says of it; `cases` are those
    shown. It is the first of the draws by which their reads were tried with that seed."""
    walk, doses = read_walk(folder, REDRAWS), sorted(float(dose) for dose in mas)
    if walk is not None and set(walk.id) == {row.id for row in cases.rows} and walk.at.tolist() == doses:
        return
    done: dict[str, np.ndarray] = {}
    for number, (batch, _) in enumerate(_batches(cases, classifier)):
        sizes = sizes_at(noise, doses, batch)
        drawn = noise.start(batch, torch.ones(len(batch), device=batch.images.device), seed, 0)
        change, step = in_steps(drawn.cpu().numpy())
        scale = step[:, None] * sizes.double().cpu().numpy()
        parts_of(folder, REDRAWS).write(number, Pictured(
            batch.keys, Whole.of(batch.images.cpu().numpy(), cases.bounds), change, scale).as_npz())
        done |= _walked(classifier, batch, torch.from_numpy(change), torch.from_numpy(scale), clipped=False)
    _write_walk(done, cases, np.array(doses), folder, REDRAWS)


def said_along(classifier: Classifier, batch: Batch, change: Tensor, scale: Along, clipped: bool, most: int = _AT_ONCE
               ) -> np.ndarray:
    """The probabilities (n, k, classes) of each image with `scale` (n, k) times its `change` (n, c, *space) added,
    `clipped` to the bounds; `most` images are read together."""
    steps = scale.to(batch.images)
    moved = batch.images[:, None] + change.to(batch.images)[:, None] * steps.reshape(
        *steps.shape, *[1] * (change.ndim - 1))
    moved = moved.clamp(batch.bounds.low, batch.bounds.high) if clipped else moved
    with classifier.frozen() as network, torch.no_grad():
        logits = torch.cat([network.logits(some) for some in torch.split(moved.flatten(0, 1), most)])
    return classifier.probabilities(logits.double()).reshape(*steps.shape, -1).cpu().numpy()


def _write_walk(done: dict[str, np.ndarray], cases: Cases, at: np.ndarray, folder: Path, kind: str) -> None:
    """The walk of all cases shown, NaN of those of which the network said nothing."""
    if done:
        classes = next(iter(done.values())).shape[-1]
        unknown = np.full((len(at), classes), np.nan)
        Walk(tuple(row.id for row in cases.rows), at, np.stack([done.get(row.id, unknown) for row in cases.rows])
             ).write(folder, kind)


def _batches(cases: Cases, classifier: Classifier) -> Iterator[tuple[Batch, Labels]]:
    """The cases and their labels, as many at a time as are held together; those that cannot be read any more are left
    out."""
    for start in range(0, len(cases), _AT_ONCE):
        held, _ = set_aside.loaded(cases, range(start, min(start + _AT_ONCE, len(cases))))
        if held:
            batch, labels = collate(held, classifier.valid)
            yield classifier.batch(batch), labels.to(classifier.device)


def _walked(classifier: Classifier, batch: Batch, change: Tensor, scale: Along, clipped: bool) -> dict[str, np.ndarray]:
    """By case the probabilities (k, classes) of its image with `scale` (n, k) times its `change` (n, c, *space) added,
    `clipped` to the bounds; without cases on which the network fails."""
    most = len(chunks(batch)[0])

    def ask(places: Sequence[int]) -> list[tuple[str, np.ndarray]]:
        at = torch.tensor(places)
        own = batch.pick(at.to(batch.images.device))
        return list(zip(own.keys, said_along(classifier, own, change[at], scale[at], clipped, most), strict=True))

    found: dict[str, np.ndarray] = {}
    for some in torch.split(torch.arange(len(batch)), max(1, most // scale.shape[1])):
        found |= dict(set_aside.case_by_case(ask, some.tolist())[0])
    return found


def _search_again(classifier: Classifier, cases: Cases, search: Any, folder: Path, seed: int) -> None:
    """The pictures of flips whose pictures are missing, in parts after all others."""
    album = Album(folder, cases.bounds, None, ROOM)
    after = max((number for number, _ in parts_of(folder, FLIPS)), default=-1) + 1
    for number, (batch, labels) in enumerate(_batches(cases, classifier)):
        predictions = prediction_of(classifier.examine(batch.images))

        def searched(places: Sequence[int], batch: Batch = batch, predictions: Tensor = predictions,
                     wrong: Tensor = predictions != labels) -> list[None]:
            at = torch.tensor(places, device=predictions.device)
            own, lost = batch.pick(at), predictions[at]
            album.take(own, "", wrong[at], torch.arange(len(places)), search(classifier, own, lost, seed))
            return []

        set_aside.case_by_case(searched, (predictions >= 0).nonzero()[:, 0].tolist())
        album.write(after + number, batch.keys)
