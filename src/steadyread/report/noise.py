"""A study of CT noise: its summary, and its report, from stored files alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from steadyread import records
from steadyread.charts.examples import NoiseExample
from steadyread.files import CASES, CONVERGENCE, COUNTED, FINDINGS, NOISE_EXAMPLES, SPECTRUM, TRAINING
from steadyread.findings import by_severity, merged
from steadyread.metrics.hardened import Hardenings
from steadyread.metrics.hardening_methods import summarise_methods
from steadyread.metrics.noise import row_of
from steadyread.metrics.noise_summary import SIMULATE, NoiseJob, NoiseStudy, networks_by_variant, summarise_noise
from steadyread.metrics.plan import class_names
from steadyread.metrics.reads import KNOWN, PARTS, RANDOM, Reads
from steadyread.metrics.seeing import summarise_seeing
from steadyread.metrics.validity import invalidating
from steadyread.report.answer import counts_of, lead, trust, typical_noise
from steadyread.report.cards import estimated, within
from steadyread.report.drawings import Drawing
from steadyread.report.hardening_drawings import noise_hardening_drawings
from steadyread.report.hardening_stored import read_noise_hardening
from steadyread.report.items import Card, Cards, Item, Text
from steadyread.report.marks import bold
from steadyread.report.noise_drawings import DOSES, noise_drawings
from steadyread.report.papers import paper
from steadyread.report.seeing_drawings import seeing_drawings
from steadyread.report.seeing_stored import SeenRun, read_seen_run
from steadyread.report.shareable import AS_IT_IS, Shareable, read_cases
from steadyread.report.stored import findings_of, read_noise_examples
from steadyread.store import PLAIN, Cell, Opened
from steadyread.words import noise as words
from steadyread.words.hardening import hardening_words
from steadyread.words.numbers import counted, percent

Summary = Mapping[str, Any]
SOURCE = f"[B]: {paper('B').cite}, doi:{paper('B').doi}."
FOOT = f"A measurement of networks, not a medical device: it must not decide on anyone's care. {SOURCE}"
_WINDOW = (-1000.0, 400.0)      # HU, for pictures where the study states no window of its own


@dataclass(frozen=True, eq=False)
class Noise:
    """A study of CT noise: its summary, as `metrics.noise_summary.summarise_noise` has it, with the `verdict` of
    `words.noise`; its example images; and the HU window that the networks see."""

    label: ClassVar[str] = "CT noise"
    summary: Summary
    examples: Sequence[NoiseExample] = ()
    window: tuple[float, float] = _WINDOW
    folder: Path | None = None

    @property
    def part(self) -> str:
        """The part of the data set that is judged."""
        return str(self.summary["part"])

    @property
    def parts(self) -> list[str]:
        """The parts that there are, in order."""
        return [part for part in PARTS if part in self.summary["parts"]]

    @property
    def dose(self) -> str:
        """The dose at which tables without one of their own speak."""
        mas = self.summary["stated_mas"]
        return f"{mas:g} mAs" if mas else "no dose"

    @property
    def over_folds(self) -> str:
        """How a value over the folds is printed."""
        folds = len(self.summary["folds"])
        return "One fold" if folds == 1 else f"Mean ± SD over {folds} folds"

    @property
    def simulated(self) -> bool:
        """Whether a dose is what a noisy image then has; else it is added to the scan's own noise."""
        return (self.summary["spectrum"] or {}).get("mode") == SIMULATE

    def class_name(self, number: int) -> str:
        """The name of one of two classes, `class 1` of others."""
        classes = self.summary["classes"]
        return str(classes[number]) if len(classes) == 2 else f"class {number}"

    def critical(self, mas: float | None) -> str:
        """A critical dose in mAs without its unit, `below 50` and `above 100` beyond the doses tried."""
        doses = self.summary["doses"]
        return words.mas(mas, doses[-1] if doses else None, doses[0] if doses else None).removesuffix(" mAs")

    def row(self, attack: str, mas: float, part: str) -> Summary | None:
        """What an attack did at a dose in a part; None where it was not tried."""
        return row_of(self.summary["rows"], attack, mas, part)

    def attacks(self, part: str) -> list[str]:
        """The attacks that were tried on a part, in the paper's order."""
        tried = {row["attack"] for row in self.summary["rows"] if row["part"] == part}
        return [*(name for name in KNOWN if name in tried), *sorted(tried - set(KNOWN))]

    def trials(self, part: str) -> str:
        """K of each attack on a part, those of equal K together."""
        names: dict[str, list[str]] = {}
        for attack in self.attacks(part):
            row = next(row for row in self.summary["rows"] if (row["attack"], row["part"]) == (attack, part))
            count = str(row["trials"]) if row["trials"] else f"up to {row['most_trials']}, stopping at a flip"
            names.setdefault(count, []).append(words.noise_name(attack))
        return "; ".join(f"{', '.join(alike)}: {count}" for count, alike in names.items())


