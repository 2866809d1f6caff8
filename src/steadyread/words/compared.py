"""What networks on the same cases have to say of each other, in plain words."""

import math
from collections.abc import Sequence

from steadyread.metrics.comparison import RATIO, Change
from steadyread.metrics.hardening import ACCURACY, CHANGED
from steadyread.words.noise import short_name
from steadyread.words.numbers import factor, percent

VERDICTS = {"better": "better", "worse": "worse", "alike": "none detected", "same": "same reads",
            "few": "too few patients"}


def answer(first: str, names: Sequence[str], keys: Sequence[Sequence[Change]]) -> str:
    """The sentence of a comparison: what the first network is, and how the other, or the one that differs most, stands
    to it, by the smallest flips, else by the worst CT noise that was tried, else by accuracy."""
    measure = next((measure for measure in (RATIO, CHANGED, ACCURACY)
                    if all(any(each.measure == measure for each in found) for found in keys)), "")
    several = [{each.attack: each for each in found if each.measure == measure} for found in keys]
    attack = [name for name in (several[0] if several else ()) if all(name in each for each in several)][-1:]
    told = {name: found[attack[0]] for name, found in zip(names, several, strict=True) if attack}
    if not told:
        return f"{first} and the others share no number to be compared by."
    if len(told) == 1:
        ((name, change),) = told.items()
        return _of_two(first, name, change)
    ways: list[str] = [change.verdict for change in told.values()]
    noise = f"under {short_name(next(iter(told.values())).attack)} CT noise"
    what, less, where = {RATIO: ("steadier", "less steady", "in what flips it"),
                         CHANGED: (f"steadier {noise}", f"less steady {noise}", noise)}.get(
        measure, ("more accurate", "less accurate", "in accuracy"))
    parts = [f"{ways.count(way)} of {len(told)} {_is(ways.count(way))} {words} than {first}"
             for way, words in (("better", what), ("worse", less)) if ways.count(way)]
    if not parts:
        return f"None of the other {len(told)} networks differs detectably from {first} {where}."
    rest = len(told) - ways.count("better") - ways.count("worse")
    return "; ".join([*parts, *([f"{rest} {_is(rest)} not detectably different"] if rest else [])]) + "."


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _of_two(first: str, name: str, change: Change) -> str:
    way = change.verdict
    if way == "few":
        return f"Too few patients to tell {name} from {first}."
    if way == "same":
        return f"{name} and {first} give the very same reads."
    if change.measure == RATIO:
        if way == "alike":
            return f"No detectable difference in how large a change flips reads of {name} and {first}."
        if math.isinf(change.difference.value or 0.0):
            return f"Most reads of {name} were not flipped any more, where those of {first} were."
        times = factor(change.difference.value)
        return f"Reads of {name} take {times} times the change to flip that those of {first} take."
    after, before = percent(change.after), percent(change.before)
    if change.measure == CHANGED:
        return (f"{short_name(change.attack).capitalize()} CT noise of {change.level:g} mAs changes {after} of the "
                f"reads of {name} and {before} of those of {first}"
                f"{', no detectable difference' if way == 'alike' else ''}.")
    return (f"{name} reads {after} of the images right, {first} {before}"
            f"{', no detectable difference' if way == 'alike' else ''}.")
