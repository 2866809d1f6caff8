"""Results as a few aligned lines on stdout, or as one JSON object."""

import json as json_text
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from steadyread.ending import printed
from steadyread.findings import remedied, titled
from steadyread.metrics.reads import RANDOM
from steadyread.metrics.seeing_reads import method_name
from steadyread.metrics.summary import as_json
from steadyread.metrics.tidy import QUOTED_MAS
from steadyread.names import shown
from steadyread.units import unit_word
from steadyread.words.noise import noise_run_lines
from steadyread.words.numbers import NONE, attack_name, counted, digits, percent, score_name

Lines = Callable[[Mapping[str, Any]], Iterator[str]]
_SHOWN = 6   # findings that a run's summary names


def say(found: Mapping[str, Any], as_one_object: bool, lines: Lines) -> None:
    """Print a result for a person, or for a program. Text of the data is shown with its control characters escaped.

    Raises:
        Partial, PipeClosed: stdout does not take it.
    """
    printed(json_text.dumps(as_json(found)) if as_one_object else "\n".join(map(shown, lines(found))))


def run_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A run: what was assessed and found, its networks side by side where it has several, what failed, the gates, and
    where the report is."""
    under_noise = "dose_fall" in found      # alone
    yield from (noise_run_lines if under_noise else _sets_lines if "sets" in found else _plain_lines)(found)
    yield from _networks(found["numbers"])
    for reason in found.get("failures", {}).values():
        yield f"Failed: {reason}"
    yield from _gates(found)
    if found.get("first_look"):
        yield from ("", f"{found['first_look']}.")
    yield from ("", f"Report: {found['report']}")


def _plain_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A run on one data set: the verdict, accuracy under attack, triage, findings."""
    data, clean = found["data"], found["discrimination"]
    made = " SYNTHETIC images, made from formulas and of no clinical meaning" if found["synthetic"] else ""
    of = f"of {counted(found['patients'], 'patient')}" if data.get("patients_known") else "(no patients known)"
    yield f"{data['name']}: {_images(found)} {of}.{made}"
    yield f"Classes: {', '.join(f'{place} is {name}' for place, name in enumerate(found['classes']))}."
    if "black_box" in found:
        yield f"No gradients: {found['black_box']}, and its smallest flips are upper bounds."
    auc = clean.get("auc") or {}
    area = f", AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})" if auc.get("low") is not None else ""
    yield f"Clean accuracy {_share(clean['accuracy'])}{area}."
    yield found["verdict"]
    yield from _attacked(found)
    yield from _on_other_axes(found)
    comparison = found["triage"].get("comparison")
    if comparison:
        yield from ("", comparison)
    if found.get("hardening"):
        told = _sentences(found["hardening"]["verdict"])
        yield from ("", told if told.startswith("Hardening") else f"Hardening: {told}")
    if found.get("noise"):
        yield from ("", f"Under CT noise: {_sentences(found['noise']['verdict'])}")
    yield from _findings(found["findings"])


def network_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A network's file: what it is, what it takes and returns, and how to go on."""
    size = "any size" if found["size"] is None else " x ".join(map(str, found["size"]))
    channels = "any number of channels" if found["channels"] is None else counted(found["channels"], "channel")
    yield f"{found['model']}: {found['format']}, sha256 {found['sha256'][:16]}"
    yield f"Takes images of {channels}, {size}."
    values = "" if found["values"] is None else f"{counted(found['values'], 'value')} per image"
    head = found["output"] or (f"{found['ends']}, by its last step" if found["ends"] else "")
    yield (f"Returns {head}{f' ({values})' if values else ''}." if head else
           f"Returns {values or 'values'} of a head that its files do not state.")
    if found["classes"]:
        yield f"Classes: {', '.join(f'{place} is {name}' for place, name in enumerate(found['classes']))}."
    if found["findings"]:
        yield f"Findings, each with a sigmoid of its own: {', '.join(found['findings'])}."
    for key in ("bounds", "normalise", "claimed"):
        if found[key]:
            yield f"{key.capitalize()}: {_plain(found[key])}."
    if found["parameters"]:
        yield f"{found['parameters']:,} parameters."
    if found["gradients"] is not None:
        yield "Gradients reach the image." if found["gradients"] else "No gradients: it is searched as a black box."
    if found["problem"]:
        yield f"On an image of noise it failed: {found['problem']}"
    yield from (f"{note[0].upper()}{note[1:]}." for note in found["notes"])
    yield from ("", found["command"], "", "To state it once, in a file beside it (then --model net.toml):", "",
                *found["file"].splitlines())


