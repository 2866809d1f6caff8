"""What networks on the same cases have to say of each other, in plain words."""

import math
from collections.abc import Sequence

from steadyread.metrics.comparison import RATIO, Change
from steadyread.metrics.hardening import ACCURACY, CHANGED
from steadyread.words.answer import Answer
from steadyread.words.noise import short_name
from steadyread.words.numbers import factor, percent

VERDICTS = {"better": "better", "worse": "worse", "alike": "none detected", "same": "same reads",
            "few": "too few patients"}


def compared_answer(first: str, names: Sequence[str], keys: Sequence[Sequence[Change]]) -> Answer:
    """The answer of a comparison: what the first network is, and how the other, or the one that differs most, stands
    to it, by the smallest flips, else by the worst CT noise that was tried, else by accuracy."""
    measure = next((measure for measure in (RATIO, CHANGED, ACCURACY)
                    if all(any(each.measure == measure for each in found) for found in keys)), "")
    several = [{each.attack: each for each in found if each.measure == measure} for found in keys]
    attack = [name for name in (several[0] if several else ()) if all(name in each for each in several)][-1:]
    told = {name: found[attack[0]] for name, found in zip(names, several, strict=True) if attack}
    if not told:
        return Answer(f"{first} and the others share no number to be compared by.")
    if len(told) == 1:
        ((name, change),) = told.items()
        return _of_two(first, name, change)
    ways: list[str] = [change.verdict for change in told.values()]
    noise = f"under {short_name(next(iter(told.values())).attack)} CT noise"
    what, less, where = {RATIO: ("steadier", "less steady", "in what flips it"),
                         CHANGED: (f"steadier {noise}", f"less steady {noise}", noise)}.get(
        measure, ("more accurate", "less accurate", "in accuracy"))
    counts = [(ways.count(way), words) for way, words in (("better", what), ("worse", less)) if way in ways]
    parts = [f"{count} {_is(count)} {words}{'' if at else f' than {first}'}"
             for at, (count, words) in enumerate(counts)]
    if not parts:
        return Answer(f"None of the other {len(told)} networks differs detectably from {first} {where}.")
    rest = len(told) - ways.count("better") - ways.count("worse")
    sentence = ", ".join([*parts, *([f"{rest} {_is(rest)} not detectably different"] if rest else [])])
    return Answer(f"Of the other {len(told)} networks {sentence}.", parts[0].removesuffix(f" than {first}"))


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _of_two(first: str, name: str, change: Change) -> Answer:
    way = change.verdict
    if way == "few":
        return Answer(f"Too few patients to tell {name} from {first}.")
    if way == "same":
        return Answer(f"{name} and {first} give the very same reads.")
    if change.measure == RATIO:
        if way == "alike":
            return Answer(f"No detectable difference in how large a change flips reads of {name} and {first}.")
        if math.isinf(change.difference.value or 0.0):
            return Answer(f"Most reads of {name} were never flipped, though those of {first} were.")
        times = f"{factor(change.difference.value)} times"
        return Answer(f"Reads of {name} take {times} the change to flip that those of {first} take.", times)
    after, before = percent(change.after), percent(change.before)
    alike = ", no detectable difference" if way == "alike" else ""
    if change.measure == CHANGED:
        noise = f"{short_name(change.attack).capitalize()} CT noise of {change.level:g} mAs"
        return Answer(f"{noise} changes {after} of the reads of {name} and {before} of those of {first}{alike}.", after)
    return Answer(f"{name} reads {after} of the images right, {first} {before}{alike}.", after)