@dataclass(frozen=True, eq=False)
class NoiseHardening:
    """What hardening against CT noise did, as `metrics.hardening_methods` has it, with the words of
    `words.hardening`; and the names of the classes."""

    label: ClassVar[str] = "CT noise"
    summary: Summary
    classes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Seeing:
    """What the networks of a study see with noise and without, as `metrics.seeing` has it; the study's classes, the
    part that was looked at, and whether its images are made by a computer."""

    label: ClassVar[str] = "CT noise"
    summary: Summary
    classes: Sequence[str]
    part: str
    synthetic: bool


@dataclass(frozen=True, eq=False)
class NoiseFiles:
    """The stored files of a study of CT noise, its networks by variant, its example images, and what was hardened and
    looked into; `invalid` are the findings by which no number means what it says."""

    study: NoiseStudy
    networks: Mapping[str, Reads]
    examples: Sequence[NoiseExample]
    hardening: Hardenings | None
    seen: SeenRun | None
    folder: Path | None = None
    invalid: Sequence[Mapping[str, Any]] = ()


def read_noise(opened: Opened, shared: Shareable = AS_IT_IS) -> NoiseFiles:
    """The files of a run's plain networks. All but the records and plans may be absent.

    All but the records, and what is joined with them, is as it is `shared`.

    Raises:
        InputRefused: a stored file that is not what it should be.
    """
    folder, cells = opened.folder, sorted(opened.select(stage=PLAIN).cells, key=lambda cell: cell.network)
    jobs = [NoiseJob(cell.network, cell.fold or 0, shared.tree(cell.plan), cell.table,
                     [shared.finding(each) for each in cell.findings], shared.tree(cell.content(TRAINING)),
                     cell.content(COUNTED), cell.content(CONVERGENCE)) for cell in cells]
    study = NoiseStudy(shared.tree(dict(opened.settings)), shared.tree(records.read_object(folder / SPECTRUM)),
                       read_cases(folder / CASES), findings_of(folder / FINDINGS, shared), jobs)
    networks = networks_by_variant(jobs)
    main = next(iter(networks.values()))
    classes = class_names(next(job.plan for job in jobs if job.variant == main.variant), main.logits.shape[2])
    examples = {(each.case_id, each.attack, each.mas): replace(each, case_id=shared.case(each.case_id))
                for cell, job in reversed([*zip(cells, jobs, strict=True)]) for each in reversed(read_noise_examples(
                    cell.folder / NOISE_EXAMPLES, class_names(job.plan, 0), job.fold))}
    return NoiseFiles(study, networks, [*reversed(examples.values())],
                      read_noise_hardening(folder, study.settings, shared), read_seen_run(folder, classes, shared),
                      folder, [shared.finding(each) for each in _invalid(
                          folder, [cell for cell in cells if cell.network == main.variant])])


def _invalid(folder: Path, cells: Sequence[Cell]) -> list[Mapping[str, Any]]:
    """The findings of the study and of the networks that are judged by which no number means what it says."""
    table = pa.concat_tables([cell.table for cell in cells], promote_options="default")
    return invalidating(merged((str(cell), cell.findings) for cell in (Cell(folder), *cells)), table)


def noise_of(files: NoiseFiles, seed: int = 0, shared: Shareable = AS_IT_IS) -> Noise:
    """The study as its report takes it; `seed` is that of the bootstrap."""
    study = files.study
    summary = shared.tree(summarise_noise(study, files.networks, seed))
    summary["invalid"] = files.invalid
    answer = words.noise_answer(summary)
    summary |= {"verdict": answer.sentence, "context": answer.context}
    if files.hardening:
        hardened = shared.tree(summarise_methods(files.hardening, summary["stated_mas"], seed))
        summary["hardening"] = hardened | hardening_words(hardened)
    if files.seen:
        summary["seeing"] = shared.tree(summarise_seeing(files.seen.folds, seed))
        summary["findings"] = by_severity([*summary["findings"], *summary["seeing"]["findings"]])
    return Noise(summary, files.examples, window_of(study.settings), files.folder)


