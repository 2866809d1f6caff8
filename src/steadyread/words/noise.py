"""A noise study's numbers as words, for the report and the command line."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import row_of
from steadyread.metrics.reads import (
    INFLATED,
    OPTIMISED,
    PAPER,
    PAPER_HU,
    PLAUSIBLE,
    POOLED,
    RANDOM,
    RINGS,
)
from steadyread.words.answer import Answer, no_answer
from steadyread.words.numbers import NONE, counted, digits, percent

Summary = Mapping[str, Any]
_NAMES = {RANDOM: "Random", INFLATED: "Random at 1.128 σ", POOLED: "[B] at the right rms", PAPER: "[B] as printed",
          PAPER_HU: "[B] as printed (HU)", RINGS: "Rings (ours)", PLAUSIBLE: "Plausible (ours)"}
_SAID = {RANDOM: "CT noise as the scanner would add it, drawn at random",
         INFLATED: "random noise of 1.128 times its sigma: the 27 % more variance that [B]'s eq. 5 gives for free",
         POOLED: "[B]'s Algorithm 1, the ring power pooled over a block of images, at the right rms",
         PAPER: "[B]'s Algorithm 1 as printed, its step of 1 taken in units of the window",
         PAPER_HU: "[B]'s Algorithm 1 as printed, its step of 1 taken in HU",
         RINGS: "what a search found at typical ring power, each slice's power in each ring held to the "
                "spectrum's; may pile up on the nodule",
         PLAUSIBLE: "rings, and besides local sigma, kurtosis and correlation along z each within the central 94 % "
                    "of random draws, so that all three together stay within their joint 99 %"}
_LIKELY = {RINGS: "where each frequency keeps its typical power",
           PLAUSIBLE: "where the noise must look as likely as 99 % of random draws"}
_VARIANTS = {"original": "Original", "batch_norm": "Batch normalisation", "dropout_0.1": "Dropout 0.1",
             "dropout_0.2": "Dropout 0.2", "deeper": "Deeper", "shallower": "Shallower", "wider": "Wider",
             "narrower": "Narrower", "five_class": "Five classes", "strided": "Strided convolutions"}

_KINDS = {"readers": "number of readers"}
_ORDINARY = 5.0    # standard deviations: of 3.5 million draws one lies further out


def noise_name(attack: str) -> str:
    """A noise attack's short name."""
    return _NAMES.get(attack, attack.removesuffix("_ct_noise").replace("_", " "))


def noise_said(attack: str) -> str:
    """What a noise attack does, in a clause; empty for one that this version does not know."""
    return _SAID.get(attack, "")


def variant_name(variant: str) -> str:
    """A variant's name as a reader would write it."""
    return _VARIANTS.get(variant, variant.replace("_", " "))


def mas(value: float | None, most: float | None = None, least: float | None = None) -> str:
    """A critical dose in words: `46 mAs`; 0 and inf as below and above what was tried."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0:
        return f"below {least:g} mAs" if least is not None else "below all doses tried"
    if math.isinf(value):
        return f"above {most:g} mAs" if most is not None else "above all doses tried"
    return f"{digits(value) if value < 100 else f'{value:.0f}'} mAs"


def plus_minus(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """Mean and standard deviation over folds, as the paper prints them: `11.2 ± 4.1`."""
    if found is None or found.value is None:
        return NONE
    mean = f"{scale * found.value:.{decimals}f}"
    return mean if found.sd is None else f"{mean} ± {scale * found.sd:.{decimals}f}"


def between(found: Estimate | None) -> str:
    """A share with its interval: `3.1 % (1.2 to 5.9 %)`."""
    if found is None or found.value is None:
        return NONE
    if found.low is None or found.high is None:
        return percent(found.value)
    return f"{percent(found.value)} ({100 * found.low:.1f} to {100 * found.high:.1f} %)"


def worst_rows(found: Summary) -> list[Mapping[str, Any]]:
    """The optimised noise that is quoted beside random noise at the stated dose: ours, else the first of [B]'s."""
    rows = {attack: row for attack in found["attacks"] if attack in OPTIMISED
            if (row := row_of(found["rows"], attack, found["stated_mas"], found["part"]))}
    ours = [rows[attack] for attack in (RINGS, PLAUSIBLE) if attack in rows]
    return ours or [rows[attack] for attack in (POOLED, PAPER, PAPER_HU) if attack in rows][:1]


