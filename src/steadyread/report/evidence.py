"""A run's stored files as evidence: values by dotted path, findings by check, and sentences filled in from them.

A sentence of a crosswalk is a template: `The data set {plan.data.name}[, read as {study.data.layout}].` A place in
braces is a path into plan.json, study.json, training.json or summary.json, `findings.CHECK, CHECK`, or a fact; a
style may follow (`{plan.model.sha256:digest}`). What stands in square brackets is left out where it is not known;
where anything else is not known, the whole sentence is. So no sentence can say what no file holds.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyread.files import FINDINGS, MODEL, SETTINGS, SUMMARY, TRAINING
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import Reads
from steadyread.metrics.summary import as_json
from steadyread.records import PARTS, PLAN
from steadyread.report.forms import interval
from steadyread.report.stored import Run
from steadyread.units import unit_word
from steadyread.words.hardening import method_name
from steadyread.words.numbers import NONE, digits, percent

ROOTS: Mapping[str, str] = {"plan": PLAN, "study": SETTINGS, "training": TRAINING, "summary": SUMMARY,
                            "findings": FINDINGS, "records": PARTS, "model": MODEL}
COUNTED = ("records.part", "records.patient_id", "records.label")
_ORDER = ("train", "validation", "test")
_SHOWN = 3     # findings of one check that are given in full
_SHORTCUTS = ("label leak", "padding tells the label", "copies tell the label", "diameter tells the label")
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "shortcuts": _SHORTCUTS,
    "data quality": ("unreadable images", "non-finite pixels", "constant images", "pixels outside the bounds",
                     "exact duplicates", "exact duplicates across parts",
                     "exact duplicates with conflicting labels", "near duplicates", "near duplicates across parts",
                     "near duplicates with conflicting labels", *_SHORTCUTS),
    "doubts": ("head", "undecided", "one class", "no better than one class", "constant reads", "class order")}
PLACE = re.compile(r"\{([^{}:]+)(?::(\w+))?\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*\{[^\[\]]*)\]")
_WORD = re.compile(r"[a-z][a-z'-]*[,:;]?(\s|$)")
# A reader's note that speaks of images it could not use.
_LACKING = re.compile(r"\b(no|without|missing|cannot|left out|set aside|unlabelled)\b")


@dataclass(frozen=True)
class Fact:
    """Words on a run, the paths that they come from ("plan.data.name"), and what they leave to the author."""

    text: str
    where: tuple[str, ...] = ()
    left: str = ""


@dataclass(frozen=True)
class Sentence:
    """A template, and `when` it is said: where all these places are known and true (`not PLACE`, `PLACE is VALUE`).

    `cites` are further paths that it rests on, `left` is what it leaves to the author, and an `otherwise` sentence
    is said only where the one before it was not.
    """

    says: str = ""
    when: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    left: str = ""
    otherwise: bool = False

    @property
    def places(self) -> list[str]:
        """Every place that it names."""
        conditions = [condition.removeprefix("not ").partition(" is ")[0] for condition in self.when]
        return [place for place, _ in PLACE.findall(self.says)] + conditions + list(self.cites)


@dataclass(frozen=True, eq=False)
class Evidence:
    """One run, opened: its JSON documents by root, its findings, the records of the judged stage, and the facts and
    shared sentences that templates may name. `has_model` says whether the network lies beside."""

    documents: Mapping[str, Mapping[str, Any]]
    findings: Sequence[Mapping[str, Any]]
    table: pa.Table
    has_model: bool
    facts: "Mapping[str, Callable[[Evidence], Fact | None]]"
    shared: Mapping[str, Sequence[Sentence]]
    _known: dict[tuple[str, str], Fact | None] = field(default_factory=dict)

    def at(self, path: str) -> Any:
        """What stands at `plan.data.name`; None where it does not."""
        value: Any = self.documents
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def section(self, path: str) -> Mapping[str, Any]:
        """The same where it is a table; else an empty one."""
        value = self.at(path)
        return value if isinstance(value, Mapping) else {}

    def numbers(self, path: str) -> list[float]:
        """The same as numbers, one or several; none where it is anything else."""
        return _numbers(self.at(path))

    def fact(self, place: str, style: str = "") -> Fact | None:
        """What a place in a template says, in a style; None where it is not known."""
        if (place, style) not in self._known:
            self._known[place, style] = self._looked_up(place, style)
        return self._known[place, style]

    def paragraph(self, sentences: Iterable[Sentence]) -> Fact | None:
        """The sentences that can be said, as one; None where none can."""
        facts: list[Fact] = []
        spoken = False
        for sentence in sentences:
            if sentence.otherwise and spoken:
                continue
            fact = self._said(sentence)
            spoken = fact is not None
            if fact is not None:
                facts.append(fact)
        return _joined(facts) if facts else None

    def stands(self, path: str) -> bool:
        """Whether a file of the run holds what a path names."""
        root, _, key = path.partition(".")
        if root == "model":
            return self.has_model
        if root == "records":
            return key in self.table.column_names
        if root == "findings":
            return any(finding["check"] == key for finding in self.findings)
        section, _, last = path.rpartition(".")
        return last in self.section(section)

    @cached_property
    def classes(self) -> list[str]:
        """The classes' names."""
        return [str(name) for name in self.at("summary.classes") or ()]

    @cached_property
    def unit(self) -> str:
        """The images' native unit, empty where it is not known."""
        return str(self.at("plan.data.unit") or "")

    @cached_property
    def trained(self) -> bool | None:
        """Whether the run trained its network (else its weights were given); None where neither is known."""
        if "training" in self.documents:
            return True
        return False if self.documents.get("study") and self.at("study.training") is None else None

    @cached_property
    def parts(self) -> dict[str, str]:
        """`test: 120 images of 80 patients (benign: 62, malignant: 58)` of each assessed part, by its name; "all"
        where the images have no parts."""
        clean = self.table.filter(pc.equal(self.table["attack"], "clean"))
        names = {str(part) for part in pc.unique(clean["part"]).to_pylist() if part}
        ordered = sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
        reads = ({name: reads_of(clean, name) for name in ordered}
                 or ({"all": reads_of(clean, None)} if len(clean) else {}))
        return {name: f"{name}: {self._counted(part)}" for name, part in reads.items()}

    @cached_property
    def threats(self) -> set[str]:
        """The threats under which the records hold reads."""
        return {str(name) for name in pc.unique(self.table["threat"]).to_pylist()} - {"none"}

    def of_checks(self, names: str) -> list[Mapping[str, Any]]:
        """The findings of checks ("class counts, parts"), of groups of checks, of a topic (`soundness`), of all
        `warnings`, and the reader's notes on what it could not use (`unusable data`) and others (`notes on data`)."""
        checks = [check for name in names.split(", ") for check in _GROUPS.get(name, (name,))]
        return [finding for finding in self.findings if finding["check"] in checks or _kind(finding) in checks
                or ("warnings" in checks and finding["severity"] in ("error", "warning"))]

    def _counted(self, reads: Reads) -> str:
        counts = {name: int(np.sum(reads.label == place)) for place, name in enumerate(self.classes)}
        counts["without a label"] = int(np.sum(reads.label < 0))
        known = self.at("plan.data.patients_known")
        patients = f" of {len(np.unique(reads.patient))} patients" if known else ""
        classes = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        return f"{len(reads)} images{patients} ({classes})"

    def _looked_up(self, place: str, style: str) -> Fact | None:
        if place in self.facts:
            return self.facts[place](self)
        if place in self.shared:
            return self.paragraph(self.shared[place])
        root, _, names = place.partition(".")
        if root == "findings":
            return _of_findings(self.of_checks(names), style)
        text = STYLES[style](self.at(place), self)
        return None if text is None else Fact(text, (place,))

    def _said(self, sentence: Sentence) -> Fact | None:
        conditions = [self._condition(condition) for condition in sentence.when]
        pieces = [self._filled(text) for text in _OPTIONAL.split(sentence.says)]   # each second one is optional
        if None in conditions or None in pieces[::2]:
            return None
        known = [fact for fact in (*conditions, *pieces) if fact is not None]
        text = "".join(piece.text for piece in pieces if piece is not None)
        left = tuple(filter(None, (*(fact.left for fact in known), sentence.left)))
        where = (path for path in (*(path for fact in known for path in fact.where), *sentence.cites)
                 if self.stands(path))
        return Fact(sentences([text]), tuple(dict.fromkeys(where)), "; ".join(dict.fromkeys(left)))

    def _filled(self, template: str) -> Fact | None:
        facts = [self.fact(place, style) for place, style in PLACE.findall(template)]
        known = [fact for fact in facts if fact is not None]
        if len(known) < len(facts):
            return None
        texts = iter(fact.text for fact in known)
        joined = _joined(known)
        return Fact(PLACE.sub(lambda _: next(texts), template), joined.where, joined.left)

    def _condition(self, condition: str) -> Fact | None:
        place, _, value = condition.removeprefix("not ").partition(" is ")
        if place in self.facts or place in self.shared or place.startswith("findings."):
            fact = self.fact(place)
        else:
            held = self.at(place)
            fact = Fact("", (place,)) if (str(held) == value if value else held) else None
        if condition.startswith("not "):
            return Fact("") if fact is None else None
        return fact and Fact("", fact.where)


