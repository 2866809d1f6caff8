"""A noise study's summary as rows of words for its page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from steadyread.figures.noise_examples import NoiseExample
from steadyread.metrics import published
from steadyread.metrics.intervals import Estimate
from steadyread.metrics.noise import row_of
from steadyread.metrics.reads import KNOWN, OPTIMISED, RANDOM
from steadyread.report.inline import data_uri
from steadyread.words.noise import (
    class_name,
    mas,
    noise_name,
    noise_said,
    short_name,
    starts_said,
    variant_name,
    worst_rows,
)
from steadyread.words.numbers import NONE, digits, percent

Summary = Mapping[str, Any]
_PICTURE_BYTES = 1_600_000
_SHOWN = 9
STEPS_SAID = {
    "paper_gap": "[B]'s optimised noise as printed, minus random noise: the gap that the paper shows",
    "variance": "of it, what 27 % more variance does to random noise",
    "printed_rms": "what the printed rms adds to [B]'s search",
    "pooled_search": "what [B]'s search does at the right rms, power pooled over a block of images",
    "paper_hu_gap": "the gap where the step of 1 is read in HU",
    "own_rings": "ours, rings, minus random noise",
    "own_plausible": "ours, plausible, minus random noise",
    "piled_up": "rings minus plausible: what only implausible noise does"}
_KINDS = {"manufacturer": "manufacturer", "diameter": "diameter", "readers": "number of readers",
          "rating": "rating", "copied slices": "copied slices", "slice spacing": "slice spacing",
          "predicted class": "predicted class", "clean read": "clean read"}


def cards(found: Summary) -> list[dict[str, str]]:
    """The key figures: a value, what it is, and its interval."""
    made = []
    random = row_of(found["rows"], RANDOM, found["stated_mas"], found["part"])
    if random:
        dose = f"{random['mas']:g} mAs"
        if random["one_draw"]:
            made.append(_card(f"of reads changed by one draw at {dose}", random["one_draw"]))
        made.append(_card(f"changed at least once in {random['trials'] or random['most_trials']} draws at {dose}",
                          random["san"]))
    if found["dose_fall"] is not None:
        told = found["dose_fall"]["dose_of_share"]
        made += [_dose_card(told[share], f"{100 * float(share):g} %", found["doses"]) for share in ("0.01", "0.05")]
    made += [_card(f"changed by the worst noise found ({starts_said(row)}), {short_name(row['attack'])}, at "
                   f"{row['mas']:g} mAs", row["san"]) for row in worst_rows(found)]
    clean = next((row for row in found["classification"] if row["part"] == found["part"]), None)
    if clean and clean["auc"].value is not None:
        made.append({"value": f"{clean['auc'].value:.3f}", "name": f"AUC, mean of {_folds(found)}",
                     "note": _interval(clean["auc"], lambda value: f"{value:.3f}")})
    return made


def physics_rows(found: Summary) -> list[dict[str, Any]]:
    """A dose a row: its sigma, the median dose that the scans then have, and the share of reads changed."""
    sigma = (found["spectrum"] or {}).get("sigma_hu", {})
    native = (found["spectrum"] or {}).get("sigma_native_hu") or {}
    realised = {row["mas"]: row["sigma_hu"] for row in found["plausibility"] if row["attack"] == RANDOM}
    effective = {row["mas"]: row for row in found["effective"]}
    expected = {row["mas"]: row["share"] for row in found["expected"]}
    return [{"mas": dose, "sigma": sigma.get(f"{dose:g}"), "native": native.get(f"{dose:g}"),
             "realised": realised[dose]["median"] if realised.get(dose) else None,
             "effective": effective[dose]["effective"] if dose in effective else None,
             "expected": expected.get(dose)} for dose in found["doses"]]


def random_rows(found: Summary) -> list[dict[str, Any]]:
    """[B] Table 2, random noise: a dose a row, train and the judged part, the paper's own beside."""
    within = {row["mas"]: row["san"] for row in found["within"]}
    return [{"mas": dose, **{part: row_of(found["rows"], RANDOM, dose, part) for part in ("train", "test")},
             "judged": row_of(found["rows"], RANDOM, dose, found["part"]), "within": within.get(dose, {}),
             "paper": {part: published.san_printed("random", part, dose) for part in ("train", "test")}}
            for dose in found["doses"]]


