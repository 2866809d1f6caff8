"""The answer: one sentence for the top of a page, the terminal and summary.json, and what it is set against."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steadyread.metrics.intervals import FEWEST, Estimate
from steadyread.units import number_of, unit_word
from steadyread.words.numbers import attack_name, digits, percent, show_size_json

Summary = Mapping[str, Any]
_UNTOLD = {"few", "unread", "clean"}     # of what became of hardening: nothing that can be told
_FULL = 0.95      # a ratio from which on a change is no longer called smaller than the noise


@dataclass(frozen=True)
class Answer:
    """What is said first: `sentence`, of at most 20 words with one `number` (as it stands in it, "" without one), the
    `context` it is seen in, and `caution` how to take that. Not `valid`: a check failed, and the sentence says so."""

    sentence: str
    number: str = ""
    context: str = ""
    caution: str = ""
    valid: bool = True


def answer(summary: Summary) -> Answer:
    """The answer of a run under changes of any pixels; of several sets, findings or networks over all of them."""
    if summary.get("across"):
        return across_answer(summary["across"])
    if summary.get("invalid"):
        return no_answer(summary["invalid"])
    if not summary["images"]:
        return Answer("Nothing has been assessed yet.")
    flips, reads = flips_told(summary)
    if flips["searched"] and flips["images"]:
        return _of_flips(summary, flips, reads)
    clean = _value(summary["discrimination"]["accuracy"])
    if rows := summary["robustness"]["label"]["attacks"] or summary["robustness"]["prediction"]["attacks"]:
        return _of_worst(min(rows, key=lambda row: (_or_two(row["accuracy"]), number_of(row["size"]))), clean)
    if flips["searched"]:
        return Answer("No read is correct, so there is none to flip.")
    if otherwise := summary.get("other_axes"):
        return _of_worst(min((row for row in otherwise if row["against"] == otherwise[0]["against"]),
                             key=lambda row: _or_two(row["accuracy"])), clean)
    return Answer(f"{percent(clean)} of the clean reads are correct; no attack has been run yet.", percent(clean))


def no_answer(failed: Sequence[Mapping[str, Any]]) -> Answer:
    """That checks failed by which no number of the run means what it says, the first of them by name."""
    first, others = failed[0], len({each["check"] for each in failed}) - 1
    more = "" if not others else " and another check" if others == 1 else f" and {others} more checks"
    context = f"{str(first['message']).rstrip('.')}. {first.get('remedy') or ''}".strip()
    return Answer(f"No valid result: “{first['check']}”{more} failed.", context=context[0].upper() + context[1:],
                  valid=False)


def across_answer(across: Summary) -> Answer:
    """The answer over several data sets, findings or networks, as `report.several.across_of` has them."""
    failed = [row for row in across["rows"] if row["invalid"]]
    if len(failed) == len(across["rows"]):
        return no_answer([each for row in failed for each in row["invalid"]])
    rows, kind = nearest_flips(across), str(across["kind"])
    within = "in" if kind == "set" else "of"
    doubts = "".join(f"No valid result {within} {row['title']}: “{row['invalid'][0]['check']}” failed. "
                     for row in failed)
    gained = _gained(across["rows"], kind)
    if not rows:
        return Answer(f"In no {kind} could half of the correct reads be flipped.", "", f"{doubts}{gained}".strip())
    first, last = rows[0], rows[-1]
    number, most = (size_shown({"native": row["median"].value, "unit": row["unit"],
                                "of_range": row["median"].value / row["range"]}) for row in (first, last))
    by = "in units of the noise in its own images" if _by_noise(across) else "by share of the range"
    beside = (f"The largest is {most} {within} {last['title']}, {by}{_overlap(across, rows)}. "
              if last is not first else "")
    return Answer(f"Half of the correct reads {within} {first['title']} flip under changes of {number}, the smallest "
                  f"of all {'valid ' if failed else ''}{kind}s.", number, f"{doubts}{beside}{gained}".strip())


def nearest_flips(across: Summary) -> list[Summary]:
    """The rows of which half were flipped and no check failed, the smallest first: in units of each one's own noise
    where all of it is known, else by share of the range."""
    known = [row for row in across["rows"] if not row["invalid"] and row["median"] is not None
             and row["median"].value is not None and math.isfinite(row["median"].value)]
    return sorted(known, key=lambda row: row["median"].value / (row["noise"] if _by_noise(across) else row["range"]))


def _overlap(across: Summary, rows: Sequence[Summary]) -> str:
    """That the smallest is not told from the next, where their intervals overlap."""
    first, second = ({name: None if end is None else end / (row["noise"] if _by_noise(across) else row["range"])
                      for name, end in (("low", row["median"].low), ("high", row["median"].high))} for row in rows[:2])
    high, low = first["high"], second["low"]
    return "; the intervals of the smallest two overlap" if high is not None and low is not None and low <= high else ""


def _by_noise(across: Summary) -> bool:
    return all(row["noise"] for row in across["rows"] if not row["invalid"])


def _gained(rows: Sequence[Summary], kind: str) -> str:
    """In how many hardening made the reads steadier; "" where none was hardened, or none can be told."""
    ways = [row["way"] for row in rows if row["way"] is not None]
    if set(ways) <= _UNTOLD:
        return ""
    return f"Hardening made the reads steadier in {ways.count('better')} of {len(ways)} {kind}s."


def flips_told(summary: Summary) -> tuple[Summary, str]:
    """The smallest flips that are quoted, and whose they are: correct reads', else (against the prediction) all."""
    found = summary["robustness"]
    if found["prediction"]["smallest_flip"]["searched"] and not found["label"]["smallest_flip"]["searched"]:
        return found["prediction"]["smallest_flip"], "reads"
    return found["label"]["smallest_flip"], "correct reads"


