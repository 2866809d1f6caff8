"""What Python users get: an assessment, made of a classifier and images or opened from a folder.

    found = steadyread.assess(classifier, dataset, bounds=(0, 1))
    found                       # its headline and a small table
    found.summary()             # every number as one row
    found.report("report")      # the page
"""

import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyread import set_aside
from steadyread.assessment import Against, Attack
from steadyread.assessment import assess as assess_cases
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, audit, limit
from steadyread.charts import Sheet
from steadyread.checks import Preflight, Stated, judged, preflight, told, united
from steadyread.checks.sample import tested
from steadyread.classifier import Classifier
from steadyread.comparing import compared_rows
from steadyread.errors import UsageError
from steadyread.files import JOBS
from steadyread.findings import Finding
from steadyread.frames import Frame, frame
from steadyread.jobs.attacks import pixel_attacks
from steadyread.jobs.examples import write_examples
from steadyread.jobs.image_noise import write_image_noise
from steadyread.jobs.pictures import pictured
from steadyread.jobs.preflight import seconds_of
from steadyread.jobs.quick import HURRIED, few_of, outlook, pace_of
from steadyread.jobs.ready import first_readable
from steadyread.jobs.track import track_run
from steadyread.metrics.comparison import COLUMNS as COLUMNS_OF_CHANGES
from steadyread.metrics.plan import part_of
from steadyread.metrics.reads import CT_NOISE, LINF, ORIGINAL
from steadyread.metrics.tidy import COLUMNS
from steadyread.progress import Progress, note, quiet
from steadyread.progress import progress as spoken
from steadyread.report.case_sheet import case_sheet
from steadyread.report.drawings import Drawing
from steadyread.report.networks import Networks, networks_of
from steadyread.report.run import LEADING, told_of
from steadyread.report.shareable import Shareable
from steadyread.store import PLAIN, Opened, folder_of, open_cells, seed_of
from steadyread.stored import report_run, triage_run
from steadyread.study import Study
from steadyread.suitability import refuse_unsuited
from steadyread.views import views_of

_SHOWN = tuple(name for name in COLUMNS if name != "part")
_TRIAGED = ("withheld", "accuracy", "area")
Attacks = Sequence[Attack] | Mapping[str, Sequence[Attack]]
_USUAL = ("0.001 range", "0.002 range", "0.004 range", "0.006 range")     # of [A] Table 1


def assess(classifier: Classifier, data: object, attacks: Attacks | Attack | None = None, *, against: Against = "both",
           store: str | Path | None = None, seed: int = 0, progress: Progress | None = None, **known: Any
           ) -> "Assessment":
    """How steady a classifier's reads of some images are.

    Args:
        data: `Cases`, (images, labels), or a torch `Dataset` or `DataLoader`. All but cases need `bounds`, and may have
            whatever else is known of them: patients, classes, parts, ids, spacing_mm (see `Cases.from_arrays`).
            Images of the part `test` are judged; those of `validation` set the threshold of triage. With `findings`,
            where the classifier has none of its own: their names in the order of its values; else those of its findings
            that are assessed (all if left out). Each is a network of the assessment, by its own labels: a column of the
            labels (n, findings), or of the table that the cases come from (see `open_cases`, every_row=True).
            `quick=True` is a first look in half a minute: the smallest flips of a few images, drawn by class, and a
            line on what the whole would take.
        attacks: what is tried, see `assessment.assess`; FGSM, BIM and PGD at the usual sizes and the search for the
            smallest flip if None.
        against: what must be lost for a flip: the true `label`, the clean `prediction`, or `both`.
        store: a folder in which everything is kept, and from which an interrupted assessment goes on; a temporary one,
            gone with the assessment, if None.
        progress: `progress.quiet` for silence; a bar on a terminal or in a notebook if None.

    Raises:
        InputRefused, UsageError: images, labels or the model's output are not as stated.
        PlanDiffers: the store holds another assessment.
    """
    quick = bool(known.pop("quick", False))
    views = views_of(classifier, data, known)
    cases, stated = views[0][2], Stated(findings=len(views))
    usual = Study.model_validate({"attacks": {"epsilons": _USUAL}})
    tried = _attacks(attacks) if attacks is not None else pixel_attacks(usual, cases.bounds)
    searched = [smallest_flip] if quick else tried
    aloud = progress or watched()
    temporary = Temporary() if store is None else None
    folder = temporary.folder if temporary is not None else Path(str(store))
    for name, view, labelled in views:
        place = folder / JOBS / name / "fold-0" if name else folder
        refuse_unsuited(view, labelled)
        before = preflight(view, labelled, stated, seed=seed, seconds=HURRIED if quick else seconds_of(len(views)),
                           progress=aloud)
        told(before)
        if quick:
            labelled = _few(view, labelled, tried, seed)
        table = assess_cases(view, labelled, searched, against=against, store=place, seed=seed, progress=aloud)
        _look(view, labelled, table, place, (seed, aloud, before, quick))
        pictured(view, labelled, table, searched, place, seed, quick)
    return Assessment(open_cells(folder), seed, temporary)


