"""Cases x attacks -> rows of records, a block of cases at a time, in a store that survives being killed."""

import hashlib
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from steadyread import records, set_aside
from steadyread._version import __version__
from steadyread.attacks.blind import reached, without_gradients
from steadyread.attacks.cost import block_of
from steadyread.attacks.flips import SmallestFlip
from steadyread.cases import Cases, collate
from steadyread.cases.case_set import fingerprints
from steadyread.cases.readable import readable, reason
from steadyread.classifier import Classifier, margin_of, prediction_of
from steadyread.errors import Doubt, InputRefused, UsageError
from steadyread.files import MARKS
from steadyread.folder_lock import locked
from steadyread.picturing import Album
from steadyread.progress import Progress, at_work, in_pieces, note, quiet
from steadyread.suitability import refuse_unsuited
from steadyread.types import Batch, Case, Labels

Against = Literal["label", "prediction", "both"]
SMALLEST_FLIP = "smallest_flip"
_LOOKED = 16  # cases looked at before any attack


class Outcome(Protocol):
    """What an attack returns: images, and columns for the records (`Attacked`, `SmallestFlip`, yours)."""

    @property
    def images(self) -> Tensor:
        """The attacked images, (n, c, *space)."""
        ...

    def columns(self) -> Mapping[str, Tensor]:
        """Column name -> one value (or one row of logits) an image."""
        ...


# (classifier, batch, reference, seed) -> what was found, or merely the attacked images; an attack whose `size` is
# a tuple returns as many
Attack = Callable[[Classifier, Batch, Labels, int], Outcome | Tensor | Sequence[Outcome]]


