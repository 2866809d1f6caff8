"""The smallest changes that flip the reads."""

import math
from collections.abc import Iterator

from steadyread.report.forms import sized
from steadyread.report.items import Figure, Item, Text, grid
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.units import number_of
from steadyread.words.numbers import percent, show_size_json


@section("The smallest flips", of=Plain, order=425)
def flips(plain: Plain) -> Iterator[Item]:
    """The median with its interval, what never flips, and whether the search can be trusted."""
    yield grid(Text(_words(plain)), Figure("smallest_flips"))


def _words(plain: Plain) -> str:
    found = plain.flips
    if not found["searched"] or not found["images"]:
        return ("No read is correct, so there is none to flip." if found["searched"]
                else "The smallest flip has not been searched for on these images.")
    which = "correct reads" if found is plain.summary["robustness"]["label"]["smallest_flip"] else "reads"
    words = [f"Median of {found['images']} {which}: {show_size_json(found['median'])}"]
    if math.isfinite(number_of(found["median"])) and found["median"]["of_range"]:
        words[0] += ("; too few patients for an interval" if found["low"]["native"] is None else
                     f" (95 % interval over {plain.patients}: {sized(found['low'])} to {sized(found['high'])})")
    words[0] += "."
    upto = f" (searched up to {sized(found['searched_up_to'])})" if found["searched_up_to"] else ""
    words.append(f"Never flipped: {percent(found['never'].value)}{upto}.")
    if found["rounded"]:
        words.append(f"Rounded to whole stored values, {percent(found['rounded'].value)} of these {found['rounded'].n} "
                     "flips still stand.")
    better = found["improved_by_fixed_sizes"]
    if better is not None:
        words.append(f"On {percent(better, 2)} of the images an attack of a stated size did better than the search; "
                     "its result is merged into every number here." if better > 0 else
                     "No attack of a stated size did better than the search on any image.")
    return " ".join(words)
