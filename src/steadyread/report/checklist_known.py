"""What a run's stored files say, by file and key, for the answers to a checklist."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread.files import FINDINGS, MODEL, SETTINGS, SUMMARY, TRAINING
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.summary import as_json
from steadyread.records import PARTS, PLAN
from steadyread.report.forms import interval
from steadyread.report.stored import Run
from steadyread.units import unit_word
from steadyread.words.numbers import NONE, digits, percent

COUNTED = f"{PARTS}: part, patient_id, label"
_PARTS = ("train", "validation", "test")
_SHOWN = 3     # findings of one check that are told in full
# A reader's note that speaks of images it could not use.
_WORD = re.compile(r"[a-z][a-z'-]*[,:;]?(\s|$)")
_LACKING = re.compile(r"\b(no|without|missing|cannot|left out|set aside|unlabelled)\b")


@dataclass(frozen=True)
class Said:
    """Words that answer a part of an item, where their facts stand ("plan.json: data.name"), and what they leave to
    the author."""

    words: str
    where: tuple[str, ...] = ()
    left: str = ""


@dataclass(frozen=True)
class Part:
    """The images of one part that were assessed: how many, of how many patients, and how many of each class."""

    images: int
    patients: int
    classes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Known:
    """A run's files, opened: JSON by name, the findings, the records of the judged stage; `beside` are the names of
    other files that are there."""

    files: Mapping[str, Any]
    findings: Sequence[Mapping[str, Any]]
    table: pa.Table
    beside: Sequence[str] = ()

    def at(self, where: str) -> Any:
        """What stands at `"plan.json: data.name"`; None where it does not."""
        file, _, keys = where.partition(": ")
        found = self.files.get(file)
        for key in keys.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def said(self, where: str) -> str | None:
        """The same as text; None where there is none."""
        found = self.at(where)
        return None if found is None or found == "" else str(found)

    def table_at(self, where: str) -> Mapping[str, Any]:
        """The same where it is a table of settings; else an empty one."""
        found = self.at(where)
        return found if isinstance(found, Mapping) else {}

    def numbers(self, where: str) -> list[float]:
        """The same as numbers, one or several; none where it is anything else."""
        found = self.at(where)
        listed = found if isinstance(found, list | tuple) else [found]
        sound = all(isinstance(one, int | float) and not isinstance(one, bool) for one in listed)
        return [float(one) for one in listed] if sound else []

    def estimate(self, where: str) -> Estimate | None:
        """A figure of the summary with its interval; None where it was not measured."""
        found = self.table_at(where)
        return Estimate(**found) if found.get("value") is not None else None

    @cached_property
    def classes(self) -> list[str]:
        """The classes' names."""
        return [str(name) for name in self.at("summary.json: classes") or ()]

    @cached_property
    def unit(self) -> str:
        """The images' native unit, empty where it is not known."""
        return self.said("plan.json: data.unit") or ""

    @cached_property
    def trained(self) -> bool | None:
        """Whether the run trained its network (else its weights were given); None where neither is known."""
        if isinstance(self.files.get(TRAINING), Mapping):
            return True
        return False if self.files.get(SETTINGS) and self.at("study.json: training") is None else None

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The parts that were assessed, by name; "all" where the images have no parts."""
        clean = self.table.filter(pc.equal(self.table["attack"], "clean"))
        held = {str(part) for part in pc.unique(clean["part"]).to_pylist() if part}
        ordered = sorted(held, key=lambda one: (_PARTS.index(one) if one in _PARTS else len(_PARTS), one))
        return ({part: _part(clean, part, self.classes) for part in ordered}
                or ({"all": _part(clean, None, self.classes)} if len(clean) else {}))

    def part_said(self, name: str) -> str:
        """`test: 120 images of 80 patients (benign: 62, malignant: 58)`."""
        part = self.parts[name]
        whose = f" of {part.patients} patients" if self.at("plan.json: data.patients_known") else ""
        classes = ", ".join(f"{label}: {count}" for label, count in part.classes.items() if count)
        return f"{name}: {part.images} images{whose} ({classes})"

    def found(self, *checks: str, passed: bool = False) -> list[Mapping[str, Any]]:
        """The findings of these checks: those that passed, or all others."""
        return [each for each in self.findings if each["check"] in checks and (each["severity"] == "ok") is passed]

    @cached_property
    def notes(self) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """The notes of the data's reader: on what it could not use, and others."""
        notes = self.found("data")
        lacking = [each for each in notes if _LACKING.search(str(each["message"]))]
        return lacking, [each for each in notes if each not in lacking]


