"""`steadyread explain`: some cases of a noise study through the eyes of one of its networks, with pictures."""

import difflib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.cases import Cases
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.explain.attention import captum
from steadyread.files import EXPLAINED, MODEL, SEEN, SEEN_ARRAYS, SETTINGS
from steadyread.jobs.attacks import noise_of
from steadyread.jobs.cards import refuse_unnamed
from steadyread.jobs.job import material_of, network_of
from steadyread.jobs.material import Material
from steadyread.jobs.plan import attack_seed, place
from steadyread.jobs.seeing import Look, looked_at, seen_of
from steadyread.progress import Progress, quiet
from steadyread.report.seeing_drawings import draw_seen
from steadyread.report.shareable import Shareable
from steadyread.store import Cell, refuse_several_sets
from steadyread.study import Study, laid_over
from steadyread.study.noise import Seeing
from steadyread.study.reading import reread
from steadyread.threats.spectrum import SpectrumWarning

_NAMED = 4      # ids that a refusal names


@dataclass(frozen=True)
class Explaining:
    """What is explained: the named cases (some that flip if none), by the network of which fold, under what noise.

    What is None is as the study's [noise.seeing] has it, else that section's default. `model` repeats the name of a
    network that is not built in, whose code is then trusted.
    """

    cases: tuple[str, ...] = ()
    fold: int = 0
    layer: str | None = None
    mas: float | None = None
    attack: str | None = None
    model: str | None = None


def explain_run(folder: str | Path, how: Explaining | None = None, out: str | Path | None = None,
                progress: Progress = quiet, show_ids: bool = False) -> dict[str, Any]:
    """Attention, features and slices of some cases of a noise study, as plain values, with their pictures.

    Writes seen.json, seen.npz and the pictures into `out` (RUN/explain/fold-N if None). The study may be under way:
    the fold's network must be trained. The images are read again from where the study had them. The pictures call
    cases as the report does, unless `show_ids`.

    Raises:
        InputRefused: no run of a noise study there, its network not trained yet, captum not installed.
        UsageError: no such fold, case or layer; a dose that is none.
    """
    how, folder = how or Explaining(), Path(folder)
    captum()
    study = _study(folder, how)
    cell = _cell(study, how.fold)
    own = folder / place(study, cell)
    if study.training is not None and not (own / MODEL).is_file():
        raise InputRefused(f"the network of fold {how.fold} is not trained yet: {own / MODEL} is not there. Let "
                           "the study go on, or name another fold with --fold")
    material, shared = material_of(study, cell), Shareable.of(folder, show_ids)
    classifier = network_of(study, cell, material, own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpectrumWarning)   # the study's own report says it
        how = _by_id(how, material.ready, shared)
        told, arrays, shown = _seen(classifier, material, (study, cell), how, progress)
    target = Path(out) if out is not None else folder / EXPLAINED / f"fold-{how.fold}"
    records.write_npz(target / SEEN_ARRAYS, arrays)
    records.write_json(target / SEEN, told)
    pictures = draw_seen(target / SEEN_ARRAYS, target, study.model.window or (-1000.0, 400.0),
                         material.ready.classes, shared)
    return {key: told[key] for key in ("attack", "mas", "layer", "feature_layer")} | {
        "fold": how.fold, "classes": list(material.ready.classes), "folder": str(target),
        "cases": list(_told(told["attention"], arrays, shown)), "pictures": [str(path) for path in pictures]}


def _study(folder: Path, how: Explaining) -> Study:
    """The study of a run, with what is asked for laid over its [noise.seeing]."""
    path = folder / SETTINGS
    if not path.is_file():
        raise InputRefused(f"{folder} is no run: it has no {SETTINGS}. Give the folder that a noise study has "
                           "written")
    stated = records.read_json(path)
    refuse_several_sets(folder, stated)
    if not isinstance(stated, Mapping) or stated.get("noise") is None:
        raise InputRefused(f"{folder} is no run of a noise study: its {SETTINGS} has no [noise] section. Networks "
                           "are explained where their reads under CT noise are studied")
    refuse_unnamed(stated, folder, how.model)
    asked = {key: value for key in ("layer", "mas", "attack") if (value := getattr(how, key)) is not None}
    seeing = (stated["noise"].get("seeing") or {}) | asked
    return reread(laid_over(stated, {"noise": {"seeing": seeing}}), str(path))


def _cell(study: Study, fold: int) -> Cell:
    """The study's own network on that fold."""
    folds = study.split.folds or 1
    if not 0 <= fold < folds:
        raise UsageError(f"--fold {fold}: the study has " + (
            f"the folds 0 to {folds - 1}" if folds > 1 else "no folds: leave --fold out"))
    return Cell(fold=fold if study.split.folds else None)


def _seen(classifier: Classifier, material: Material, asked: tuple[Study, Cell], how: Explaining, progress: Progress
          ) -> tuple[dict[str, Any], dict[str, Any], Sequence[str]]:
    """What is seen of the named cases, the features judged on the test cases besides; and which cases are shown."""
    study, cell = asked
    seeing = study.ct_noise.seeing or Seeing()
    test = looked_at(material.ready.part("test"), seeing)
    cases, shown = _with(test, material.ready, how.cases)
    look = Look(seeing, noise_of(study), attack_seed(study, cell), shown, every=False)
    told, arrays = seen_of(classifier, cases, look, progress)
    return told, arrays, [str(name) for name in arrays["case_id"]]


def _by_id(how: Explaining, cases: Cases, shared: Shareable) -> Explaining:
    """What is asked for, with the ids of cases that are called as the report has them."""
    ids = {shared.case(row.id): row.id for row in cases.rows}
    return replace(how, cases=tuple(ids.get(name, name) for name in how.cases))


def _with(test: Cases, every: Cases, names: Sequence[str]) -> tuple[Cases, tuple[int, ...] | None]:
    """The test cases and the named ones, and the places of the named.

    Raises:
        UsageError: there is no such case.
    """
    if not names:
        return test, None
    rows = {row.id: row for row in every.rows}
    unknown = [name for name in names if name not in rows]
    if unknown:
        tested = [row.id for row in test.rows]
        near = difflib.get_close_matches(unknown[0], rows, _NAMED, 0.8)
        raise UsageError(f"no case '{unknown[0]}' in {every.name}: there are {len(rows)}, such as "
                         f"{', '.join(near or tested[:_NAMED])}")
    wanted = {name: rows[name] for name in names}
    whole = replace(test, rows=(*wanted.values(), *(row for row in test.rows if row.id not in wanted)))
    return whole, tuple(range(len(wanted)))


def _told(rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any], shown: Sequence[str]
          ) -> Iterator[dict[str, Any]]:
    """What is printed of each shown case: its reads, and how far the maps moved under the noise asked for."""
    for at, name in enumerate(shown):
        own = [row for row in rows if row["case_id"] == name and row["attack"] == str(arrays["attack"][at])]
        maps = {row["method"]: {key: row[key] for key in ("overlap", "distance_mm", "inside_clean", "inside_noisy")}
                for row in own}
        yield {"case_id": name, "label": int(arrays["label"][at]), "prediction": int(arrays["prediction"][at]),
               "noisy_prediction": int(arrays["noisy_prediction"][at]),
               "clean_probability": float(arrays["clean_probability"][at]),
               "noisy_probability": float(arrays["noisy_probability"][at]), "maps": maps}
