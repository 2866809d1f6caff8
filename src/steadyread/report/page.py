"""One self-contained page from a run's folder: no network, no script, light and dark, and it prints."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from steadyread import records
from steadyread.figures import save
from steadyread.metrics import reads_of, summarise
from steadyread.metrics.plan import bounds_of
from steadyread.metrics.summary import as_json
from steadyread.metrics.wording import attack_name, digits, percent, score_name, show_size_json
from steadyread.report import tables
from steadyread.report.drawings import drawings
from steadyread.report.inline import inline_svg
from steadyread.report.stored import Run, read_run

PAGE, SUMMARY, FIGURES = "report.html", "summary.json", "figures"


def write_report(run_dir: Path, seed: int = 0) -> Path:
    """Write report.html, summary.json and figures/ into a run's folder from its stored files alone.

    `seed` is that of the bootstrap and of drawn subsets: the same folder gives the same bytes.

    Raises:
        InputRefused: no plan or records there, or a stored file that is not what it should be.
        Partial: the disk is full.
    """
    folder = Path(run_dir)
    run = read_run(folder)
    bounds = bounds_of(run.plan)
    summary = summarise(run.table, run.plan, run.findings, run.training, seed)
    reads = reads_of(run.table, None if summary["part"] == "all" else summary["part"], summary["stage"], bounds)
    drawn = drawings(reads, summary, run.examples, bounds)
    saved = {name: save(drawing.figure, folder / FIGURES, name)[1] for name, drawing in drawn.items()}
    records.write_json(folder / SUMMARY, as_json(summary))
    captions = {name: drawing.caption for name, drawing in drawn.items() if name != "examples"}
    page = render(run, summary, {
        name: (inline_svg(saved[name].read_text("utf-8"), name.replace("_", "-"), caption), caption)
        for name, caption in captions.items()})
    records.write_whole(folder / PAGE, page.encode())
    return folder / PAGE


def render(run: Run, summary: dict[str, Any], drawn: dict[str, tuple[Markup, str]]) -> str:
    """The page as text; `drawn` has each figure's SVG and caption.

    Everything that a user named is escaped; only our own SVG and CSS are not.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(_stored_text),
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "digits": digits, "size": show_size_json, "attack": attack_name,
                            "score": score_name, "interval": tables.interval, "number": tables.number,
                            "tight": tables.tight,
                            "pretty": lambda value: json.dumps(as_json(value), indent=2, ensure_ascii=False)}
    bounds = bounds_of(run.plan)
    return environment.get_template("report.html.j2").render(
        css=Markup(_stored_text("report.css")), s=summary, plan=run.plan, bounds=bounds,
        cards=tables.cards(summary), robust=tables.robust_rows(summary),
        triage=tables.triage_rows(summary, bounds), examples=tables.example_rows(run.examples, bounds),
        drawn=drawn)


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