def known_of(run: Run, summary: Mapping[str, Any]) -> Known:
    """A run with its summary (of `summarise`, or as summary.json holds it), opened for a checklist."""
    told = as_json(summary)
    study, stage = run.plan.get("study"), told.get("stage")
    table = run.table if stage is None else run.table.filter(pc.equal(run.table["stage"], stage))
    files = {PLAN: run.plan, SETTINGS: study, TRAINING: run.training, SUMMARY: told}
    return Known({name: held for name, held in files.items() if isinstance(held, Mapping)}, run.findings, table,
                 tuple(name for name in (MODEL,) if (run.folder / name).is_file()))


def findings_said(found: Sequence[Mapping[str, Any]], named: bool = True) -> Said:
    """Findings as one sentence or several; of each check the first few in full."""
    told: list[str] = []
    for check in dict.fromkeys(str(each["check"]) for each in found):
        messages = [str(each["message"]).rstrip(".") for each in found if each["check"] == check]
        more = f" (and {len(messages) - _SHOWN} more)" if len(messages) > _SHOWN else ""
        told.append((f"{check}: " if named else "") + "; ".join(messages[:_SHOWN]) + more)
    return Said(sentences(told), tuple(f"{FINDINGS}: {check}" for check in dict.fromkeys(
        str(each["check"]) for each in found)))


def sentences(told: Iterable[str]) -> str:
    """Each a sentence: begun with a capital (but for a file's name), ended with a full stop."""
    return " ".join((f"{one[:1].upper()}{one[1:]}" if _WORD.match(one) else one)
                    + ("" if one.endswith((".", "?", "!")) else ".") for one in told if one.strip())


def listed(names: Sequence[str]) -> str:
    """`benign and malignant`, `0, 1 and 2`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def plain(value: float) -> str:
    """A number of the settings: 64, 0.25, 400, with a true minus sign."""
    return f"{value:g}".replace("-", "−")


def between(values: Sequence[float], unit: str = "") -> str:
    """`−1000 to 400 HU`."""
    return f"{plain(values[0])} to {plain(values[1])} {unit_word(unit)}".rstrip()


def extent(values: Sequence[float], unit: str) -> str:
    """`64 pixels an axis`, `12 x 32 x 32 pixels`."""
    return f"{plain(values[0])} {unit} an axis" if len(values) == 1 else f"{' x '.join(map(plain, values))} {unit}"


def share_said(found: Estimate) -> str:
    """`86.7 % (79.1 to 92.3)`."""
    return percent(found.value) + _between(interval(found))


def area_said(found: Estimate) -> str:
    """`0.912 (0.853 to 0.954)`."""
    return (NONE if found.value is None else digits(found.value, 3)) + _between(interval(found, 1, 3))


def _between(told: str) -> str:
    return f" ({told})" if told not in ("", NONE) else " (too few patients for an interval)"


def _part(clean: pa.Table, part: str | None, classes: Sequence[str]) -> Part:
    reads = reads_of(clean, part)
    counts = {name: int(np.sum(reads.label == place)) for place, name in enumerate(classes)}
    if (unknown := int(np.sum(reads.label < 0))):
        counts["without a label"] = unknown
    return Part(len(reads), len(np.unique(reads.patient)), counts)
