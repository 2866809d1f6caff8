"""Results as a few lines on stdout, as wide as the terminal, or as one JSON object."""

import json as json_text
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from steadyread.ending import printed
from steadyread.findings import remedied, titled
from steadyread.metrics.seeing_reads import method_name
from steadyread.metrics.summary import as_json
from steadyread.report import marks
from steadyread.report.table import Table
from steadyread.result import SIGNS, checks, listed_classes, networks
from steadyread.result import run_lines as run_lines
from steadyread.terminal import Command, Listing, Piece, Place, Rows, Words, lines, screen_of
from steadyread.words.numbers import NONE, counted, percent, score_name

Lines = Callable[[Mapping[str, Any]], Iterator[Piece]]


def say(found: Mapping[str, Any], as_one_object: bool, pieces: Lines) -> None:
    """Print a result for a person, or for a program. Text of the data is shown with its control characters escaped.

    Raises:
        Partial, PipeClosed: stdout does not take it.
    """
    printed(json_text.dumps(as_json(found)) if as_one_object else
            "\n".join(lines(pieces(found), screen_of(sys.stdout))))


def network_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """A network's file: what it is, what it takes and returns, and how to go on."""
    said = [told for told in (found["channels"] and counted(found["channels"], "channel"),
                              found["size"] and " x ".join(map(str, found["size"]))) if told]
    unsaid = " and ".join(key for key in ("channels", "size") if not found[key])
    yield f"{found['model']}: {found['format']}, sha256 {found['sha256'][:16]}"
    yield (f"Takes images{' of ' * bool(said)}{', '.join(said)}"
           f"{f'; its files do not state their {unsaid}' if unsaid else ''}.")
    values = "" if found["values"] is None else f"{counted(found['values'], 'value')} per image"
    head = found["output"] or (f"{found['ends']}, by its last step" if found["ends"] else "")
    yield (f"Returns {head}{f' ({values})' if values else ''}." if head else
           f"Returns {values or 'values'} of a head that its files do not state.")
    if found["classes"]:
        yield f"Classes: {listed_classes(found)}."
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
    yield from ("", Command("Next", found["command"]), "",
                "To state it once, in a file beside it (then --model net.toml):", "", Listing(found["file"]))


