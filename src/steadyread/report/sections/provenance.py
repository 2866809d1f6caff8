"""What the figures go by: data, network, attacks, seeds, versions, settings, and what reports are asked for."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steadyread.metrics.summary import as_json
from steadyread.report import forms
from steadyread.report.checklists import checklist_rows
from steadyread.report.crossed import folds
from steadyread.report.items import Fold, Item, Listing, Text
from steadyread.report.marks import code
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import CHECKLISTS, Sets
from steadyread.report.table import Column, Form, table
from steadyread.words.numbers import NONE, attack_name, counted, digits

_SETTING = re.compile(r"\b(\w+)=('[^']*'|[^,()]+)")
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?(e[+-]?\d{1,3})?")
_DIGEST = Form(lambda sha: code(sha[:16]) if sha else NONE, tone="", hint=str)


@section("Data", of=Plain, order=800)
def data(plain: Plain) -> Iterator[Item]:
    """The parts of the data set."""
    s = plain.summary
    known = ("Split and resampled by patient." if s["data"]["patients_known"] else
             "No patients are known: each image counts as its own, so the intervals may be too narrow.")
    yield Text(f"{s['data'].get('name')}{' (SYNTHETIC)' if s['synthetic'] else ''}, classes {', '.join(s['classes'])}. "
               f"{known} What the audit found is among the checks.")
    if s["data"].get("parts"):
        yield table([Column("Part", forms.TEXT), Column("Images", forms.COUNT), Column("Patients", forms.COUNT)],
                    [(name, part["images"], part["patients"]) for name, part in sorted(s["data"]["parts"].items())])


@section("Provenance", of=Plain, order=810)
def provenance(plain: Plain) -> Iterator[Item]:
    """Model, data, seeds and versions; the attacks, and what they cost; the study's settings."""
    run = plain.summary["provenance"]
    yield _facts([("Model", *_model(plain)), ("Data", *_data(plain.summary["data"])), ("Seed", str(run["seed"]), ""),
                  ("Images per block", str(run["block"]), ""), ("Versions", _versions(run["versions"]), "")])
    yield _attacks(plain)
    if run["study"]:
        yield _settings(run["study"])


def _facts(rows: Sequence[tuple[str, str, str]]) -> Item:
    """What, its name, and the checksum by which it is known."""
    return table([Column("What", forms.TEXT), Column("Which", forms.WRAPPED), Column("SHA-256", _DIGEST)], rows)


def _attacks(plain: Plain) -> Item:
    """A row an attack: its sizes, its settings, and the passes through the network that it took per image."""
    bounds = plain.bounds
    rows: dict[tuple[str, ...], list[float]] = {}
    for text in plain.summary["provenance"]["attacks"]:
        settings = dict(_SETTING.findall(text))
        name = settings.get("name", "").strip("'") or text.partition("(")[0]
        key = (name, *(settings.get(each, "") for each in ("steps", "step", "starts", "random_start")))
        size = settings.get("epsilon", "")
        rows.setdefault(key, []).extend([float(size)] if _is_number(size) else [])
    passes = {row["attack"]: row for row in plain.summary["passes"]}
    unit = plain.unit or "of range"
    scale = 1.0 if plain.unit else bounds.range
    columns = [Column("Attack", forms.TEXT), Column(f"Sizes, {unit}", forms.WRAPPED),
               *(Column(title, forms.COUNT) for title in ("Steps", "Step, of size", "Starts")),
               *(Column(title, forms.only(1, 1), "Passes per image") for title in ("Forwards", "Backwards"))]
    return table(columns, [(attack_name(name), ", ".join(digits(size / scale) for size in sizes) or "searched", *map(
        _plain, (steps, step, f"{starts}{' at random' if random == 'True' else ''}")),
        *((passes.get(name) or {}).get(each) for each in ("forwards", "backwards")))
        for (name, steps, step, starts, random), sizes in rows.items()], above="The attacks, as the plan states them; "
        "passes are means over the images that were searched.", note="Every setting of each is in plan.json.")


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _plain(text: str) -> str:
    """A setting without the last digits of its binary form; a dash where there is none."""
    return (f"{float(text):.4g}" if _is_number(text) else text) or NONE


@section("Settings and versions", of=Noise, order=815)
def noise_provenance(noise: Noise) -> Iterator[Item]:
    """Data, seed, versions, every network, the study's settings."""
    provenance = noise.summary["provenance"]
    yield _facts([("Data", *_data(noise.summary["data"])), ("Seed", str(provenance["seed"]), ""),
                  ("Versions", _versions(provenance["versions"]), "")])
    columns = [Column("Network", forms.TEXT), *(Column(title, forms.OPTIONAL) for title in (
        "Fold", "Parameters", "Epochs", "Kept", "Seconds")), Column("SHA-256", _DIGEST)]
    networks = provenance["networks"]
    yield Fold(counted(len(networks), "network"), (table(columns, [
        (row["variant"], row["fold"], row["parameters"], row["epochs"] or None, row["chosen_epoch"],
         None if row["seconds"] is None else round(row["seconds"]), row["sha256"] or "")
        for row in networks]),))
    if provenance["settings"]:
        yield _settings(provenance["settings"])


def _data(data: Mapping[str, Any]) -> tuple[str, str]:
    return str(data.get("name")), str(data.get("sha256") or "")


def _versions(versions: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted((versions or {}).items())) or NONE


def _settings(study: Mapping[str, Any]) -> Item:
    return Fold("Settings of the study", (Listing(json.dumps(as_json(study), indent=2, ensure_ascii=False)),))


def _model(plain: Plain) -> tuple[str, str]:
    model = plain.summary["model"]
    words = str(model.get("name"))
    if "parameters" in model:
        words += f", {model['parameters']:,} parameters"
    words += "".join(f", {key} {model[key]}" for key in ("output", "threshold") if key in model)
    return words, str(model.get("sha256") or "")


@section("Reporting checklists", of=Plain, order=900)
def checklists(plain: Plain) -> Iterator[Item]:
    """What guidelines ask of a report, filled in as far as the run's files tell."""
    yield Text("What guidelines and regulators ask of a report on such a model, filled in as far as this run's files "
               f"tell. Every item is in {code('checklist.md')} and {code('checklist.json')}.", "soft")
    yield from folds(checklist_rows(plain.runs))


@section(CHECKLISTS, of=Sets, order=900)
def set_checklists(sets: Sets) -> Iterator[Item]:
    """The same of several data sets, answered set by set."""
    if sets.each:
        yield Text("What the runs' own files answer, set by set, and what is left for the author. Every item, the open "
                   f"ones too, is in {code('checklist.md')} and {code('checklist.json')}, and every table of this page "
                   f"in {code('report.md')}.", "soft")
        yield from folds(checklist_rows(sets.runs))


@section("Provenance", of=Sets, order=810)
def set_provenance(sets: Sets) -> Iterator[Item]:
    """Where everything comes from, and the study's settings."""
    yield Text("Every number comes from the records of the runs below this folder; settings, seeds, checksums and "
               "versions are on each set's own page.")
    yield _settings(sets.stored.study)