def evidence_of(run: Run, summary: Mapping[str, Any], facts: Mapping[str, Callable[[Evidence], Fact | None]],
                shared: Mapping[str, Sequence[Sentence]]) -> Evidence:
    """A run with its summary (of `summarise`, or as summary.json holds it), opened."""
    plain = as_json(summary)
    stage = plain.get("stage")
    table = run.table if stage is None else run.table.filter(pc.equal(run.table["stage"], stage))
    documents = {"plan": run.plan, "study": run.plan.get("study"), "training": run.training, "summary": plain}
    return Evidence({root: value for root, value in documents.items() if isinstance(value, Mapping)}, run.findings,
                    table, (run.folder / MODEL).is_file(), facts, shared)


def places_named(paths: Iterable[str]) -> str:
    """Every file once, with its keys: "plan.json: data.name, seed; records: label"."""
    keys: dict[str, list[str]] = {}
    for path in paths:
        root, _, key = path.partition(".")
        keys.setdefault(ROOTS[root], []).extend([key] if key else [])
    return "; ".join(f"{file}: {', '.join(dict.fromkeys(names))}" if names else file
                     for file, names in keys.items())


def sentences(texts: Iterable[str]) -> str:
    """Each a sentence: begun with a capital (but for a file's name), ended with a full stop."""
    return " ".join((f"{text[:1].upper()}{text[1:]}" if _WORD.match(text) else text)
                    + ("" if text.endswith((".", "?", "!")) else ".") for text in texts if text.strip())