def optimised_rows(found: Summary, part: str) -> list[dict[str, Any]]:
    """SAN of every attack by dose in one part, the paper's optimised noise beside; empty where none was tried."""
    attacks = noise_columns(found, part)
    doses = sorted({row["mas"] for row in found["rows"] if row["part"] == part and row["attack"] in OPTIMISED})
    return [{"mas": dose, "found": [row_of(found["rows"], attack, dose, part) for attack in attacks],
             "paper": published.san_printed("optimised", part, dose)} for dose in doses]


def noise_columns(found: Summary, part: str) -> list[str]:
    """The attacks that were tried on a part, in the paper's order."""
    tried = {row["attack"] for row in found["rows"] if row["part"] == part}
    return [*(name for name in KNOWN if name in tried), *sorted(tried - set(KNOWN))]


def trials_said(found: Summary, part: str) -> str:
    """K of each attack, in words: those of equal K together."""
    held: dict[str, list[str]] = {}
    for attack in noise_columns(found, part):
        row = next(row for row in found["rows"] if row["attack"] == attack and row["part"] == part)
        count = str(row["trials"]) if row["trials"] else f"up to {row['most_trials']}, stopping at a flip"
        held.setdefault(count, []).append(noise_name(attack))
    return "; ".join(f"{', '.join(names)}: {count}" for count, names in held.items())


def step_rows(found: Summary) -> list[dict[str, Any]]:
    """The parts of the gap, a difference a row, a dose a column."""
    names = [name for name in STEPS_SAID if any(name in row["steps"] for row in found["decomposition"])]
    return [{"said": STEPS_SAID[name], "first": name == "paper_gap" or name.startswith("own_rings"),
             "found": [row["steps"].get(name) for row in found["decomposition"]]} for name in names]


def plausible_rows(found: Summary) -> list[dict[str, Any]]:
    """The measures of each attack's noise at the stated dose; ring errors in %."""
    return [row | {"name": noise_name(row["attack"]), "said": noise_said(row["attack"])}
            for row in found["plausibility"] if row["mas"] == found["stated_mas"]]


def paper_class_rows(found: Summary) -> list[dict[str, Any]]:
    """[B] Table 1: ours and the paper's, a part a row."""
    return [row | {"paper": published.TABLE_1.get(row["part"])} for row in found["classification"]]


def variant_table(found: Summary) -> list[dict[str, Any]]:
    """[B] Table 3: a variant a row, ours and the paper's, with drift over jitter by predicted class."""
    ratios: dict[str, dict[int, Any]] = {}
    for row in found["variant_drift"]:
        ratios.setdefault(row["variant"], {})[row["class"]] = row["ratio"]
    rows = []
    for row in found["table_3"]:
        printed = published.variant_printed(row["variant"])
        rows.append(row | {"name": variant_name(row["variant"]), "ratio": ratios.get(row["variant"], {}),
                           "paper_train": printed[0] if printed else None,
                           "paper_test": printed[1] if printed else None})
    return rows


def group_rows(found: Summary) -> list[dict[str, Any]]:
    """The subgroups with readable names, each knowing whether it begins a kind."""
    told = found["subgroups"]
    kind, rows = None, []
    for row in told["rows"] if told else ():
        name = class_name(found, int(row["group"])) if row["kind"] == "predicted class" and row["group"].isdigit() \
            else "all cases" if not row["kind"] else row["group"]
        rows.append(row | {"name": name, "said": _KINDS.get(row["kind"], row["kind"]),
                           "first": row["kind"] != kind})
        kind = row["kind"]
    return rows


def missing_said(found: Summary) -> str:
    """The groupings of which nothing is known, in words."""
    told = found["subgroups"]
    return ", ".join(_KINDS.get(kind, kind) for kind in told["missing"]) if told else ""


def critical_rows(found: Summary) -> list[dict[str, Any]]:
    """The critical doses in words."""
    least, most = (found["doses"][0], found["doses"][-1]) if found["doses"] else (None, None)

    def said(value: Any) -> str:
        return mas(value, most, least).removesuffix(" mAs")

    return [{"level": row["level"], "median": said(row["median"].value),
             "interval": _dose_interval(row["median"], said), "quartile_1": said(row["quantile_0.25"]),
             "quartile_3": said(row["quantile_0.75"]), "high": said(row["quantile_0.95"]),
             "below": row["below"], "above": row["above"]} for row in found["critical"]]