def drawings_of(files: NoiseFiles, noise: Noise) -> dict[str, Drawing]:
    """Every chart of the report by its name."""
    s = noise.summary
    drawings = noise_drawings(s, next(iter(files.networks.values())), noise.examples, noise.window)
    if files.hardening:
        drawings |= noise_hardening_drawings(files.hardening, s["hardening"])
    if files.seen:
        drawings |= seeing_drawings(s["seeing"], files.seen.shown, noise.window, s["classes"])
    return drawings


def window_of(settings: Mapping[str, Any]) -> tuple[float, float]:
    """The HU window that the network sees: what the study states, else -1000 to 400."""
    for section in ("model", "preparation"):
        window = (settings.get(section) or {}).get("window")
        if isinstance(window, list | tuple) and len(window) == 2:
            return float(window[0]), float(window[1])
    return _WINDOW


def subjects(noise: Noise) -> list[object]:
    """All that sections are written of: the study, what hardening did, and what its networks see."""
    s = noise.summary
    return [noise, *([NoiseHardening(s["hardening"], s["classes"])] if s.get("hardening") else []),
            *([Seeing(s["seeing"], s["classes"], noise.part, s["synthetic"])] if s.get("seeing") else [])]


def head(noise: Noise) -> Iterator[Item]:
    """What stands above every section: what was assessed, the answer with the curve by dose, what hardening did."""
    s = noise.summary
    shown = typical_noise(noise.examples, noise.window, (noise.class_name(0), noise.class_name(1)))
    yield lead(words.noise_answer(s), " · ".join(_kicker(noise)), [shown] if shown else [], DOSES)
    yield Cards((*noise_cards(noise), trust(counts_of(s["findings"]))), "facts")
    yield from _hardened(s)
    if s["synthetic"]:
        yield Text(f"{bold('SYNTHETIC')} The images are made by a computer, not taken of patients. Nothing here says "
                   "how the networks read real ones.", "banner")


def head_beside(noise: Noise) -> Iterator[Item]:
    """The same below the head of a page that is about another threat too."""
    s, answer = noise.summary, words.noise_answer(noise.summary)
    yield Text("Under CT noise · " + " · ".join(list(_kicker(noise))[1:]), "kicker")
    yield Text(f"{bold(answer.sentence)} {answer.context}", "context")
    yield Cards(tuple(noise_cards(noise)), "facts")
    yield from _hardened(s)


def _hardened(summary: Summary) -> Iterator[Item]:
    if summary.get("hardening") and summary["hardening"]["said"]["main"]:
        yield Text(summary["hardening"]["said"]["main"])


def _kicker(noise: Noise) -> Iterator[str]:
    s = noise.summary
    yield str(s["data"]["name"] or "CT noise")
    sizes = s["parts"].get(noise.part, {"cases": 0, "patients": 0})
    patients = f"of {counted(sizes['patients'], 'patient')}" if s["data"]["patients_known"] else "(patients unknown)"
    yield f"{counted(sizes['cases'], f'{noise.part} image')} {patients}"
    yield counted(len(s["folds"]), "fold")
    if len(s["variants"]) > 1:
        yield f"{len(s['variants'])} variants of the network"
    if s["doses"]:
        yield f"{', '.join(f'{mas:g}' for mas in s['doses'])} mAs"
    clean = next((row for row in s["classification"] if row["part"] == noise.part), None)
    if clean and clean["auc"].value is not None:
        yield f"AUC {clean['auc'].value:.3f}"
    if s["spectrum"]:
        yield f"spectrum “{s['spectrum']['name']}”"


def noise_cards(noise: Noise) -> Iterator[Card]:
    """The key figures of a study of CT noise."""
    s = noise.summary
    random = row_of(s["rows"], RANDOM, s["stated_mas"], noise.part)
    if random:
        if random["one_draw"]:
            yield estimated(f"of reads changed by one draw at {noise.dose}", random["one_draw"], percent, "reads")
        yield estimated(f"changed at least once in {random['trials'] or random['most_trials']} draws", random["san"],
                        percent, "reads")
    worst = max(words.worst_rows(s), key=lambda row: row["san"].value or 0.0, default=None)
    if worst:
        yield estimated(f"changed by the worst noise found ({words.starts_said(worst)}), "
                        f"{words.short_name(worst['attack'])}", worst["san"], percent, "reads")
    if s["dose_fall"] is not None:
        dose = s["dose_fall"]["dose_of_share"]["0.01"]
        yield Card(_mas(noise, dose.value), "dose below which more than 1 % of reads change",
                   within(dose, lambda end: _mas(noise, end)))


def _mas(noise: Noise, value: float | None) -> str:
    doses = noise.summary["doses"]
    return words.mas(value, doses[-1], doses[0])
