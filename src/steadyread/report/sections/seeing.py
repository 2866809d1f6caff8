"""What the networks look at with noise and without: attention, its sanity, and the features of the first layer."""

from collections.abc import Iterator, Sequence
from typing import Any

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.seeing_reads import TESTED, method_name
from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Note, Notes, Text, grid, notes
from steadyread.report.marks import bold, code, italic, mark
from steadyread.report.noise import Seeing
from steadyread.report.section import section
from steadyread.report.table import As, Band, Cell, Column, Form, Row, table
from steadyread.words.noise import noise_name, short_name
from steadyread.words.numbers import counted, p_shown, percent
from steadyread.words.seeing import against, area_said, class_said, moved_said, over_middle, ranking_said

_GROUPS = {"flipped": "flipped", "steady": "did not flip"}
_BLANK = Cell("")
_NONE = (None, None, None, _BLANK)


@section("What the network sees, with noise and without", of=Seeing, order=650)
def seeing(seen: Seeing) -> Iterator[Item]:
    """[B] Figs 9 and 10, measured."""
    s = seen.summary
    noise = noise_name(s["attack"]).lower().replace(" (ours)", "")
    networks = counted(len(s["folds"]), "network")
    yield Text(f"Measured on {s['images']} {seen.part} images of {s['patients']} patients by {networks}, under {noise} "
               f"noise of {s['mas']:g} mAs and under plain random noise of that dose.")
    yield Heading("Can the maps be trusted?")
    yield notes(s["findings"]) if s["findings"] else Notes((Note(
        "warning", "", "Maps of randomised weights were not made: nothing shows that these maps reflect what was "
        "learned."),))
    yield grid(Figure("seeing_sanity"), tuple(Text(words, "note") for words in _maps(seen)))
    yield Heading("Attention: another area, beyond the nodule?")
    for method in s["methods"]:
        words, numbers = area_said(s, method)
        yield Text(f"{bold(words)} {numbers}")
    yield from _areas(seen)
    yield Heading("Does attention move more where the read changes?")
    yield from (Text(moved_said(s, method)) for method in s["methods"])
    yield _shifts(seen)
    yield grid(Figure("seeing_shift"), Figure("seeing_attention"), tone="figures wide")
    yield Heading("Features of the first layer")
    yield Text(ranking_said(s))
    if s["features"]:
        yield _features(seen)
    yield grid(Figure("seeing_ranking"))
    yield grid(Figure("seeing_features"), Figure("seeing_slices"), tone="figures wide")
    if seen.synthetic:
        yield Text(f"{bold('SYNTHETIC')} The images above are made by a computer, not taken of patients.", "banner")


def _maps(seen: Seeing) -> Iterator[str]:
    s = seen.summary
    grid_said = f" of {' × '.join(map(str, s['layer_grid']))} cells over the whole image, so that distances, areas " \
        "and shares of it are coarse" if s.get("layer_grid") else ""
    yield ("A map that stays the same when a network's weights are thrown away shows the image, not the network "
           "(Adebayo et al., arXiv:1810.03292). At most 0.2 with all layers drawn anew: the maps depend on the "
           "weights; above 0.5: they hardly do. These limits are ours. A last layer drawn anew only weighs what the "
           "layers below it found, so a map may rightly keep much of its shape.")
    yield ("A map shows what speaks for the class that was read in the clean image, in the clean and the noisy one "
           f"alike: {s['target']}. Grad-CAM (arXiv:1610.02391) is taken at {code(s['layer'])}, on that layer's grid"
           f"{grid_said}; integrated gradients (arXiv:1703.01365) voxel by voxel. Only what is for the class is kept "
           "(the positive part). Optimised noise works against that very margin, so part of what it does to the maps "
           "is its own doing; random noise of the same dose stands beside it.")


def _block(method: str, attack: str) -> Band:
    return Band(f"{method_name(method)}, {short_name(attack)} noise")


def _areas(seen: Seeing) -> Iterator[Item]:
    """Area and share inside, clean and noisy, a block a method and noise; of the study's own noise also by class."""
    s = seen.summary
    tested = [row for row in s["paired"] if row["group"] in TESTED and (
        row["read_as"] is None or row["attack"] == s["attack"])]
    rows: list[Row | Band] = []
    for key in dict.fromkeys((row["method"], row["attack"]) for row in tested):
        block = [row for row in tested if (row["method"], row["attack"]) == key]
        rows += [_block(*key), *_area_rows(block, seen.classes)]
    if not rows:
        return
    even = next((row["mask_share"] for row in s["shift"] if row["group"] == "all" and row["mask_share"]), None)
    alike = "" if even is None else (f" A map alike everywhere would have {percent(even)} in the nodule (median), and "
                                     "an area of 50 %.")
    columns = [Column("Reads that", forms.TEXT), Column("Reads", forms.COUNT), Column("Patients", forms.COUNT)]
    for group in ("Area, %", "In the nodule, %"):
        columns += [Column("clean", forms.only(), group), Column("noisy", forms.only(), group),
                    Column("change", forms.signed(), group), Column("p (Holm)", forms.P_VALUE, group)]
    yield table(columns, rows, tone="snug", above=(
        "Means over reads, then over folds; differences in points (noisy minus clean) with 95 % intervals over "
        f"patients. {italic('Area')}: the smallest share of the image that holds half of the attention.{alike}"), note=(
        "p: the signs of whole patients' changes are flipped at random (a patient's nodules and folds together); Holm "
        f"over all of one noise's tests here. {italic('Read as')}: in the clean image; evidence for one class lies "
        "elsewhere than that for another, and may move another way. A read with a map that is zero everywhere is "
        "left out of both."))