def assess(classifier: Classifier, cases: Cases, attacks: Sequence[Attack] | Mapping[str, Sequence[Attack]], *,
           against: Against = "both", store: str | Path | None = None, seed: int = 0,
           progress: Progress = quiet) -> pa.Table:
    """Attacks every case with every attack and returns the records (columns: `records.SCHEMA`).

    Args:
        attacks: recipes, `smallest_flip` (with `functools.partial` for its settings) and functions of your own,
            all called as (classifier, batch, reference, seed). A mapping gives each part its own attacks.
        against: what must be lost for a flip: the true `label`, the clean `prediction`, or `both`, which costs
            one search: the two differ only in images that are wrong to begin with.
        store: a folder. Finished blocks are kept there; the same call goes on where it was stopped. A folder
            with another plan (data, model, attacks, seed, versions) is refused.

    A case on which the network or the reader of its image fails is set aside and named in the store's
    set_aside.json; the others are assessed. The same call tries those again, and nothing else. (An image that could
    not be read at the start is no part of the plan: mended, it makes other data.)

    Raises:
        InputRefused: an image or the model's output is not as stated, or the first block fails on every case.
        PlanDiffers: the folder holds another plan's records.
        Partial: the disk is full; finished blocks are kept.
    """
    cases, _ = readable(cases)
    chosen = _attacks_by_part(cases, attacks)
    sides: tuple[Literal["label", "prediction"], ...] = (
        ("label", "prediction") if against == "both" else (against,))
    refuse_unsuited(classifier, cases)
    if not _first_look(classifier, cases):
        chosen = {part: without_gradients(several) for part, several in chosen.items()}
        warnings.warn("no gradient reaches the images: the network is judged by Square and random changes in place "
                      "of attacks that climb one, and its smallest flips are weak upper bounds", Doubt,
                      stacklevel=2)
    prints = at_work(progress, f"reading {len(cases)} images", lambda: fingerprints(cases))
    plan = describe(classifier, cases, chosen, sides, seed, prints.whole)
    block = _stored_block(store) or block_of(classifier, cases, [one for several in chosen.values() for one in several])
    plan["block"] = block
    common = {"data": cases.name, "model": classifier.name, "stage": classifier.stage, "unit": cases.bounds.unit,
              "fold": cases.fold, "seed": seed, "model_sha256": plan["model"]["sha256"],
              "data_sha256": plan["data"]["sha256"], "version": __version__}

    blocks = -(-len(cases) // block)
    album = None if store is None else Album.of(Path(store), cases.bounds, {row.part for row in cases.rows}, blocks)

    def work(held: Sequence[Case]) -> list[dict[str, object]]:
        return [common | row for row in _rows(classifier, list(held), chosen, sides, seed, album)]

    with nullcontext() if store is None else locked(Path(store)):
        kept = records.open_store(store, plan, blocks) if store is not None else None
        if kept and not (kept.folder / MARKS).exists():
            records.write_json(kept.folder / MARKS, prints.marks)
        return _in_blocks(work, cases, kept, progress, block, album)


def _in_blocks(work: Callable[[Sequence[Case]], list[dict[str, object]]], cases: Cases, kept: records.Store | None,
               progress: Progress, size: int, album: Album | None) -> pa.Table:
    """The rows of all cases, block by block, the pictures of each before them; a store's finished blocks are taken up,
    but for cases set aside."""
    done = kept.finished_blocks().blocks if kept else frozenset()
    aside = set_aside.stored(kept.folder) if kept else {}
    todo = _places_to_do(cases, done, aside, size)
    tables: list[pa.Table] = []
    for block in in_pieces(progress, {block: len(places) for block, places in todo.items()}, "assessing images"):
        places = todo[block]
        held, failed = set_aside.loaded(cases, places)
        rows, more = set_aside.case_by_case(work, held)
        failed += [(case.id, problem) for case, problem in more]
        if not rows and not done and not tables:
            raise _refused(failed) from failed[0][1]
        retried = [cases.rows[place].id for place in places]
        aside = set_aside.store(kept.folder if kept else None, aside, failed, retried)
        table = records.as_table(rows)
        others = (kept.rows_of(block) if kept and block in done and rows else table[:0])
        others = others.filter(pc.invert(pc.is_in(others["case_id"], pa.array(retried, pa.string()))))
        if album is not None:
            album.write(block, *(pc.unique(several["case_id"]).to_pylist() for several in (table, others)))
        if kept and (rows or block not in done):
            kept.write_part(block, pa.concat_tables([others, table]))
        tables.append(table)
    if aside and kept is None:
        note(set_aside.told(aside))
    return records.read(kept.folder) if kept else pa.concat_tables(tables)


def _stored_block(store: str | Path | None) -> int | None:
    """The size of the blocks of a store that was begun, which goes on with it."""
    path = Path(store) / records.PLAN if store is not None else None
    there = records.read_json(path) if path is not None and path.exists() else {}
    block = there.get("block") if isinstance(there, Mapping) else None
    return block if isinstance(block, int) and block > 0 else None


def _places_to_do(cases: Cases, done: Set[int], aside: Mapping[str, str], size: int) -> dict[int, list[int]]:
    """By block, the places of its cases; of a finished block those that were set aside."""
    todo: dict[int, list[int]] = {}
    for place, row in enumerate(cases.rows):
        if place // size not in done or row.id in aside:
            todo.setdefault(place // size, []).append(place)
    return todo


def _refused(failed: Sequence[tuple[str, Exception]]) -> InputRefused:
    """What to raise where not one of the first cases could be assessed."""
    name, problem = failed[0]
    return InputRefused(f"none of the first {len(failed)} images could be assessed; '{name}': "
                        f"{reason(problem)}")


def describe(classifier: Classifier, cases: Cases, attacks: Mapping[str, Sequence[Attack]],
             against: Sequence[str], seed: int, data: str) -> dict[str, Any]:
    """The plan: everything that the records depend on, as plain values; `data` is the digest of the cases."""
    parts = {part: [row for row in cases.rows if row.part == part] for part in sorted({r.part for r in cases.rows})}
    return {
        "data": {"name": cases.name, "unit": cases.bounds.unit, "bounds": [cases.bounds.low, cases.bounds.high],
                 "classes": list(cases.classes), "synthetic": cases.synthetic,
                 "patients_known": cases.patients_known, "sha256": data,
                 "parts": {part: {"images": len(rows), "patients": len({row.patient for row in rows})}
                           for part, rows in parts.items()}},
        "model": {"name": classifier.name, "sha256": model_digest(classifier.module), "output": classifier.output,
                  "threshold": classifier.threshold, "normalise": _told(classifier.normalise),
                  "parameters": sum(p.numel() for p in classifier.module.parameters())},
        "attacks": {part: [describe_attack(attack) for attack in chosen] for part, chosen in attacks.items()},
        "against": list(against), "seed": seed,
        "versions": {"steadyread": __version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
    }


def describe_attack(attack: Attack) -> str:
    """An attack's name and settings on one line."""
    if isinstance(attack, partial):
        settings = ", ".join([*(_told(value) for value in attack.args),
                              *(f"{name}={_told(value)}" for name, value in attack.keywords.items())])
        return f"{name_of(attack)}({settings})"
    return _told(attack) if hasattr(attack, "__name__") else repr(attack)


def _told(value: object) -> str:
    """A setting as text that is the same in another process and differs where the setting does."""
    if isinstance(value, Tensor):
        pixels = value.detach().cpu().contiguous().numpy()
        return f"tensor{tuple(value.shape)} sha256 {hashlib.sha256(pixels.tobytes()).hexdigest()[:16]}"
    if isinstance(value, tuple):
        return f"({', '.join(_told(inner) for inner in value)})"
    if not hasattr(value, "__qualname__"):
        return repr(value)
    held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    defaults = [*(getattr(value, "__defaults__", None) or ()), *held]
    told = f"({', '.join(_told(inner) for inner in defaults)})" if defaults and held else ""
    return f"{value.__qualname__}{told}"


def name_of(attack: Attack) -> str:
    """The name under which an attack stands in the records."""
    if isinstance(attack, partial):
        return name_of(attack.func)
    return str(getattr(attack, "name", None) or getattr(attack, "__name__", type(attack).__name__))


def model_digest(module: nn.Module) -> str:
    """SHA-256 over the module's structure and the bytes of its parameters and buffers."""
    digest = hashlib.sha256(repr(module).encode())
    for name, value in sorted(module.state_dict().items()):
        stored = value.detach().cpu().contiguous()
        digest.update(f"{name}\x1f{tuple(stored.shape)}\x1f{stored.dtype}".encode())
        digest.update(stored.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _attacks_by_part(cases: Cases, attacks: Sequence[Attack] | Mapping[str, Sequence[Attack]]
                     ) -> dict[str, Sequence[Attack]]:
    parts = sorted({row.part for row in cases.rows})
    chosen = dict(attacks) if isinstance(attacks, Mapping) else dict.fromkeys(parts, attacks)
    for part, several in chosen.items():
        names = [(name_of(attack), getattr(attack, "size", None)) for attack in several]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UsageError(f"two attacks on the part '{part}' have the name and size {sorted(twice)[0]}: "
                             "give one of them another name")
    return {part: chosen.get(part, ()) for part in parts}


def _first_look(classifier: Classifier, cases: Cases) -> bool:
    """Before any attack: warns of what cannot well be as stated; returns whether gradients reach the images."""
    places = torch.linspace(0, len(cases) - 1, min(_LOOKED, len(cases))).long().tolist()

    def look(some: Sequence[Case]) -> list[bool]:
        batch = classifier.batch(collate(some, classifier.valid)[0])
        classifier.examine(batch.images)
        return [reached(classifier, batch.images)]

    seen = [graded for case in set_aside.loaded(cases, places)[0]
            for graded in set_aside.case_by_case(look, [case])[0]]
    classifier.tell_doubts()
    return any(seen) or not seen


@dataclass(frozen=True, eq=False)
class _Clean:
    """The cases of one part of a block, all n of them, as they are read before any attack."""

    cases: list[Case]
    batch: Batch
    logits: Tensor
    predictions: Labels
    labels: Labels

    def reference(self, side: str) -> Labels:
        """The class that each must lose, (n,)."""
        return self.labels if side == "label" else self.predictions


def _rows(classifier: Classifier, cases: list[Case], attacks: Mapping[str, Sequence[Attack]],
          sides: Sequence[str], seed: int, album: Album | None) -> Iterator[dict[str, object]]:
    """The rows of one block: per part, the clean images first, then attack by attack."""
    for part in sorted({case.part for case in cases}):
        chosen = [case for case in cases if case.part == part]
        loaded, labels = collate(chosen, classifier.valid)
        batch = classifier.batch(loaded)
        logits = classifier.examine(batch.images)
        predictions = prediction_of(logits)
        clean = _Clean(chosen, batch, logits, predictions, labels.to(predictions.device))
        yield from _clean_rows(clean, sides)
        for attack in attacks[part]:
            yield from _attack_rows(classifier, clean, attack, sides, seed, album)


def _clean_rows(clean: _Clean, sides: Sequence[str]) -> Iterator[dict[str, object]]:
    for side in sides:
        reference = clean.reference(side)
        margin = margin_of(clean.logits, reference.clamp(min=0)).tolist()
        for place, case in enumerate(clean.cases):
            yield _case_columns(case) | {
                "against": side, "reference": int(reference[place]), "attack": "clean", "threat": "none",
                "size": 0.0, "trials": 1, "flips": int(clean.predictions[place] != reference[place]),
                "found_size": None, "prediction": int(clean.predictions[place]),
                "logits": clean.logits[place].tolist(), "margin": margin[place], "forwards": 1, "backwards": 0}


def _attack_rows(classifier: Classifier, clean: _Clean, attack: Attack, sides: Sequence[str], seed: int,
                 album: Album | None) -> Iterator[dict[str, object]]:
    """Rows of one attack. Images that are wrong (or undecided) before it need no search against the label."""
    batch, predictions = clean.batch, clean.predictions
    right = predictions == clean.labels
    tried = (predictions >= 0) if "prediction" in sides else right
    places = tried.nonzero()[:, 0]
    outcomes = _outcomes(classifier, batch.pick(places), attack, predictions[places], seed) if len(places) else []
    if album is not None and name_of(attack) == SMALLEST_FLIP:
        found = next((one for one in outcomes if isinstance(one, SmallestFlip)), None)
        album.take(batch, clean.cases[0].part, ~right & (clean.labels >= 0), places, found)
    several = [_columns(classifier, batch.pick(places), attack, predictions[places], one) for one in outcomes]
    rank = {int(place): at for at, place in enumerate(places)}
    threat = type(attack.threat).__name__ if hasattr(attack, "threat") else "Linf"
    own = getattr(getattr(attack, "threat", None), "unit", None)
    unit = {} if own is None else {"unit": own}
    for at, size in enumerate(_sizes(attack)):
        named = {"attack": name_of(attack), "size": size, "threat": threat} | unit
        columns = several[at] if several else {}
        for side, (place, case) in product(sides, enumerate(clean.cases)):
            row = _case_columns(case) | named | {
                "against": side, "reference": int(clean.reference(side)[place])}
            searched = place in rank and (side == "prediction" or bool(right[place]))
            if searched:
                yield row | {name: values[rank[place]] for name, values in columns.items()}
            else:
                wrong = side == "label"
                yield row | {"trials": 1, "flips": int(wrong), "found_size": 0.0 if wrong else None,
                             "prediction": int(predictions[place]), "logits": clean.logits[place].tolist(),
                             "margin": float(margin_of(clean.logits, clean.labels)[place]) if wrong else None,
                             "forwards": 0, "backwards": 0}


def _sizes(attack: Attack) -> tuple[float | None, ...]:
    """The sizes that one call of the attack tries."""
    size: float | tuple[float, ...] | None = getattr(attack, "size", None)
    return size if isinstance(size, tuple) else (size,)


def _outcomes(classifier: Classifier, batch: Batch, attack: Attack, reference: Labels, seed: int
              ) -> list[Outcome | Tensor]:
    """What one attack found on one batch, one outcome a size."""
    outcome = attack(classifier, batch, reference, seed)
    return [outcome] if isinstance(outcome, Tensor) or not isinstance(outcome, Sequence) else list(outcome)


def _columns(classifier: Classifier, batch: Batch, attack: Attack, reference: Labels, outcome: Outcome | Tensor
             ) -> dict[str, list[object]]:
    images = outcome if isinstance(outcome, Tensor) else outcome.images
    columns = {} if isinstance(outcome, Tensor) else dict(outcome.columns())
    if images.shape != batch.images.shape:
        raise InputRefused(f"the attack '{name_of(attack)}' returned images of shape {tuple(images.shape)} for "
                           f"{tuple(batch.images.shape)}")
    if "logits" not in columns:
        with classifier.frozen(), torch.no_grad():
            columns["logits"] = classifier.logits(classifier.batch(images, batch.keys).images)
    columns.setdefault("margin", margin_of(columns["logits"], reference))
    columns["prediction"] = prediction_of(columns["logits"])
    columns.setdefault("flips", (columns["margin"] < 0).long())
    columns.setdefault("trials", torch.ones_like(columns["flips"]))
    columns.setdefault("found_size", (images - batch.images).flatten(1).abs().amax(1))
    values = {name: column.tolist() for name, column in columns.items()}
    if getattr(getattr(attack, "threat", None), "unit", None) is None:   # noise of a dose is no change of a size
        values["flips_rounded"] = _rounded(classifier, batch, images, reference, columns["margin"])
    return values


def _rounded(classifier: Classifier, batch: Batch, images: Tensor, reference: Labels, margin: Tensor
             ) -> list[object]:
    """Whether each flip stands (1 or 0) when the attacked image is rounded to whole values, as it would be stored;
    None where nothing flipped, or where the image itself is of other than whole values."""
    whole = (batch.images == batch.images.round()).flatten(1).all(1)
    places = (whole & (margin < 0)).nonzero()[:, 0]
    stands: list[object] = [None] * len(batch)
    if len(places):
        with classifier.frozen(), torch.no_grad():
            stored = images[places].round().clamp(batch.bounds.low, batch.bounds.high)
            flips = classifier.margins(stored, reference[places]) < 0
        for place, flip in zip(places.tolist(), flips.tolist(), strict=True):
            stands[place] = int(flip)
    return stands


def _case_columns(case: Case) -> dict[str, object]:
    return {"case_id": case.id, "patient_id": case.patient, "part": case.part, "label": case.label,
            "scan_mas": case.scan_mas}