def size_shown(size: Mapping[str, Any]) -> str:
    """A size in its own unit alone, or as a share of the range where there is none: `4.7 HU`, `0.33 % of the range`."""
    value = number_of(size)
    if not math.isfinite(value):
        return digits(value)
    if not size["unit"]:
        return f"{digits(100 * float(size['of_range']))} % of the range"
    return f"{digits(value)} {unit_word(str(size['unit']), value)}"


def _of_flips(summary: Summary, flips: Summary, reads: str) -> Answer:
    some = reads if flips["images"] > 1 else reads[:-1]
    if flips["images"] < FEWEST:
        return Answer(f"Only {flips['images']} {some} could be attacked: too few to say when half of them flip.",
                      str(flips["images"]))
    limit = flips["searched_up_to"]
    searched = f"Changes of up to {size_shown(limit)} in any pixel were searched." if limit else ""
    if math.isfinite(number_of(flips["median"])):
        number = size_shown(flips["median"])
        return Answer(f"Half of the {reads} flip when no pixel changes by more than {number}.", number,
                      *_beside_noise(summary, number_of(flips["median"])))
    share = 1 - (flips["never"].value or 0.0)
    if share == 0:
        return Answer(f"No {reads[:-1]} could be flipped by any change that was searched.", "", searched)
    number = percent(share)
    return Answer(f"{number} of the {reads} could be flipped; the others withstood every change that was searched.",
                  number, searched)


def _beside_noise(summary: Summary, median: float) -> tuple[str, str]:
    """What the images' own noise does at random beside what a found change does, and how to take that."""
    noise = summary.get("image_noise")
    if noise is None or noise["changed"].value is None:
        return "", ""
    ratio, unit = median / number_of(noise["sd"]), noise["sd"]["unit"]
    found = "as large" if _FULL <= ratio < 1 / _FULL else f"{digits(ratio)} times as large"
    ends = noise["changed"]
    between = "" if ends.low is None or ends.high is None else f" ({100 * ends.low:.1f} to {percent(ends.high)})"
    context = (f"The images themselves carry noise of {size_shown(noise['sd'])} (SD). Drawn at random, noise that "
               f"large changes {percent(noise['changed'].value)} of all reads{between}; a change found for the "
               f"purpose, {found}, flips half of the correct ones.")
    other = "CT noise" if unit == "HU" else "a detector's noise"
    return context, (
        "The largest change of any pixel is set against an SD, which is conservative: the SD of that change is smaller "
        f"still. The noise drawn is white, and {other} is not. The SD in the images is estimated from neighbouring "
        "pixels, which misses noise that is smooth.")


def _of_worst(worst: Summary, clean: float | None) -> Answer:
    """The accuracy under the worst attack, and beside it that without one."""
    level = (f"changes of at most {show_size_json(worst['size'])}" if "size" in worst
             else f"{digits(worst['level'])} {worst['unit']}")
    before, after = percent(clean), percent(_value(worst["accuracy"]))
    context = "as many as without an attack" if before == after else f"without an attack {before}"
    return Answer(f"Under {attack_name(worst['attack'])}, {after} of the reads are right.", after,
                  f"At {level}; {context}.")


def _or_two(found: Estimate) -> float:
    return 2.0 if found.value is None else found.value


def _value(found: Estimate | None) -> float | None:
    return found.value if found is not None else None