def listed(names: Sequence[str]) -> str:
    """`benign and malignant`, `0, 1 and 2`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def setting(value: Any) -> str:
    """A value of the settings: yes, 64, 0.25, (1, 2), with a true minus sign and no underscores."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(setting, value))})"
    return f"{value:g}".replace("-", "−") if isinstance(value, int | float) else str(value).replace("_", " ")


def between(ends: Sequence[float], unit: str) -> str:
    """`−1000 to 400 HU`."""
    return f"{setting(ends[0])} to {setting(ends[1])} {unit_word(unit)}".rstrip()


def estimate_said(estimate: Estimate, area: bool = False) -> str:
    """`86.7 % (79.1 to 92.3)`, or of an area `0.912 (0.853 to 0.954)`."""
    text = interval(estimate, 1, 3) if area else interval(estimate)
    value = digits(estimate.value or 0.0, 3) if area else percent(estimate.value)
    return f"{value} ({text})" if text not in ("", NONE) else f"{value} (too few patients for an interval)"


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list | tuple) else [value]
    sound = all(isinstance(number, int | float) and not isinstance(number, bool) for number in values)
    return [float(number) for number in values] if sound else []


def _text(value: Any, _: Evidence) -> str | None:
    if value is None or value == "" or isinstance(value, Mapping):
        return None
    return listed([str(name) for name in value]) if isinstance(value, list | tuple) else str(value)


