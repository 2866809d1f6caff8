"""The figures of what a network sees, for the page and for named cases."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from steadyread.figures import save
from steadyread.figures.seeing import Shown, Window, attention, slices
from steadyread.figures.seeing_features import features, ranking
from steadyread.figures.seeing_shift import attention_shift, sanity
from steadyread.report.drawings import Drawing
from steadyread.report.seeing_stored import read_shown
from steadyread.report.shareable import AS_IT_IS, Shareable
from steadyread.words.noise import short_name

_SLICES, _ATTENDED = 2, 3     # images on the page; all are drawn for named cases
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_WINDOW = (-1000.0, 400.0)


def seeing_drawings(found: Mapping[str, Any], shown: Sequence[Shown], window: Window,
                    classes: Sequence[str] = ()) -> dict[str, Drawing]:
    """The figures of the page's section by name."""
    malignant = classes[1] if len(classes) == 2 else "class 1"
    told = f"{window[0]:g} to {window[1]:g} HU".replace("-", "−")
    chosen = chosen_for_page(shown)
    heat = ("Averaged through the slices; each map is coloured from 0 to its own largest value, so that where it "
            "lies is compared, not how strong it is. White: the nodule's mask at its widest.")
    noise = f"{short_name(found['attack'])} noise of {found['mas']:g} mAs"
    made = [
        Drawing("seeing_slices", slices(_both_labels(chosen), window, malignant),
                f"Slices through the middle of the box, {told} from black to white, true to scale in mm (after [B] "
                "Fig. 5)."),
        Drawing("seeing_attention", attention(chosen[:_ATTENDED], window),
                f"Attention over the middle slice, clean and with {noise} (after [B] Fig. 10). {heat}"),
        Drawing("seeing_features", features(chosen[0] if chosen else None),
                "Middle slices of what the first layer hands on (after [B] Fig. 9), of the first case above: clean "
                "left, noisy right, one grey scale a pair. The number behind each feature is its change; boxed, "
                "those that change most."),
        Drawing("seeing_ranking", ranking(found["features"]),
                f"The change of each feature under random noise of {found['mas']:g} mAs: median over all test "
                "images, shaded the 95 % interval over patients. Dotted: these networks with weights drawn anew."),
        Drawing("seeing_shift", attention_shift(found),
                "Medians (left two) and mean changes (right two) over reads, averaged over folds, with 95 % "
                "intervals over patients; ticks are the folds. Hollow: too few patients for an interval."),
        Drawing("seeing_sanity", sanity(found),
                "How alike two maps of one image are (number of maps): median, quartiles, middle nine tenths. "
                "Orange should lie left of 0.2, and left of blue.")]
    return {drawing.name: drawing for drawing in made}


def chosen_for_page(shown: Sequence[Shown]) -> list[Shown]:
    """Each case once, those that flipped first, in the folds' order."""
    held: dict[str, Shown] = {}
    for one in sorted(shown, key=lambda one: not one.flipped):
        held.setdefault(one.case_id, one)
    return list(held.values())


def draw_seen(stored: Path, folder: Path, window: Window = _WINDOW, classes: Sequence[str] = (),
              shared: Shareable = AS_IT_IS) -> list[Path]:
    """Slices, attention and features of every case of a seen.npz, as PNG and SVG into `folder`; returns the PNGs.

    Raises:
        InputRefused: no seen.npz, or the folder cannot be written.
        Partial: the disk is full.
    """
    malignant = classes[1] if len(classes) == 2 else "class 1"
    made: list[Path] = []
    for number, one in enumerate(read_shown(stored, classes=classes, shared=shared), 1):
        name = f"{number:02d}-{_UNSAFE.sub('_', one.case_id)[:60]}"
        drawn: dict[str, Figure] = {"slices": slices([one], window, malignant),
                                    "attention": attention([one], window), "features": features(one)}
        made += [save(figure, folder, f"{name}-{kind}")[0] for kind, figure in drawn.items()]
    return made


def _both_labels(chosen: Sequence[Shown]) -> list[Shown]:
    """Two images, of two labels where there are, as in [B] Fig. 5."""
    if not chosen:
        return []
    other = next((one for one in chosen[1:] if one.label != chosen[0].label), None)
    return [chosen[0], other] if other else list(chosen[:_SLICES])
