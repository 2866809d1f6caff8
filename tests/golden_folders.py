"""Whole run folders, made from formulas, and what their reports say: the oracle for moves that must change nothing.

`python tests/golden_folders.py` writes `tests/golden/` anew, for a change that is meant: look at its difference.
"""

import gzip
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fabricate
import fabricate_noise as noise
import fabricate_noise_hardening as noise_hardening
import fabricate_seen as seen
import fabricate_sets as sets
from steadyread import terminal
from steadyread.result import run_lines
from steadyread.stored import report_run
from test_hardening_report import harden

GOLDEN = Path(__file__).with_name("golden")


def plain(folder: Path) -> Path:
    """One network, plain."""
    return fabricate.write_run(folder, fabricate.table(spread=0.5))


def hardened(folder: Path) -> Path:
    """A plain run with the network hardened, and three other hardenings beside it, one of which failed."""
    plain(folder)
    harden(folder, fabricate.rows(slope=0.1, spread=0.6))
    harden(folder, fabricate.rows(slope=0.2, spread=0.5), "hardened-small", epsilon=0.7, epsilons=[0.7])
    harden(folder, fabricate.rows(slope=0.25, spread=0.5), "hardened-too_large", epsilon=28.0, epsilons=[28.0],
           failed="every epoch read all images as one class", chosen_epoch=0)
    harden(folder, fabricate.rows(slope=0.12, spread=0.6), "hardened-trades", method="trades")
    return folder


def ct_noise(folder: Path) -> Path:
    """CT noise: two folds of three variants, hardened by two methods, with what the networks see."""
    study = noise.Made(cases=60, patients=50, folds=2, doses=(50.0, 100.0), draws=20, starts=5,
                       variants=("original", "batch_norm", "strided"))
    noise.write_study(folder, study)
    noise_hardening.add_hardened(folder, study=study)
    for fold in range(2):
        seen.write_seen(folder / f"jobs/original/fold-{fold}", seen.Seen(fold=fold))
    return folder


def several(folder: Path) -> Path:
    """Five data sets."""
    return sets.write_sets(folder, sets.FIVE)


KINDS: dict[str, Callable[[Path], Path]] = {"plain": plain, "hardened": hardened, "ct_noise": ct_noise,
                                            "several": several}


class Words(HTMLParser):
    """The words of a page under each of its headings, tables cell by cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.heading, self.inside, self.silent = "", False, 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag in ("svg", "style", "script")
        if tag == "h2" or (tag == "h3" and ("class", "title") in attrs):
            self.heading, self.inside = "", True

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in ("svg", "style", "script")
        if tag in ("h2", "h3") and self.inside:
            self.inside = False
            self.sections.setdefault(self.heading, "")

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        if self.inside:
            self.heading += data
        else:
            self.sections[self.heading] = self.sections.get(self.heading, "") + " " + data


def said(folder: Path) -> dict[str, Any]:
    """What a run's report comes to: numbers, the page's words by section, and the console's lines."""
    report = report_run(folder)
    lines = [line.replace(str(folder), "RUN") for line in terminal.lines(run_lines(report))]
    page = (folder / "report.html").read_text("utf-8")
    words = {heading.strip(): re.sub(r"\s+", " ", text).strip() for heading, text in Words(page).sections.items()}
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    return {"summary": summary, "words": words, "lines": lines}


def stored(name: str) -> dict[str, Any]:
    """What the report of a kind of folder said when it was last meant to change."""
    held: dict[str, Any] = json.loads(gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes()))
    return held


def write(names: Mapping[str, Callable[[Path], Path]]) -> None:
    """The stored ones anew."""
    GOLDEN.mkdir(exist_ok=True)
    for name, make in names.items():
        with tempfile.TemporaryDirectory() as place:
            text = json.dumps(said(make(Path(place) / name)), ensure_ascii=False, sort_keys=True, indent=1)
        (GOLDEN / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        print(f"{name}: {len(text):,} characters, {(GOLDEN / f'{name}.json.gz').stat().st_size:,} bytes")


if __name__ == "__main__":
    write({name: KINDS[name] for name in sys.argv[1:] or KINDS})
