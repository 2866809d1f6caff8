"""What the figures go by: data, network, attacks, seeds, versions, settings, and what reports are asked for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.summary import as_json
from steadyread.report import forms
from steadyread.report.checklists import checklist_rows
from steadyread.report.crossed import folds
from steadyread.report.items import Fold, Item, Listing, Terms, Text
from steadyread.report.marks import code
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import CHECKLISTS, Sets
from steadyread.report.table import Column, table
from steadyread.words.numbers import NONE, attack_name, counted


@section("Data", of=Plain, order=800)
def data(plain: Plain) -> Iterator[Item]:
    """The parts of the data set."""
    s = plain.summary
    known = ("Split and resampled by patient." if s["data"]["patients_known"] else
             "No patients are known: each image counts as its own, so the intervals may be too narrow.")
    yield Text(f"{s['data'].get('name')}{' (SYNTHETIC)' if s['synthetic'] else ''}, classes {', '.join(s['classes'])}. "
               f"{known} What the audit found stands among the findings above.")
    if s["data"].get("parts"):
        yield table([Column("Part", forms.TEXT), Column("Images", forms.COUNT), Column("Patients", forms.COUNT)],
                    [(name, part["images"], part["patients"]) for name, part in sorted(s["data"]["parts"].items())])


@section("Provenance", of=Plain, order=810)
def provenance(plain: Plain) -> Iterator[Item]:
    """Model, data, attacks, seeds and versions; passes through the network; the study's settings."""
    s, run = plain.summary, plain.summary["provenance"]
    yield Terms((
        ("Model", _model(plain)),
        ("Data", _data(s["data"])),
        ("Attacks", "\n".join(code(text) for text in run["attacks"]) or NONE),
        ("Seed, block", f"{run['seed']}, {run['block']}"),
        ("Versions", _versions(run["versions"]))))
    if s["passes"]:
        yield table([Column("Attack", forms.TEXT), Column("Forwards", forms.only(1, 1)),
                     Column("Backwards", forms.only(1, 1))],
                    [(attack_name(row["attack"]), row["forwards"], row["backwards"]) for row in s["passes"]],
                    above="Passes through the network an image, over the images that were searched.")
    if run["study"]:
        yield _settings(run["study"])


@section("Settings and versions", of=Noise, order=815)
def noise_provenance(noise: Noise) -> Iterator[Item]:
    """Data, seed, versions, every network, the study's settings."""
    provenance = noise.summary["provenance"]
    yield Terms((("Data", _data(noise.summary["data"])), ("Seed", str(provenance["seed"])),
                 ("Versions", _versions(provenance["versions"]))))
    columns = [Column("Network", forms.TEXT), *(Column(title, forms.OPTIONAL) for title in (
        "Fold", "Parameters", "Epochs", "Kept", "Seconds")), Column("sha256", forms.TEXT)]
    networks = provenance["networks"]
    yield Fold(counted(len(networks), "network"), (table(columns, [
        (row["variant"], row["fold"], row["parameters"], row["epochs"] or None, row["chosen_epoch"],
         None if row["seconds"] is None else round(row["seconds"]), code((row["sha256"] or NONE)[:16]))
        for row in networks]),))
    if provenance["settings"]:
        yield _settings(provenance["settings"])


def _data(data: Mapping[str, Any]) -> str:
    return str(data.get("name")) + (f"\n{code('sha256 ' + data['sha256'])}" if data.get("sha256") else "")


def _versions(versions: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted((versions or {}).items())) or NONE


def _settings(study: Mapping[str, Any]) -> Item:
    return Fold("Settings of the study", (Listing(json.dumps(as_json(study), indent=2, ensure_ascii=False)),))


def _model(plain: Plain) -> str:
    model = plain.summary["model"]
    words = str(model.get("name"))
    if "parameters" in model:
        words += f", {model['parameters']:,} parameters"
    words += "".join(f", {key} {model[key]}" for key in ("output", "threshold") if key in model)
    return words + (f"\n{code('sha256 ' + model['sha256'])}" if "sha256" in model else "")


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
    yield Text("Every figure comes from the records of the runs below this folder; settings, seeds, checksums and "
               "versions stand on each set's own page.")
    yield _settings(sets.stored.study)