def fragile_rows(found: Summary) -> list[dict[str, Any]]:
    """The most fragile cases in words."""
    least, most = (found["doses"][0], found["doses"][-1]) if found["doses"] else (None, None)
    return [row | {"label_name": class_name(found, row["label"]) if row["label"] >= 0 else "unknown",
                   "read": " / ".join(class_name(found, one) for one in dict.fromkeys(row["predictions"])),
                   "critical_said": mas(row["critical"], most, least),
                   "flips_said": ", ".join(map(str, row["flips"]))}
            for row in found["fragile"]]


def example_rows(examples: Sequence[NoiseExample], window: tuple[float, float]) -> list[dict[str, Any]]:
    """Example images as data addresses, as many as the page has room for."""
    rows: list[dict[str, Any]] = []
    room = _PICTURE_BYTES
    for example in examples[:_SHOWN]:
        pictures = [data_uri(pixels) for pixels in example.pictures(window)]
        room -= sum(map(len, pictures))
        if room < 0:
            break
        rows.append({"case_id": example.case_id, "label": example.label, "attack": noise_name(example.attack),
                     "mas": example.mas, "fold": example.fold, "pictures": pictures,
                     "reach": f"{example.noise_window_hu:g}", "before": example.clean_probability,
                     "after": example.noisy_probability})
    return rows


def fold_values(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """The values of the folds, for a tooltip or a small print: `11.2, 9.8, 12.0`."""
    if found is None:
        return ""
    return ", ".join(NONE if value is None else f"{scale * value:.{decimals}f}" for value in found.folds)


def printed(found: published.Printed | None, decimals: int = 1) -> str:
    """A percentage of the paper's as it stands there."""
    return NONE if found is None else f"{found.mean:.{decimals}f} ± {found.sd:.{decimals}f}"


def interval(found: Estimate | None, scale: float = 100.0, decimals: int = 1) -> str:
    """The interval alone, `79.1 to 92.3`; empty where there is no value, a dash where none or of no width."""
    if found is None or found.value is None:
        return ""
    if found.low is None or found.high is None:
        return NONE
    low, high = (number(end, scale, decimals) for end in (found.low, found.high))
    return NONE if low == high else f"{low} to {high}"


def number(value: float | None, scale: float = 100.0, decimals: int = 1) -> str:
    """A number for a column whose head says the unit; never a minus sign before 0."""
    return NONE if value is None or math.isnan(value) else f"{scale * value:z.{decimals}f}".replace("-", "−")


def _card(name: str, found: Estimate) -> dict[str, str]:
    if found.value is None:
        return {"value": NONE, "name": name, "note": "cannot be told from these reads"}
    return {"value": percent(found.value), "name": name, "note": _interval(found, percent)}


def _dose_card(found: Estimate, share: str, doses: Sequence[float]) -> dict[str, str]:
    value = mas(found.value, doses[-1], doses[0])
    least, most = doses[0], doses[-1]
    note = f"95 %: {_dose_interval(found, lambda end: mas(end, most, least))}" if found.low is not None else \
        "too few patients for an interval"
    return {"value": value, "name": f"dose below which more than {share} of reads change", "note": note}


def _dose_interval(found: Estimate, said: Any) -> str:
    if found.low is None or found.high is None:
        return NONE
    return f"{said(found.low)} to {said(found.high)}"


def _interval(found: Estimate, show: Any) -> str:
    spread = f"; SD over folds {show(found.sd)}" if found.sd is not None else ""
    if found.low is None or found.high is None:
        return f"too few patients for an interval{spread}"
    return f"95 %: {show(found.low)} to {show(found.high)}{spread}"


def _folds(found: Summary) -> str:
    count = len(found["folds"])
    return f"{count} fold{'' if count == 1 else 's'}"


def significant(value: float | None, places: int = 2) -> str:
    """A number to so many digits for a column; a dash where there is none."""
    return NONE if value is None or math.isnan(value) else digits(value, places)