def starts_said(row: Mapping[str, Any]) -> str:
    """K of an optimised attack: `K = 5 starts`."""
    return f"K = {counted(row['trials'] or row['most_trials'], 'start')}"


def short_name(attack: str) -> str:
    """An attack's name within a sentence: `rings`."""
    name = noise_name(attack).removesuffix(" (ours)")
    return name if name.startswith("[B]") else name.lower()


def worst_said(found: Summary) -> str:
    """What optimised noise does at the stated dose, and how unlike random noise it may be, in a sentence; empty where
    none was tried."""
    rows = worst_rows(found)
    if not rows:
        return ""
    worst = max(rows, key=lambda row: row["san"].value or 0.0)
    others = [f"{percent(row['san'].value)} {_LIKELY[row['attack']]}" for row in rows
              if row is not worst and row["attack"] in _LIKELY]
    beside = f" and {others[0]}" if others else ""
    likely = f" {_LIKELY[worst['attack']]}" if worst["attack"] in _LIKELY else ""
    return (f"A search for the worst noise changes {percent(worst['san'].value)}{likely}{beside} "
            f"({starts_said(worst)}).{_far_out(found, rows)}")


def _far_out(found: Summary, rows: Sequence[Mapping[str, Any]]) -> str:
    """How improbable the noises found are at least, in a sentence after a space; empty where that is not known."""
    attacks = {row["attack"] for row in rows}
    told = [row["deviations"] for row in found["plausibility"]
            if row["attack"] in attacks and row["mas"] == found["stated_mas"]]
    if not told or None in told or min(each["median"] for each in told) < _ORDINARY:
        return ""
    least = min(each["median"] for each in told)
    return (f" Such noise does not occur by chance: along the gradient of the network at the clean image it typically "
            f"lies {least:.0f} standard deviations out{' or more' if len(told) > 1 else ''}, where 19 of 20 draws lie "
            "within 2.")


def noise_answer(found: Summary) -> Answer:
    """What one draw of noise at the stated dose does to the reads; what more draws and a search find stands in the
    context."""
    if found.get("invalid"):
        return no_answer(found["invalid"])
    random = row_of(found["rows"], RANDOM, found["stated_mas"], found["part"])
    if random is None:
        return Answer("Random noise has not been tried on these networks.")
    once, draws = percent(random["san"].value), random["trials"] or random["most_trials"]
    more = worst_said(found)
    dose = f"The stated dose is {found['stated_mas']:g} mAs."
    if random["one_draw"] is None:
        return Answer(f"At the stated dose, CT noise changes {once} of the reads at least once.", once,
                      f"{dose} {more}".rstrip())
    number = percent(random["one_draw"].value)
    return Answer(f"At the stated dose, one draw of CT noise changes {number} of the reads.", number,
                  f"{dose} At least one of {draws} draws changes {once}. {more}".rstrip())


def fall_said(found: Summary) -> str:
    """How far the dose could fall, in a sentence; empty where drift and jitter are not known."""
    told = found["dose_fall"]
    if told is None:
        return ""
    least, most = found["doses"][0], found["doses"][-1]
    shares = [told["dose_of_share"][share] for share in ("0.01", "0.05")]
    one, five = (found_.value for found_ in shares)
    ends = [_ends(found_, most, least) for found_ in shares]
    if math.isinf(one):
        first = f"Even noise of {most:g} mAs changes more than 1 % of the reads{ends[0]}"
    elif one == 0:
        return f"Noise of {least:g} mAs, the lowest dose tried, changes fewer than 1 % of the reads{ends[0]}."
    else:
        added = "" if (found["spectrum"] or {}).get("mode") == "simulate" else " of the added noise"
        first = f"The dose{added} could fall to {mas(one)}{ends[0]} before 1 % of the reads change"
    if math.isinf(five):
        return f"Even noise of {most:g} mAs changes more than 5 % of the reads{ends[1]}."
    join = ", to " if math.isfinite(one) else "; the dose could fall to "
    second = (f"{join}{mas(five)}{ends[1]} before 5 % do" if five else
              f"; 5 % are not reached at {least:g} mAs{ends[1]}")
    return f"{first}{second}."