def _range(value: Any, evidence: Evidence) -> str | None:
    return between(ends, evidence.unit) if len(ends := _numbers(value)) == 2 else None


def _estimate(area: bool) -> Callable[[Any, Evidence], str | None]:
    def style(value: Any, _: Evidence) -> str | None:
        known = isinstance(value, Mapping) and value.get("value") is not None
        return estimate_said(Estimate(**value), area) if known else None
    return style


def _number(form: Callable[[float], str]) -> Callable[[Any, Evidence], str | None]:
    def style(value: Any, _: Evidence) -> str | None:
        return form(numbers[0]) if len(numbers := _numbers(value)) == 1 else None
    return style


STYLES: Mapping[str, Callable[[Any, Evidence], str | None]] = {
    "": _text,
    "range": _range,
    "share": _estimate(False),
    "area": _estimate(True),
    "percent": _number(percent),
    "whole": _number(lambda value: percent(value, 0)),
    "count": _number(lambda value: f"{value:,.0f}"),
    "length": lambda value, _: str(len(value)) if isinstance(value, list) else None,
    "digest": lambda value, _: f"{value[:12]}…" if isinstance(value, str) else None,
    "method": lambda value, _: method_name(value) if isinstance(value, str) else None,
    "pairs": lambda value, _: (", ".join(f"{key} {setting(entry)}" for key, entry in value.items())
                               if isinstance(value, Mapping) and value else None)}
FINDING_STYLES = ("", "named", "passed", "any", "clean")


def _of_findings(findings: Sequence[Mapping[str, Any]], style: str) -> Fact | None:
    """Findings as sentences: those not passed (`named`: with their checks), the `passed`, or `any`.

    Of style `clean` are the names of the checks that found nothing.
    """
    passed = [finding for finding in findings if finding["severity"] == "ok"]
    others = [finding for finding in findings if finding["severity"] != "ok"]
    if style == "clean":
        failed = {finding["check"] for finding in others}
        names = list(dict.fromkeys(str(each["check"]) for each in passed if each["check"] not in failed))
        return Fact(", ".join(names), tuple(f"findings.{name}" for name in names)) if names else None
    shown = {"passed": passed, "any": [*others, *passed]}.get(style, others)
    checks = list(dict.fromkeys(str(finding["check"]) for finding in shown))
    texts = []
    for check in checks:
        messages = [str(finding["message"]).rstrip(".") for finding in shown if finding["check"] == check]
        more = f" (and {len(messages) - _SHOWN} more)" if len(messages) > _SHOWN else ""
        texts.append((f"{check}: " if style == "named" else "") + "; ".join(messages[:_SHOWN]) + more)
    return Fact(sentences(texts), tuple(f"findings.{check}" for check in checks)) if checks else None


def _kind(finding: Mapping[str, Any]) -> str:
    if finding["check"] != "data" or finding["severity"] == "ok":
        return str(finding.get("topic", ""))
    return "unusable data" if _LACKING.search(str(finding["message"])) else "notes on data"


def _joined(facts: Sequence[Fact]) -> Fact:
    where = dict.fromkeys(path for fact in facts for path in fact.where)
    left = dict.fromkeys(fact.left for fact in facts if fact.left)
    return Fact(" ".join(fact.text for fact in facts if fact.text), tuple(where), "; ".join(left))