def _area_rows(block: Sequence[dict[str, Any]], classes: Sequence[str]) -> Iterator[Row]:
    for group, read_as in dict.fromkeys((row["group"], row["read_as"]) for row in block):
        measures = {row["measure"]: row for row in block if (row["group"], row["read_as"]) == (group, read_as)}
        most = max(measures.values(), key=lambda row: row["reads"])
        name = _GROUPS[group] if read_as is None else mark("soft", f"– read as {class_said(read_as, classes)}")
        pairs = [measures.get(measure) for measure in ("area", "inside")]
        yield Row((name, most["reads"], most["patients"],
                   *(value for pair in pairs for value in (_NONE if pair is None else (
                       pair["clean"], pair["noisy"], pair["difference"], pair["p_holm"])))))


def _shifts(seen: Seeing) -> Item:
    """How far the maps move, a block a method and noise: flipped, steady, and the difference."""
    s = seen.summary
    tested = [row for row in s["shift"] if row["group"] in TESTED and row["reads"]]
    rows: list[Row | Band] = []
    for key in dict.fromkeys((row["method"], row["attack"]) for row in tested):
        block = [row for row in tested if (row["method"], row["attack"]) == key]
        rows += [_block(*key), *(Row((_GROUPS[row["group"]], row["reads"], row["patients"], row["none"], row["overlap"],
                                      row["distance_mm"], row["rank_correlation"])) for row in block)]
        if len(block) == len(TESTED):
            p = {row["measure"]: row["p_holm"] for row in s["against"] if (row["method"], row["attack"]) == key}
            apart = [against(s, *key).get(measure) for measure in ("overlap", "distance_mm")]
            rows.append(Row((mark("soft", "difference"), "", "",
                             f"p {p_shown(p.get('overlap'))}, {p_shown(p.get('distance_mm'))}",
                             As(apart[0], forms.signed()), apart[1], Cell("", span=2)), False))
    columns = [Column("Reads that", forms.TEXT), Column("Reads", forms.COUNT), Column("Patients", forms.COUNT),
               Column("A map is zero", forms.COUNT), Column("Overlap of the strongest tenths, %", forms.folded()),
               Column("Distance of the centres, mm", forms.DIGITS_BESIDE),
               Column("Rank correlation", forms.share(1, 2))]
    return table(columns, rows, tone="snug", note=(
        "Medians of each fold, then their mean (± SD over folds); intervals over patients. Maps that have nothing to "
        f"do with each other share 10 % of their strongest tenths. {italic('Difference')}: flipped minus not flipped, "
        "of the medians within each fold and class read, classes weighted as the flipped reads have them, since "
        "evidence for one class lies elsewhere than that for another, and one of them flips more often. p (of overlap, "
        "of distance): from the bootstrap over patients, after Holm over all such differences. Reads that flip had "
        "smaller margins before any noise; that is not held fixed."))


def _features(seen: Seeing) -> Item:
    """A network a row: its most changed feature beside the middle one, and beside those of random weights."""
    s = seen.summary
    halves = Form(forms.share(1, 2).show, beside=forms.share(1, 2).beside, beside_title="9 of 10 halvings")
    columns = [Column("Fold", forms.COUNT), Column("Images", forms.COUNT), Column("Patients", forms.COUNT),
               Column("Features", forms.COUNT), Column("Silent", forms.COUNT), Column("Most changed", forms.OPTIONAL),
               Column("Its change", forms.DIGITS_BESIDE), Column("Times the middle feature's", forms.DIGITS_BESIDE),
               Column("With weights drawn anew", forms.DIGITS), Column("Ranking in two halves of the patients", halves)]
    rows = []
    for row in s["features"]:
        top = row["ranked"][0] if row["ranked"] else None
        most = (top["feature"] + 1, Estimate(top["value"], top["low"], top["high"])) if top else (None, None)
        rows.append((row["fold"], row["images"], row["patients"], row["features"], row["silent"], *most, row["ratio"],
                     over_middle(row["random"]), row["agreement"]))
    return table(columns, rows, tone="snug", note=(
        f"What {code(s['feature_layer'])} hands on, under one draw of random noise of {s['mas']:g} mAs. Change: "
        f"{s['measure']}. Medians over images; the most changed feature is chosen anew in every resample. Ranking: "
        "rank correlation of the features' medians in two random halves of the patients, median of 200 halvings. "
        "Features of two networks have nothing to do with each other."))
