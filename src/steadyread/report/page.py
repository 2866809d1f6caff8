"""One self-contained page from a run's folder: no network, no script, light and dark, and it prints."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from steadyread import records
from steadyread.figures import save
from steadyread.files import FIGURES, PAGE, SUMMARY
from steadyread.metrics import reads_of, summarise
from steadyread.metrics.plan import bounds_of
from steadyread.metrics.summary import as_json
from steadyread.report import hardening_tables, tables
from steadyread.report.checklists import CHECKLIST, Runs, checklist_markdown, checklist_rows
from steadyread.report.drawings import drawings
from steadyread.report.hardening_drawings import hardening_drawings
from steadyread.report.hardening_stored import hardening_summary, read_hardenings
from steadyread.report.inline import inline_svg
from steadyread.report.shareable import Shareable
from steadyread.report.stored import Assessed, Run, read_run
from steadyread.units import Bounds
from steadyread.words.numbers import (
    attack_name,
    counted,
    digits,
    p_shown,
    percent,
    points,
    score_name,
    show_size_json,
)
from steadyread.words.plain import with_words


def write_report(run_dir: Path, seed: int = 0, show_ids: bool = False) -> Path:
    """Write report.html, summary.json, checklist.md and figures/ into a run's folder from its stored files alone.

    `seed` is that of the bootstrap and of drawn subsets: the same folder gives the same bytes. Cases and
    patients have pseudonyms (see `Shareable`), and files no folders, unless `show_ids`.

    Raises:
        InputRefused: no plan or records there, or a stored file that is not what it should be.
        Partial: the disk is full.
    """
    folder = Path(run_dir)
    shared = Shareable.of(folder, show_ids)
    run = read_run(folder, shared=shared)
    bounds = bounds_of(run.plan)
    summary = with_words(shared.tree(summarise(run.table, run.plan, run.findings, run.training, seed)))
    reads = reads_of(run.table, None if summary["part"] == "all" else summary["part"], summary["stage"], bounds)
    drawn = drawings(reads, summary, run.examples, bounds)
    plain, hardened = Assessed(run, reads), read_hardenings(folder, shared)
    if hardened:
        summary["hardening"] = hardening_summary(plain, hardened, seed)
        drawn |= {each.name: each for each in hardening_drawings(plain, hardened, summary["hardening"])}
    saved = {name: save(drawing.figure, folder / FIGURES, name)[1] for name, drawing in drawn.items()}
    records.write_json(folder / SUMMARY, as_json(summary))
    records.write_text(folder / CHECKLIST, checklist_markdown(_named(run, summary)))
    captions = {name: drawing.caption for name, drawing in drawn.items() if name != "examples"}
    page = render(run, summary, {
        name: (inline_svg(saved[name].read_text("utf-8"), name.replace("_", "-"), caption), caption)
        for name, caption in captions.items()})
    records.write_text(folder / PAGE, page)
    return folder / PAGE


def render(run: Run, summary: dict[str, Any], drawn: dict[str, tuple[Markup, str]]) -> str:
    """The page as text; `drawn` has each figure's SVG and caption.

    Everything that a user named is escaped; only our own SVG and CSS are not.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_stored_text),
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "digits": digits, "size": show_size_json, "attack": attack_name,
                            "score": score_name, "interval": tables.interval, "number": tables.number,
                            "tight": tables.tight, "points": points, "p": p_shown, "flip": tables.flip,
                            "signed_interval": tables.signed_interval, "counted": counted,
                            "pretty": lambda value: json.dumps(as_json(value), indent=2, ensure_ascii=False)}
    bounds, hardening = bounds_of(run.plan), summary.get("hardening")
    return environment.get_template("report.html.j2").render(
        css=Markup(_stored_text("report.css")), s=summary, plan=run.plan, bounds=bounds,
        cards=tables.cards(summary), robust=tables.robust_rows(summary),
        triage=tables.triage_rows(summary, bounds), examples=tables.example_rows(run.examples, bounds),
        drawn=drawn, how=_how(summary["training"], bounds), h=hardening,
        page=hardening_tables.page_rows(hardening, bounds) if hardening else {},
        checklists=checklist_rows(_named(run, summary)))


def _named(run: Run, summary: dict[str, Any]) -> Runs:
    return {str(summary["name"] or summary["data"]["name"]): (run, summary)}


def _how(training: dict[str, Any] | None, bounds: Bounds) -> list[tuple[str, str]]:
    """How a hardened network was trained, on a page of its own; nothing of an ordinary training."""
    return hardening_tables.training_rows(training, bounds) if training and "method" in training else []


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
