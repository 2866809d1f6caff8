"""One network on one data set under changes of any pixels: what its sections are written from, and its page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from steadyread.charts import Chart
from steadyread.metrics import summarise
from steadyread.metrics.hardened import Hardened
from steadyread.metrics.image_noise import image_noise
from steadyread.report.answer import ANSWER, Handle, answer_chart, facts, lead, typical
from steadyread.report.checklists import Runs
from steadyread.report.drawings import Drawing, drawings, summarised_side
from steadyread.report.hardening_drawings import hardening_drawings
from steadyread.report.hardening_stored import hardening_summary, read_hardenings
from steadyread.report.items import Item, Text, notes
from steadyread.report.marks import bold
from steadyread.report.referral import Referral, referral_of
from steadyread.report.several import several_chart, several_facts, several_lead
from steadyread.report.shareable import Shareable
from steadyread.report.stored import Run
from steadyread.units import Bounds
from steadyread.words.answer import answer
from steadyread.words.numbers import counted
from steadyread.words.plain import with_words

FOOT = ("A measurement of a model, not a medical device: it must not decide on anyone's care. [A]: Joel et al. 2022, "
        "doi:10.1200/CCI.21.00170.")
_NAMED = 6   # classes


@dataclass(frozen=True, eq=False)
class Plain:
    """A run under changes of any pixels: its stored files and its summary, as `metrics.summarise` has it, with the
    words of `words.plain` and, where the network was hardened, `hardening`; and its hardened networks."""

    label: ClassVar[str] = "any pixels"
    run: Run
    summary: Mapping[str, Any]
    hardened: tuple[Hardened, ...] = ()
    referral: Referral | None = None
    beside: Mapping[str, Referral] = field(default_factory=dict)     # of its other findings, with its own

    @property
    def bounds(self) -> Bounds:
        """The images' bounds."""
        return self.run.bounds

    @property
    def hardening(self) -> Mapping[str, Any] | None:
        """What came of hardening it."""
        found: Mapping[str, Any] | None = self.summary.get("hardening")
        return found

    @property
    def unit(self) -> str:
        """The unit of the images in a column's head; "" where none is known."""
        unit = str(self.summary["unit"])
        return unit if unit in ("", "HU") else f"{unit}s"

    @property
    def patients(self) -> str:
        """What intervals go over."""
        return "patients" if self.summary["data"]["patients_known"] else "images"

    @property
    def flips(self) -> Mapping[str, Any]:
        """The smallest flips against the label, where those were searched; else against the prediction."""
        found = self.summary["robustness"]
        told: Mapping[str, Any] = found["label" if found["label"]["smallest_flip"]["searched"] else "prediction"][
            "smallest_flip"]
        return told

    @property
    def runs(self) -> Runs:
        """The run by its name, as the checklists take it."""
        return {str(self.summary["name"] or self.summary["data"]["name"]): (self.run, self.summary)}


def plain_of(run: Run, shared: Shareable, seed: int = 0, across: Mapping[str, Any] | None = None,
             beside: Mapping[str, Referral] | None = None) -> Plain:
    """A run under changes of any pixels, with its hardenings where its folder has any; `across` is what several
    networks of it come to beside each other, and `beside` what its findings refer, by finding."""
    hardened = tuple(read_hardenings(run.folder, shared))
    counted_up = summarise(run.table, run.plan, run.findings, run.training, seed) | {"invalid": run.invalid}
    if across is not None:
        counted_up["across"] = across
    noise = image_noise(run.image_noise, run.reads, run.plan, seed) if run.image_noise else None
    if noise is not None:
        counted_up["image_noise"] = noise.as_json(run.bounds)
    summary = with_words(shared.tree(counted_up))
    if hardened:
        summary["hardening"] = hardening_summary(run, hardened, seed)
    referral = referral_of(run.reads, summary["triage"], summary["classes"], run.bounds, shared)
    return Plain(run, summary, hardened, referral, beside or {})


