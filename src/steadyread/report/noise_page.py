"""The page of a noise study: one self-contained file in the look of every report, from stored files alone."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from steadyread import records
from steadyread.figures import save
from steadyread.files import FIGURES, PAGE, SUMMARY
from steadyread.metrics import published
from steadyread.metrics.noise_hardening import summarise_noise_hardening
from steadyread.metrics.noise_summary import GIVEAWAYS, by_severity, networks_by_variant, summarise_noise
from steadyread.metrics.seeing import summarise_seeing
from steadyread.metrics.summary import as_json
from steadyread.report import noise_tables as tables
from steadyread.report import seeing_tables
from steadyread.report.inline import inline_svg
from steadyread.report.noise_drawings import noise_drawings
from steadyread.report.noise_hardening_drawings import noise_hardening_drawings
from steadyread.report.noise_hardening_stored import read_noise_hardening
from steadyread.report.noise_hardening_tables import hardening_page_rows, signed, signed_interval
from steadyread.report.noise_stored import NoiseRun, read_noise_run
from steadyread.report.seeing_drawings import seeing_drawings
from steadyread.report.seeing_stored import read_seen_run
from steadyread.report.shareable import Shareable
from steadyread.report.tables import tight
from steadyread.words import noise as wording
from steadyread.words.noise_hardening import hardening_words
from steadyread.words.numbers import counted, digits, p_shown, percent

_WINDOW = (-1000.0, 400.0)      # HU, for pictures where the study states no window of its own


def write_noise_report(folder: Path, seed: int = 0, show_ids: bool = False) -> Path:
    """Write report.html, summary.json and figures/ into a noise study's folder from its stored files alone.

    `seed` is that of the bootstrap: the same folder gives the same bytes. Networks that are not assessed yet are
    left out, so a study under way can be reported on. Cases and patients have pseudonyms (see `Shareable`), and
    files no folders, unless `show_ids`.

    Raises:
        InputRefused: no network's records there, or a stored file that is not what it should be.
        Partial: the disk is full.
    """
    shared = Shareable.of(Path(folder), show_ids)
    run = read_noise_run(Path(folder), shared)
    networks = networks_by_variant(run.study.jobs)
    found = shared.tree(summarise_noise(run.study, networks, seed))
    found["verdict"] = wording.noise_verdict(found)
    window = window_of(run.study.settings)
    drawings = noise_drawings(found, next(iter(networks.values())), run.examples, window)
    if hardening := read_noise_hardening(run.folder, run.study.settings, shared):
        found["hardening"] = shared.tree(summarise_noise_hardening(hardening, found["stated_mas"], seed))
        found["hardening"] |= hardening_words(found["hardening"])
        drawings |= noise_hardening_drawings(hardening, found["hardening"])
    if seen := read_seen_run(run.folder, found["classes"], shared):
        found["seeing"] = shared.tree(summarise_seeing(seen.folds, seed))
        found["findings"] = by_severity([*found["findings"], *found["seeing"]["findings"]])
        drawings |= seeing_drawings(found["seeing"], seen.shown, window, found["classes"])
    saved = {name: save(drawing.figure, run.folder / FIGURES, name)[1] for name, drawing in drawings.items()}
    records.write_json(run.folder / SUMMARY, as_json(found))
    page = render(run, found, {name: (inline_svg(saved[name].read_text("utf-8"), name.replace("_", "-"),
                                                 drawing.caption), drawing.caption)
                               for name, drawing in drawings.items() if name != "examples"})
    records.write_text(run.folder / PAGE, page)
    return run.folder / PAGE


def window_of(settings: Mapping[str, Any]) -> tuple[float, float]:
    """The HU window that the network sees: what the study states, else -1000 to 400."""
    for section in ("model", "preparation"):
        stated = (settings.get(section) or {}).get("window")
        if isinstance(stated, list | tuple) and len(stated) == 2:
            return float(stated[0]), float(stated[1])
    return _WINDOW


def render(run: NoiseRun, found: dict[str, Any], drawn: Mapping[str, tuple[Markup, str]]) -> str:
    """The page as text; everything that a user named is escaped, only our own SVG and CSS are not."""
    window = window_of(run.study.settings)
    parts = [part for part in ("train", "validation", "test") if part in found["parts"]]
    return _template().render(
        css=Markup(_stored_text("report.css")), s=found, drawn=drawn, cards=tables.cards(found), window=window,
        doi=published.DOI, paper_trials=published.TRIALS, parts=parts, giveaways=GIVEAWAYS,
        physics=tables.physics_rows(found), classes=tables.paper_class_rows(found),
        random=tables.random_rows(found),
        optimised=[(part, tables.noise_columns(found, part), tables.optimised_rows(found, part),
                    tables.trials_said(found, part))
                   for part in dict.fromkeys((found["part"], "train")) if part in parts],
        steps=tables.step_rows(found), plausible=tables.plausible_rows(found), critical=tables.critical_rows(found),
        groups=tables.group_rows(found), missing=tables.missing_said(found), variants=tables.variant_table(found),
        seeing=seeing_tables.page_rows(found.get("seeing"), found["classes"]),
        h=found.get("hardening"), hard=hardening_page_rows(found.get("hardening")),
        fragile=tables.fragile_rows(found), examples=tables.example_rows(run.examples, window),
        said={"fall": wording.fall_said(found), "drift": wording.drift_said(found),
              "architecture": wording.architecture_said(found), "belief": wording.belief_said(found)})


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_stored_text),
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": percent, "digits": digits, "interval": tables.interval, "number": tables.number, "tight": tight,
        "plus_minus": wording.plus_minus, "noise": wording.noise_name, "noise_said": wording.noise_said,
        "mas": wording.mas, "folds": tables.fold_values, "printed": tables.printed, "two": tables.significant,
        "counted": counted, "signed": signed, "signed_interval": signed_interval, "p": p_shown,
        "pretty": lambda value: json.dumps(as_json(value), indent=2, ensure_ascii=False)}
    return environment.get_template("noise.html.j2")


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