def _look(classifier: Classifier, cases: Cases, table: pa.Table, folder: Path,
          how: tuple[int, Progress, Preflight, bool]) -> None:
    """What stands beside the records of a network: whether they can be trusted, and a few images."""
    seed, aloud, before, quick = how
    read = set_aside.assessed(cases, table)
    test = read.part("test") if part_of(table) else read
    set_aside.write_findings(folder, lambda: [
        *united(before.findings, judged(classifier, test, table, seed, aloud, quick)), *audit(cases, read)])
    write_image_noise(classifier, test, folder, seed)
    write_examples(classifier, test, table, folder, seed, quick)


def _few(classifier: Classifier, cases: Cases, attacks: Attacks, seed: int) -> Cases:
    """The images of a first look, drawn by class from those that are tested; what the attacks would take on all of
    them is said."""
    test = tested(cases)
    several = attacks.get("test", ()) if isinstance(attacks, Mapping) else attacks
    some = test.pick(first_readable(test))
    pace = pace_of(classifier, some)
    few = few_of(classifier, some, len(test), pace)
    note(outlook(few, len(test), pace.through(several, len(test.classes))))
    return limit(test, few, seed, every=False)


def _attacks(stated: Attacks | Attack) -> Attacks:
    """Attacks as they are stated, one alone as a list of one.

    Raises:
        UsageError: something among them is none.
    """
    if callable(stated):
        return [stated]
    several = [attack for part in stated.values() for attack in part] if isinstance(stated, Mapping) else stated
    for attack in several:
        if not callable(attack):
            raise UsageError("attacks are functions such as pgd(5.6) or smallest_flip, in native units; got "
                             f"{attack!r}")
    return stated


def open_run(folder: str | Path) -> "Assessment":
    """A finished run of any kind, opened: of the command line, of `run`, or a store of `assess`.

    Raises:
        InputRefused: no records there.
    """
    return Assessment(open_cells(folder), seed_of(Path(folder)))