def _plain(value: Any) -> str:
    """Numbers, a word, or a table of numbers, with commas between."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else (
        f"{value:g}" if isinstance(value, float) else str(value))


def _images(found: Mapping[str, Any]) -> str:
    return counted(found["images"], "image" if found["part"] == "all" else f"{found['part']} image")


def _sentences(told: str | list[str]) -> str:
    return told if isinstance(told, str) else " ".join(told)


def _sets_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A study of several data sets: how many images each has, and what was found over all."""
    yield from (f"{found['titles'].get(name, name)}: {_images(each)}."
                for name, each in found["sets"].items())
    for answer in found["answers"]:
        yield from ("", answer["answer"])


def _networks(numbers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The networks of a run beside each other, a line each; nothing where there is one."""
    networks: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in numbers:
        networks.setdefault(tuple(row[name] for name in ("set", "network", "stage")), []).append(row)
    if len(networks) > 1:
        told = [(*where, *_key_figures(rows)) for where, rows in networks.items()]
        head = ("data", "network", "stage", "AUC", "accuracy", "half flip by", "one draw")
        shown = [place for place in range(len(head)) if any(row[place] != NONE for row in told)]
        yield from ("", *_aligned([tuple(row[place] for place in shown) for row in (head, *told)]))


def _key_figures(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """AUC, accuracy, the median smallest flip, and the reads that one draw of CT noise changes."""
    first = {row["measure"]: row for row in reversed(rows) if row["level"] is None and row["value"] is not None}
    yield f"{first['AUC']['value']:.3f}" if "AUC" in first else NONE
    yield percent(first["accuracy"]["value"]) if "accuracy" in first else NONE
    flip = first.get("median_smallest_flip", {"value": None, "unit": ""})
    yield f"{digits(flip['value'])} {unit_word(flip['unit'], flip['value']) or 'units'}" if isinstance(
        flip["value"], float) and math.isfinite(flip["value"]) else "none found" if flip["value"] is not None else NONE
    draws = [row for row in rows if (row["measure"], row["attack"]) == ("changed_by_one_draw", RANDOM)
             and row["value"] is not None]
    drawn = min(draws, key=lambda row: abs(math.log(row["level"] / QUOTED_MAS)), default=None)
    yield NONE if drawn is None else f"{percent(drawn['value'])} at {drawn['level']:g} mAs"


def _gates(found: Mapping[str, Any]) -> Iterator[str]:
    for gate in found.get("gates", ()):
        yield f"Gate {'met' if gate['passed'] else 'NOT MET'}: {gate['message']}"


def train_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A training: the chosen epoch and where the weights are."""
    best = found["epochs"][found["chosen_epoch"] - 1]
    area = f", AUC {best['validation_auc']:.3f}" if best["validation_auc"] is not None else ""
    made = " (SYNTHETIC images)" if found["synthetic"] else ""
    yield (f"Epoch {found['chosen_epoch']} of {len(found['epochs'])} is best on the validation images{made}: "
           f"accuracy {percent(best['validation_accuracy'])}{area}. Trained in {found['seconds']:.0f} s.")
    yield f"Weights: {found['weights']}"


def triage_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """[A] Table 2, and where the list of withheld reads is."""
    chosen = ("on the test images themselves, as in [A], which flatters" if found["chosen_on"] == "test"
              else f"on {found['validation_images']} validation images")
    yield f"Withholding {percent(found['share'], 0)} of {found['images']} reads; thresholds chosen {chosen}."
    rows: list[tuple[str, ...]] = [("score", "withheld", "accuracy of the kept", "area under risk-coverage")]
    for row in found["rows"]:
        area = row["area"]["value"]
        rows.append((score_name(row["score"]), percent(row["withheld"]["value"]), _share(row["accuracy"]),
                     NONE if area is None else f"{area:.4f}"))
    yield from ("", *_aligned(rows), "", found["comparison"], "", f"Reads to withhold: {found['list']}")


def audit_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Every finding, worst first."""
    yield f"{found['data']}: {found['images']} images"
    width = max(len(one["severity"]) for one in found["findings"])
    for one in found["findings"]:
        yield f"  {one['severity']:<{width}}  {one['check']}: {one['message']}"
    yield f"Findings: {found['file']}"


def check_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What the rules say before any attack, worst first, and which had nothing to look at."""
    yield f"{found['model']} on {found['data']}: {counted(found['images'], 'image')} looked at."
    yield (f"Findings: {', '.join(found['networks'])}." if found["networks"] else
           f"Classes: {', '.join(f'{place} is {name}' for place, name in enumerate(found['classes']))}.")
    yield ""
    for each in found["findings"]:
        of = f" ({', '.join(each['networks'])})" if each.get("networks") else ""
        yield f"{each['severity']:<7}  {titled(each)}{of}: {remedied(each)}"
    for each in found["left"]:
        yield f"{NONE:<7}  {titled(each)}: not looked at ({each['message']})"
    errors, warnings = (sum(each["severity"] == word for each in found["findings"]) for word in ("error", "warning"))
    yield ""
    yield f"{counted(errors, 'error')}, {counted(warnings, 'warning')}."


def noise_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A measured spectrum: its figures, what is doubtful of it, and where it is."""
    yield f"{found['provenance'][0].upper()}{found['provenance'][1:]}."
    low, high = found["sigma_range_hu"]
    yield from ("", *_aligned([
        ("sigma", f"{found['sigma_hu']:.2f} HU", f"({low:.2f} to {high:.2f} in single regions)"),
        ("peak", f"{found['peak_per_mm']:.3f} /mm", f"(rings of {found['step_per_mm']:.3f} /mm)"),
        ("mean", f"{found['mean_per_mm']:.3f} /mm", f"(radial average; {found['mean_2d_per_mm']:.3f} in 2-D)"),
        ("mean value", f"{found['mean_hu'][0]:z.0f} to {found['mean_hu'][1]:z.0f} HU", "(of the regions)"),
        *_dose(found["reference_mas"], found["dose_law"])]))
    yield from _findings(found["findings"])
    yield from ("", f"Spectrum: {found['table']}", f"Picture: {found['pictures'][0]}")


def _dose(mas: float | None, law: Mapping[str, float | None] | None) -> list[tuple[str, str, str]]:
    """The dose of sigma, and by which power of it sigma goes where the slices have several."""
    if mas is None or law is None:
        return []
    within = "" if law["low"] is None else f", {law['low']:.2f} to {law['high']:.2f}"
    return [("dose", f"{mas:.4g} mAs", f"(of slices at {law['low_mas']:.4g} to {law['high_mas']:.4g} mAs; sigma "
             f"~ mAs^{law['exponent']:.2f}{within})")]


def noise_shown_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What noise of a spectrum has at each dose."""
    yield f"{found['name']}: {found['provenance']}."
    yield (f"{found['draws']} draws of {found['size_px']} x {found['size_px']} pixels of {found['spacing_mm']:g} "
           f"mm; the spectrum peaks at {found['peak_per_mm']:.2f} /mm.")
    rows: list[tuple[str, ...]] = [("dose", "sigma", "of the draws", "largest difference of a ring")]
    for one in found["doses"]:
        error = one["largest_ring_error"]
        rows.append((f"{one['mas']:g} mAs", f"{one['sigma_hu']:.2f} HU", f"{one['sigma_of_draws_hu']:.2f} HU",
                     NONE if error is None else percent(error)))
    yield from ("", *_aligned(rows))
    yield from _findings(found["findings"])
    yield from ("", f"Picture: {found['pictures'][0]}")


def explain_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Each explained case: its reads, and how far what the network goes by moved under the noise."""
    yield (f"Fold {found['fold']}, {found['attack']} noise at {found['mas']:g} mAs; Grad-CAM at {found['layer']}, "
           f"features of {found['feature_layer']}. Reads with the probability of {found['classes'][1]} (1).")
    rows: list[tuple[str, ...]] = [
        ("case", "label", "read", "with noise", "map", "overlap", "moved", "in the mask")]
    for one in found["cases"]:
        for method, told in one["maps"].items():
            inside = [NONE if value is None or value != value else percent(value)
                      for value in (told["inside_clean"], told["inside_noisy"])]
            reads = [f"{one[f'{which}prediction']} ({one[f'{side}_probability']:.2f})"
                     for which, side in (("", "clean"), ("noisy_", "noisy"))]
            rows.append((one["case_id"], str(one["label"]), *reads, method_name(method),
                         _known(told["overlap"], "", 2), _known(told["distance_mm"], " mm", 1),
                         " to ".join(inside)))
    yield from ("", *_aligned(rows), "", f"Pictures: {found['folder']}")


def _known(value: float | None, unit: str, places: int) -> str:
    return NONE if value is None or value != value else f"{value:.{places}f}{unit}"


def _attacked(found: Mapping[str, Any]) -> Iterator[str]:
    """[A] Table 1: accuracy by attack and size, against the label where that was tried."""
    against = "label" if found["robustness"]["label"]["attacks"] else "prediction"
    rows = found["robustness"][against]["attacks"]
    if not rows:
        return
    sizes = {row["size"]["native"]: row["size"] for row in rows}
    unit = str(rows[0]["size"]["unit"] or "native")
    table: list[tuple[str, ...]] = [
        ("accuracy under", *(f"{digits(size['of_range'])} range" for size in sizes.values())),
        ("", *(f"{digits(native)} {unit_word(unit, native)}" for native in sizes))]
    for name in dict.fromkeys(row["attack"] for row in rows):
        values = {row["size"]["native"]: percent(row["accuracy"]["value"]) for row in rows if row["attack"] == name}
        table.append((attack_name(name), *(values.get(size, NONE) for size in sizes)))
    yield from ("", *_aligned(table))
    if against == "prediction":
        yield "(against the prediction: reads that are wrong to begin with can be attacked into right ones)"


def _on_other_axes(found: Mapping[str, Any]) -> Iterator[str]:
    """The accuracy under attacks whose levels have a unit of their own, against the label where that was tried."""
    rows = found.get("other_axes", ())
    side = min((row["against"] for row in rows), default="")      # label before prediction
    for name in dict.fromkeys(row["attack"] for row in rows):
        levels = (f"{percent(row['accuracy']['value'])} at {digits(row['level'])} {row['unit']}"
                  for row in rows if (row["attack"], row["against"]) == (name, side))
        yield f"Accuracy under {attack_name(name)}, against the {side}: {', '.join(levels)}."


def _findings(findings: list[Mapping[str, Any]]) -> Iterator[str]:
    told = [one for one in findings if one["severity"] in ("error", "warning")]
    if not told:
        return
    yield ""
    for one in told[:_SHOWN]:
        yield f"{one['severity'].capitalize()}: {titled(one)}: {remedied(one)}"
    if len(told) > _SHOWN:
        yield f"{len(told) - _SHOWN} more findings stand in the report."


def _share(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return percent(found["value"])
    return f"{percent(found['value'])} ({100 * found['low']:.1f} to {percent(found['high'])})"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                    zip(row[1:], widths[1:], strict=True))]).rstrip()