def _ends(found: Estimate, most: float, least: float) -> str:
    """The 95 % interval of a dose behind it: ` (39 to 264)`; empty where there is none."""
    if found.low is None or found.high is None or found.low == found.high:
        return ""
    low, high = (mas(end, most, least).removesuffix(" mAs") for end in (found.low, found.high))
    if found.value and math.isfinite(found.value):
        return f" ({low} to {high})"
    return f" (the dose at which that many change: 95 %, {low} to {high} mAs)"


def drift_said(found: Summary) -> str:
    """Whether drift or jitter rules at the stated dose, and which way it goes, from the medians by class."""
    rows = [row for row in found["drift"] if row["mas"] == found["stated_mas"] and row["ratio"].value is not None]
    if not rows:
        return "Drift and jitter were not recorded."
    said = []
    for row in rows:
        name = class_name(found, row["class"])
        way = "" if row["towards"] is None or row["towards"].value is None or len(found["classes"]) != 2 else (
            f", towards {found['classes'][1] if row['towards'].value > 0 else found['classes'][0]}")
        said.append(f"{name}: {digits(row['size'].value)} logits{way}, {digits(row['ratio'].value)} times the "
                    f"jitter of {digits(row['jitter'].value)}")
    return f"Median drift at {found['stated_mas']:g} mAs among reads predicted {'; '.join(said)}."


def kind_name(kind: str) -> str:
    """What cases are grouped by, in words."""
    return _KINDS.get(kind, kind)


def group_rows(found: Summary) -> list[dict[str, Any]]:
    """The subgroups with the `name` of each and what they go by (`said`), `first` where that is another than above."""
    before, rows = None, []
    for row in found["subgroups"]["rows"] if found["subgroups"] else ():
        name = class_name(found, int(row["group"])) if row["kind"] == "predicted class" and row["group"].isdigit() \
            else "all cases" if not row["kind"] else row["group"]
        rows.append(row | {"name": name, "said": kind_name(row["kind"]), "first": row["kind"] != before})
        before = row["kind"]
    return rows


def class_name(found: Summary, number: int) -> str:
    """A class's name, its number where it has none."""
    return str(found["classes"][number]) if 0 <= number < len(found["classes"]) else str(number)


def architecture_said(found: Summary) -> str:
    """Pooled against strided: whether the drift is the architecture's; empty where one of them was not trained."""
    rows = found["variant_drift"]
    strided = next((row["variant"] for row in rows if "strid" in row["variant"]), None)
    held = {name: [row["ratio"].value for row in rows if row["variant"] == name and row["ratio"].value is not None]
            for name in (found["variant"], strided) if name}
    if strided is None or not all(held.values()) or len(held) < 2:
        return ""
    own, other = (max(values) for values in held.values())
    said = "The drift is a matter of the architecture" if own > 2 * other else (
        "Strided convolutions drift more than pooling here" if other > own else
        "Strided convolutions drift little less than pooling here")
    return (f"{said}: |drift| is up to {digits(own)} times the jitter in the network that pools, and "
            f"{digits(other)} times in the one with strided convolutions ({found['stated_mas']:g} mAs, median, the "
            "worse class).")


def belief_said(found: Summary) -> str:
    """Whether P(flip) is to be believed, against the count of many draws."""
    told = found["counted"]
    if told is None:
        return "P(flip) was not checked against counting many draws here: take it as an estimate."
    if not told["pairs"]:
        return ("No pair of image and dose was hard (counted P(flip) between 2 and 98 %), so P(flip) could not be "
                "judged.")
    ours, few, covered = (told[name].value for name in ("rmse", "rmse_few", "covered"))
    draws = " or ".join(map(str, told["draws"]))
    better = "smaller than" if few is not None and ours is not None and ours < few else "not smaller than"
    quartiles = told.get("dose_quartiles")
    doses = f" (their doses: median {mas(quartiles[1])}, quartiles {mas(quartiles[0])} and {mas(quartiles[2])})" \
        if quartiles else ""
    against = f", {better} the {digits(few)} of counting the same {draws} draws" if few is not None else ""
    return (f"On {told['pairs']} hard pairs of image and dose{doses} its error (root mean square) is "
            f"{digits(ours or 0.0)}"
            f"{against}; {percent(covered, 0)} of its 95 % intervals hold the count.")
