"""The page of a study of several data sets: one self-contained file in the look of every report, and its tables in
Markdown, from stored files alone.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from steadyread import records
from steadyread.charts import save
from steadyread.charts.examples import Attacked
from steadyread.charts.pictures import picture
from steadyread.files import FIGURES, PAGE, SUMMARY, TEXT
from steadyread.metrics import published_oncology as paper
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.summary import as_json
from steadyread.report import sets_cells as cells
from steadyread.report import sets_tables as tables
from steadyread.report.checklists import CHECKLIST, CHECKLIST_JSON, checklist_json, checklist_rows
from steadyread.report.crossed import checklist_markdown
from steadyread.report.forms import between, flip, number
from steadyread.report.inline import data_uri, inline_svg
from steadyread.report.sets_drawings import sets_drawings
from steadyread.report.sets_stored import StoredSets, read_sets
from steadyread.report.sets_summary import summarise_sets
from steadyread.report.stored import Run
from steadyread.report.tables import signed_interval, tight
from steadyread.units import Bounds
from steadyread.words.numbers import (
    attack_name,
    digits,
    factor,
    p_shown,
    percent,
    points,
    show_native,
    show_size_json,
)

_PICTURE_BYTES = 2_400_000
_MARKS = re.compile(r"[\\`*|~$\[\]]")


def write_sets_report(folder: Path, seed: int = 0, show_ids: bool = False) -> Path:
    """Write report.html, report.md, checklists, summary.json and figures/ into the folder of a study of sets.

    From stored files alone; `seed` is that of the bootstrap: the same folder gives the same bytes. A set without
    records, or one that failed, is said with its reason. Cases and patients have pseudonyms (see `Shareable`), and
    files no folders, unless `show_ids`.

    Raises:
        InputRefused: no such study there, or a stored file that is not what it should be.
        Partial: the disk is full.
    """
    stored = read_sets(Path(folder), show_ids)
    found = summarise_sets(stored, seed)
    drawings = sets_drawings(stored, found)
    saved = {name: save(drawing.figure, stored.folder / FIGURES, name)[1] for name, drawing in drawings.items()}
    records.write_json(stored.folder / SUMMARY, as_json(found))
    page = render(stored, found, {name: (inline_svg(saved[name].read_text("utf-8"), name.replace("_", "-"),
                                                    drawing.caption), drawing.caption)
                                  for name, drawing in drawings.items() if name != "fig1"})
    records.write_text(stored.folder / TEXT, markdown(found))
    records.write_text(stored.folder / CHECKLIST, checklist_markdown(_runs(stored, found)))
    records.write_json(stored.folder / CHECKLIST_JSON, checklist_json(_runs(stored, found)))
    records.write_text(stored.folder / PAGE, page)
    return stored.folder / PAGE


def render(stored: StoredSets, found: dict[str, Any], drawn: Mapping[str, tuple[Markup, str]]) -> str:
    """The page as text; everything that a user named is escaped, only our own SVG and CSS are not."""
    return _environment(True).get_template("sets.html.j2").render(
        css=Markup(_stored_text("report.css")), s=found, drawn=drawn, paper=paper, study=stored.study,
        pictures=_pictures(stored), checklists=checklist_rows(_runs(stored, found)) if found["sets"] else [],
        **_rows(found))


def markdown(found: dict[str, Any]) -> str:
    """The tables of the page as Markdown, to be pasted elsewhere."""
    return _environment(False).get_template("sets.md.j2").render(s=found, paper=paper, **_rows(found))


def _runs(stored: StoredSets, found: dict[str, Any]) -> dict[str, tuple[Run, dict[str, Any]]]:
    """Every assessed set's run with its summary, by title, for the checklists."""
    return {one.title: (plain.run, found["sets"][name]) for name, (one, plain) in stored.assessed.items()}


def _rows(found: dict[str, Any]) -> dict[str, Any]:
    """The rows of every table, for the page and for Markdown."""
    return {"cards": tables.cards(found), "sets": tables.set_rows(found),
            "table_1": {against: tables.table_1(found, against) for against in ("prediction", "label")},
            "floors": tables.floor_rows(found), "all_sizes": tables.all_sizes(found),
            "table_2": tables.table_2(found), "fragility": tables.fragility_rows(found),
            "pairs": tables.pair_rows(found), "hardened": tables.hardening_rows(found),
            "gains": tables.paper_gain_rows(found), "sizes_hardened": tables.sizes_hardened(found),
            "others": tables.others_by_set(found), "scores": tables.score_rows(found),
            "findings": tables.finding_rows(found)}


def _pictures(stored: StoredSets) -> list[dict[str, Any]]:
    """[A] Fig. 1: a row an image, its pictures as data addresses, as many as the page has room for."""
    rows, room = [], _PICTURE_BYTES
    for one, plain in stored.assessed.values():
        for shown in one.attacked:
            row = _picture_row(shown, plain.bounds) | {"title": one.title}
            room -= sum(len(each["picture"]) for each in row["pictures"])
            if room >= 0:
                rows.append(row)
    return rows


def _picture_row(shown: Attacked, bounds: Bounds) -> dict[str, Any]:
    clean = shown.attacks.index("clean") if "clean" in shown.attacks else 0
    said = [shown.says(place) for place in range(len(shown.attacks))]
    return {"case_id": shown.case_id, "label": shown.label, "size": show_native(shown.size, bounds), "pictures": [
        {"attack": attack_name(name), "picture": data_uri(picture(shown.images[place], bounds)),
         "says": said[place][0], "probability": said[place][1], "flipped": said[place][0] != said[clean][0]}
        for place, name in enumerate(shown.attacks)]}


def _interval(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    return between(found, lambda end: number(end, scale, decimals))


@cache
def _environment(escaped: bool) -> Environment:
    environment = Environment(autoescape=escaped, undefined=StrictUndefined, loader=FunctionLoader(_stored_text),
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {
        "percent": percent, "digits": digits, "size": show_size_json, "interval": _interval, "number": number,
        "tight": tight, "points": points, "factor": factor, "signed_interval": signed_interval,
        "p": p_shown, "flip": flip, "told": cells.told, "told_points": cells.told_points,
        "told_digits": cells.told_digits, "times": cells.times, "size_native": cells.native, "cell": _cell,
        "share": lambda size: f"{size:g}",
        "pretty": lambda value: json.dumps(as_json(value), indent=2, ensure_ascii=False)}
    return environment


def _cell(text: object) -> str:
    """Words of a user's in a cell of Markdown: on one line, and nothing in them ends the cell or opens a tag."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\g<0>", flat)


def _stored_text(name: str) -> str:
    return (resources.files("steadyread.report") / name).read_text(encoding="utf-8")