def _plain(value: Any) -> str:
    """Numbers, a word, or a table of numbers, with commas between."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else (
        f"{value:g}" if isinstance(value, float) else str(value))


def train_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """A training: the chosen epoch and where the weights are."""
    best = found["epochs"][found["chosen_epoch"] - 1]
    area = f", AUC {best['validation_auc']:.3f}" if best["validation_auc"] is not None else ""
    made = " (SYNTHETIC images)" if found["synthetic"] else ""
    yield (f"Epoch {found['chosen_epoch']} of {len(found['epochs'])} is best on the validation images{made}: "
           f"accuracy {percent(best['validation_accuracy'])}{area}. Trained in {found['seconds']:.0f} s.")
    yield Place("Weights", found["weights"])
    yield Command("Next", f"steadyread assess --weights {shlex.quote(found['weights'])}")


def triage_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """[A] Table 2, and where the list of withheld reads is; of several data sets one after another."""
    for name, each in found.get("sets", {}).items():
        yield from (Words(name.replace("_", " "), "bold"), *triage_lines(each), "")
    if "sets" in found:
        return
    chosen = ("on the test images themselves, as in [A], which flatters" if found["chosen_on"] == "test"
              else f"on {found['validation_images']} validation images")
    yield f"Withholding {percent(found['share'], 0)} of {found['images']} reads; thresholds chosen {chosen}."
    rows: list[tuple[str, ...]] = [("score", "withheld", "accuracy of the kept", "AURC")]
    for row in found["rows"]:
        area = row["area"]["value"]
        rows.append((score_name(row["score"]), percent(row["withheld"]["value"]), _share(row["accuracy"]),
                     NONE if area is None else f"{area:.4f}"))
    yield from ("", Rows(rows), "(AURC: area under risk-coverage, lower is better)", "",
                found["comparison"], "", Place("Reads to withhold", found["list"]))


def compared_lines(found: Mapping[str, Any], tables: Sequence[Table]) -> Iterator[Piece]:
    """A comparison: its sentence, the networks beside each other, how each differs from the first."""
    patients = "(patients unknown)" if found["patients"] is None else f"of {counted(found['patients'], 'patient')}"
    yield f"{found['data']}: {counted(found['images'], 'image')} {patients}."
    yield from (Words(note, "doubt") for note in found["notes"])
    yield from ("", Words(found["answer"], "bold"),
                *networks([{**row, "stage": ""} for row in found["numbers"]]), "",
                *chain(*((*_table(each), "") for each in tables)),
                found["multiplicity"], "", Place("Report", found["report"]))


def _table(table: Table) -> Iterator[Piece]:
    """A table of the report, what stands above it first."""
    if table.above:
        yield Words(marks.plain(table.above), "bold")
    left = [column.form.tone != "num" for column in table.columns for _ in column.titles]
    yield Rows([[marks.plain(text).replace("\n", ", ") for text in row] for row in (table.titles, *table.texts())],
                left=[at for at, words in enumerate(left) if words])


def audit_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """Every finding, worst first."""
    yield f"{found['data']}: {found['images']} images"
    yield from map(_found, found["findings"])
    yield Place("Findings", found["file"])


def check_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """What the rules say before any attack, worst first, and which had nothing to look at."""
    several = f" ({counted(len(found['networks']), 'finding')})" if found["networks"] else ""
    read = f"; {found['right']} of {found['labelled']} read right{several}" if found["labelled"] else ""
    yield f"{found['model']} on {found['data']}: {counted(found['images'], 'image')} looked at{read}."
    yield (f"Findings: {', '.join(found['networks'])}." if found["networks"] else
           f"Classes: {listed_classes(found)}.")
    yield ""
    yield from map(_found, found["findings"])
    for each in found["left"]:
        yield Words(f"{NONE:<7}  {titled(each)}: not looked at ({each['message']})", sign=" ")
    errors, warnings = (sum(each["severity"] == word for each in found["findings"]) for word in ("error", "warning"))
    yield ""
    yield f"{counted(errors, 'error')}, {counted(warnings, 'warning')}."


def _found(finding: Mapping[str, Any]) -> Piece:
    """A finding with its sign, how grave it is, and whose it is."""
    of = f" ({', '.join(finding['networks'])})" if finding.get("networks") else ""
    sign, tone = SIGNS.get(finding["severity"], (" ", ""))
    return Words(f"{finding['severity']:<7}  {titled(finding)}{of}: {remedied(finding)}", tone, sign)


def noise_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """A measured spectrum: its figures, what is doubtful of it, and where it is."""
    yield f"{found['provenance'][0].upper()}{found['provenance'][1:]}."
    low, high = found["sigma_range_hu"]
    yield from ("", Rows([
        ("sigma", f"{found['sigma_hu']:.2f} HU", f"({low:.2f} to {high:.2f} in single regions)"),
        ("peak", f"{found['peak_per_mm']:.3f} /mm", f"(rings of {found['step_per_mm']:.3f} /mm)"),
        ("mean", f"{found['mean_per_mm']:.3f} /mm", f"(radial average; {found['mean_2d_per_mm']:.3f} in 2-D)"),
        ("mean value", f"{found['mean_hu'][0]:z.0f} to {found['mean_hu'][1]:z.0f} HU", "(of the regions)"),
        *_dose(found["reference_mas"], found["dose_law"])], head=False))
    yield from checks(found["findings"])
    yield from ("", Place("Spectrum", found["table"]), Place("Picture", found["pictures"][0]))


def _dose(mas: float | None, law: Mapping[str, float | None] | None) -> list[tuple[str, str, str]]:
    """The dose of sigma, and by which power of it sigma goes where the slices have several."""
    if mas is None or law is None:
        return []
    within = "" if law["low"] is None else f", {law['low']:.2f} to {law['high']:.2f}"
    return [("dose", f"{mas:.4g} mAs", f"(of slices at {law['low_mas']:.4g} to {law['high_mas']:.4g} mAs; sigma "
             f"~ mAs^{law['exponent']:.2f}{within})")]


def noise_shown_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
    """What noise of a spectrum has at each dose."""
    yield f"{found['name']}: {found['provenance']}."
    yield (f"{found['draws']} draws of {found['size_px']} x {found['size_px']} pixels of {found['spacing_mm']:g} "
           f"mm; the spectrum peaks at {found['peak_per_mm']:.2f} /mm.")
    rows: list[tuple[str, ...]] = [("dose", "sigma", "of the draws", "largest difference of a ring")]
    for one in found["doses"]:
        error = one["largest_ring_error"]
        rows.append((f"{one['mas']:g} mAs", f"{one['sigma_hu']:.2f} HU", f"{one['sigma_of_draws_hu']:.2f} HU",
                     NONE if error is None else percent(error)))
    yield from ("", Rows(rows))
    yield from checks(found["findings"])
    yield from ("", Place("Picture", found["pictures"][0]))


def explain_lines(found: Mapping[str, Any]) -> Iterator[Piece]:
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
    yield from ("", Rows(rows), "", Place("Pictures", found["folder"]))


def _known(value: float | None, unit: str, places: int) -> str:
    return NONE if value is None or value != value else f"{value:.{places}f}{unit}"


def _share(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return percent(found["value"])
    return f"{percent(found['value'])} ({100 * found['low']:.1f} to {percent(found['high'])})"