def drawings_of(plain: Plain) -> dict[str, Drawing]:
    """Its charts by name."""
    charts = drawings(plain.run.reads, plain.summary, plain.run.examples, plain.bounds)
    across = plain.summary.get("across")
    first = several_chart(across) if across else (first_curve(plain) or [None])[0]
    if first is not None:
        charts[first.name] = first
    if plain.hardening:
        charts |= {each.name: each for each in hardening_drawings(plain.run, plain.hardened, plain.hardening)}
    return charts


def head(plain: Plain) -> Iterator[Item]:
    """What stands above every section: what was assessed, the verdict, what hardening did, the key figures."""
    s, hardening = plain.summary, plain.hardening
    if s.get("across"):
        yield from _head_of_several(s)
        return
    drawn, shown = first_curve(plain), typical(plain.run.examples, plain.bounds, s)
    yield lead(answer(s), " · ".join(_kicker(plain)), [shown] if shown else [], ANSWER, drawn[1] if drawn else None)
    yield facts(s)
    if hardening and hardening["failed"]:
        yield failed(hardening["failed"])
    elif hardening:
        yield Text(hardening["short"])
    yield from _banner(s)


def _banner(summary: Mapping[str, Any]) -> Iterator[Item]:
    if summary["synthetic"]:
        yield Text(f"{bold('SYNTHETIC')} The images are made by a computer, not taken of patients. Nothing here says "
                   "how the model reads real ones.", "banner")


def _head_of_several(summary: Mapping[str, Any]) -> Iterator[Item]:
    across, data = summary["across"], summary["data"].get("name")
    name = str(summary["model"].get("name") or "").removesuffix(f" for {across['own']}")
    yield several_lead(across, " · ".join([*filter(None, (name, data)), counted(len(across["rows"]), across["kind"])]))
    yield several_facts(across)
    below = "Cases, checks and the curves below are" if across["kind"] == "finding" else (
        "Cases, checks, triage and the curves below are")
    yield Text(f"{below} of {across['own']}.")
    yield from _banner(summary)


def first_curve(plain: Plain) -> tuple[Chart, Handle] | None:
    """The chart beside the answer with its handle; None where no smallest flips were searched."""
    against = "label" if plain.summary["robustness"]["label"]["smallest_flip"]["searched"] else "prediction"
    side = summarised_side(plain.run.reads, plain.summary["robustness"], against)
    return answer_chart(side, plain.bounds, plain.summary, against)


def failed(why: str) -> Item:
    """That a hardening came to nothing."""
    return notes([{"severity": "error", "check": "hardening failed", "message": why}])


def _kicker(plain: Plain) -> Iterator[str]:
    s, bounds = plain.summary, plain.bounds
    yield from (str(name) for name in (s["model"].get("name"), s["data"].get("name")) if name)
    images = counted(s["images"], "test image" if s["part"] == "test" else "image")
    yield f"{images} of {counted(s['patients'], 'patient')}" if s["data"]["patients_known"] else (
        f"{images} (patients unknown)")
    more = f", {len(s['classes']) - _NAMED} more" if len(s["classes"]) > _NAMED else ""
    yield f"{', '.join(s['classes'][:_NAMED])}{more}"
    low, high = (f"{end:g}".replace("-", "−") for end in (bounds.low, bounds.high))
    yield f"valid values {low} to {high}{' ' + plain.unit if plain.unit else ''}"
    asked = ((s["provenance"]["study"] or {}).get("split") or {}).get("folds") or 1
    if s["folds"] < asked:
        yield f"{s['folds']} of {counted(asked, 'fold')}, the others are not assessed"
    elif s["folds"] > 1:
        yield counted(s["folds"], "fold")
    if "black_box" in s:
        yield s["black_box"]
    if s["stage"] == "hardened":
        yield "hardened model"