class Temporary:
    """A folder that is there as long as this object is."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="steadyread-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True, repr=False)
class Assessment:
    """What came of an assessment, read from its folder.

    `select` narrows it to some of its data sets, networks or stages.
    """

    opened: Opened
    seed: int = 0
    kept: Temporary | None = field(default=None, compare=False)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.opened.folder

    def select(self, **where: Any) -> "Assessment":
        """The part with these values: `select(stage="hardened")`, `select(set="lung_ct", network="original")`.

        Raises:
            UsageError: no such part.
        """
        chosen = self.opened.select(**where)
        if not chosen.cells:
            known = sorted({(cell.data, cell.network, cell.stage) for cell in self.opened.cells})
            raise UsageError(f"nothing of {where} in {self.folder}; it has (set, network, stage) "
                             + ", ".join(map(str, known)))
        return replace(self, opened=chosen)

    @property
    def records(self) -> pa.Table:
        """Every row of the records, `set`, `network` and `stage` before the columns of `records.SCHEMA`."""
        tables = []
        for cell in self.opened.cells:
            table = cell.table.drop_columns(["stage"])
            for name, value in (("stage", cell.stage), ("network", cell.network), ("set", cell.data or cell.plan[
                    "data"].get("name", ""))):
                table = table.add_column(0, name, pa.array([value] * len(table), pa.string()))
            tables.append(table)
        return pa.concat_tables(tables, promote_options="default")

    def summary(self) -> Frame:
        """Every number as one row: set, network, stage, threat, attack, level, unit, measure, value, low, high, n; with
        the part that it is of and what it is against. Intervals are 95 %, over patients."""
        return frame(COLUMNS, self._networks.rows, _SHOWN)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Whether the evaluation can be trusted: what the checks and the audit said, the worst first."""
        return tuple(Finding(each["check"], each["severity"], each["message"], each["value"], tuple(each["rows"] or ()),
                             networks=tuple(each.get("networks", ())), code=each.get("code", ""),
                             remedy=each.get("remedy", "")) for each in self.opened.findings)

    def report(self, path: str | Path | None = None, show_ids: bool = False, images: bool = True) -> Path:
        """Writes the page and its figures, and returns the page; they are copied to the folder `path` where given. The
        page is that of the whole run, whatever is selected.

        Cases and patients have pseudonyms unless `show_ids`; without `images` the page shows none of patients.
        """
        found = report_run(self.folder, self.seed, path, show_ids, images)
        return Path(found["report"])

    def track(self, name: str, show_ids: bool = False, images: bool = True) -> str:
        """Hands the whole run to a tracker of experiments ("mlflow", "wandb"), its report written anew: every number as
        a metric, settings as parameters, report.html and summary.json as artefacts. Returns where it is kept.

        Raises:
            UsageError: no such tracker.
            InputRefused: its library is not installed.
            Partial: it does not take the run; nothing of the run is lost.
        """
        self.report(show_ids=show_ids, images=images)
        return track_run(self.folder, name, show_ids)

    def plot(self, name: str | None = None) -> Drawing:
        """A chart of the report by its name, that of the page's answer without one: it shows itself in a notebook, and
        has `svg()`, `png()`, `pdf()` and its Vega-Lite `spec`. A sheet of pictures has all but a `spec`.

        Raises:
            UsageError: no such chart (the message names those that there are), or none of the selected, see `plots`.
        """
        wanted = next((each for each in LEADING if each in self.plots), "") if name is None else name
        if wanted not in self.plots:
            missing = f"no chart '{name}'" if name is not None else "the answer of this run has no chart: name one"
            raise UsageError(f"{missing}; this run has {', '.join(sorted(self.plots))}")
        return self.plots[wanted]

    def show(self, case: str) -> Sheet:
        """A case by its id (`records["case_id"]`): its image, the change that flips its read, and the changed image,
        with both reads. It shows itself in a notebook, and has `svg()`, `png()` and `pdf()`.

        Raises:
            InputRefused: several data sets or networks (select one), no such case, or no picture of it is stored.
        """
        return case_sheet(self._network(), str(case))

    @cached_property
    def plots(self) -> Mapping[str, Drawing]:
        """The charts by name: those of the report, or of one other network that is selected, on one fold.

        Raises:
            UsageError: they are of several data sets, or of several networks without the plain one.
        """
        folder = self._place()
        return told_of(folder, Shareable.of(folder), self.seed).drawings

    def _place(self) -> Path:
        """The folder of the data set where its plain network is among the selected, else that of the only one.

        Raises:
            UsageError: neither.
        """
        cells = self.opened.cells
        sets = list(dict.fromkeys(cell.data for cell in cells))
        if len(sets) > 1:
            raise UsageError(f"charts and triage are of one data set: select(set=...) one of {', '.join(sets)}")
        if any((cell.network, cell.stage) == (ORIGINAL, PLAIN) for cell in cells):
            return folder_of(self.folder, sets[0])
        if len(cells) > 1:
            raise UsageError("charts and triage are of the plain network, or of one other on one fold: select(network="
                             "..., stage=..., fold=...)")
        return cells[0].folder

    def compare(self, other: "Assessment", by_id: bool = False) -> Frame:
        """This assessment beside another of the same images, this one as before: another network, stage or run.

        A row a measure: both values, the difference (other minus this) with its interval over the same patients, p, and
        the verdict (better, worse, alike, same, few).

        Raises:
            InputRefused: several networks on either side (select one), or no image in common.
        """
        return frame(COLUMNS_OF_CHANGES, compared_rows(self._network(), other._network(), self.seed, by_id))

    def _network(self) -> Opened:
        """The one network that this is of, the last of its rounds; the plain one of the study's own where there are
        several and it is among them."""
        last = self.opened.select(round=0)
        last = last if last.cells else self.opened
        own = last.select(stage=PLAIN, network=ORIGINAL)
        return own if own.cells and len(list(last.networks())) > 1 else last

    def triage(self, withhold: float | None = None) -> Frame:
        """The share of errors that each score would have a human catch, withholding that share of reads (of each set).

        Raises:
            UsageError: of several networks without the plain one.
            InputRefused: no smallest flips to go by.
        """
        held = [name for name in self.opened.settings.get("sets") or () if self.opened.select(set=name).cells]
        if len(held) > 1:
            rows = [{"set": name, **row} for name in held for row in self.select(set=name).triage(withhold)]
            return frame(tuple(rows[0]), rows, ("set", "score", *_TRIAGED))
        cells = self.opened.cells
        found = triage_run(cells[0].folder if len(cells) == 1 else self._place(), withhold, self.seed)
        rows = [{"score": row["score"], **{name: row[name]["value"] for name in _TRIAGED},
                 **{f"{name}_{end}": row[name][end] for name in _TRIAGED for end in ("low", "high")}}
                for row in found["rows"]]
        return frame(tuple(rows[0]) if rows else (), rows, ("score", *_TRIAGED))

    @cached_property
    def _networks(self) -> Networks:
        """The numbers of every network, counted once."""
        return networks_of([self.opened], self.seed)

    def headline(self) -> Frame:
        """The key figures of each network: clean, and the number that speaks for each threat."""
        rows = []
        for network in self._networks.networks:
            key = (network.number("AUC"), network.number("accuracy"), network.number("median_smallest_flip", LINF),
                   *(self._networks.headline(network, threat) for threat in (LINF, CT_NOISE)))
            rows += [number.row(network.where) for number in key if number is not None]
        return frame(COLUMNS, rows, _SHOWN)

    def __repr__(self) -> str:
        return "\n".join([self._line(), "", repr(self.headline()), "", self._doubts()])

    def _repr_html_(self) -> str:
        from markupsafe import escape

        return f"<p><b>{escape(self._line())}</b></p>{self.headline()._repr_html_()}<p>{escape(self._doubts())}</p>"

    def _line(self) -> str:
        cells = self.opened.cells
        sets = list(dict.fromkeys(cell.data or str(cell.plan["data"].get("name", "")) for cell in cells))
        named = (self.opened.settings.get("model") or {}).get("name")
        names = dict.fromkeys(str(cell.plan["model"].get("name")).removesuffix(f" for {cell.network}")
                              if cell.fold is None or cell.finding else named or "networks" for cell in cells)
        return f"Assessment of {', '.join(names)} on {', '.join(sets)}"

    def _doubts(self) -> str:
        grave = [each for each in self.findings if each.severity in ("error", "warning")]
        if not grave:
            return "No check gave an error or a warning."
        rest = f" (and {len(grave) - 1} more in .findings)" if len(grave) > 1 else ""
        # what is shown on a screen or kept in a notebook names no case
        said = f"of {len(grave[0].rows)} named in .findings" if grave[0].rows else grave[0].message
        first, *others = grave[0].networks or ("",)
        of = f" ({first}{f'; {len(others)} more' if others else ''})" if first else ""
        return f"{grave[0].severity.capitalize()}: {grave[0].check}{of}: {said}{rest}"


def watched() -> Progress:
    """The progress to tell of where nothing is stated: a bar or lines where somebody looks on, at a terminal or in a
    notebook."""
    return spoken if sys.stderr.isatty() or "ipykernel" in sys.modules else quiet
