"""Facts on a run that take a little computing: each a noun that any crosswalk may name in a sentence.

A fact that a template can state by itself stands in sentences.toml.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from steadyread.metrics.intervals import Estimate
from steadyread.metrics.reads import CT_NOISE
from steadyread.report.evidence import COUNTED, Evidence, Fact, between, estimate_said, listed, sentences, setting
from steadyread.units import number_of
from steadyread.words.numbers import attack_name, digits, score_name, show_size_json

FACTS: dict[str, Callable[[Evidence], Fact | None]] = {}
_SIZES = 4     # at which the accuracy under attack is given
_FEW = 3       # classes of which labels are told by predictions
_SCALINGS = {"none": "The network takes native values as they are", "unit": "Valid values are scaled to 0 to 1",
             "symmetric": "Valid values are scaled to −1 to 1",
             "imagenet": "Values are standardised as for torchvision's ImageNet weights",
             "caffe": "Values are standardised as for Keras' ImageNet weights"}
_HEADS = {"logits": "one logit per class; probabilities by softmax",
          "logit": "one logit; the probability by a sigmoid",
          "probabilities": "one probability per class", "probability": "one probability"}
_DRAWN = "in training every class is drawn equally often, and weighs the same in the validation loss"
_BALANCES = {"study.split.balance": "as many images of each class are kept in every part",
             "study.training.balance": _DRAWN, "training.settings.balance": _DRAWN}
_TRAINING = ("optimiser", "learning_rate", "schedule", "batch", "loss", "weight_decay", "max_norm", "patience")
_AUGMENTATIONS = {"flips": "flips", "rotation_degrees": "rotations up to {} degrees",
                  "shift_pixels": "shifts up to {} pixels"}


def fact(function: Callable[[Evidence], Fact | None]) -> Callable[[Evidence], Fact | None]:
    """Registers a fact under its function's name."""
    FACTS[function.__name__] = function
    return function


@fact
def trained(run: Evidence) -> Fact | None:
    """Known where the run trained its network."""
    return Fact("", ("training.epochs",)) if run.trained else None


@fact
def given(run: Evidence) -> Fact | None:
    """Known where the run was handed a network's weights."""
    return Fact("", ("study.model.weights",)) if run.trained is False else None


@fact
def stored_model(run: Evidence) -> Fact | None:
    """Known where the network lies beside the run's other files."""
    return Fact("", ("model",)) if run.has_model else None


@fact
def classes(run: Evidence) -> Fact | None:
    """`benign and malignant`."""
    known = run.classes and run.at("plan.data.classes")
    return Fact(listed(run.classes), ("plan.data.classes",)) if known else None


@fact
def parts(run: Evidence) -> Fact | None:
    """The assessed parts, each with its images, patients and classes."""
    return Fact("; ".join(run.parts.values()), COUNTED) if run.parts else None


@fact
def validated(run: Evidence) -> Fact | None:
    """The validation part alone."""
    return Fact(run.parts["validation"], COUNTED) if "validation" in run.parts else None


@fact
def evaluated(run: Evidence) -> Fact | None:
    """All assessed parts but validation."""
    others = [text for name, text in run.parts.items() if name != "validation"]
    return Fact("; ".join(others), COUNTED) if others else None


@fact
def held_out(run: Evidence) -> Fact | None:
    """The test part of a network that this run trained."""
    return Fact(run.parts["test"], COUNTED) if run.trained and "test" in run.parts else None


@fact
def steps(run: Evidence) -> Fact | None:
    """How images are prepared: `resampled to 0.7 mm per axis, then resized to 64 pixels per axis`."""
    if not run.section("study.preparation"):
        return None
    spacing, crop, size, window = (run.numbers(f"study.preparation.{key}")
                                   for key in ("spacing_mm", "crop", "size", "window"))
    texts = (f"resampled to {_extent(spacing, 'mm')}" if spacing else "",
             f"the centre cut out ({_extent(crop, 'pixels')})" if crop else "",
             f"resized to {_extent(size, 'pixels')}" if size else "",
             f"values clipped to {between(window, run.unit)}" if len(window) == 2 else "")
    text = ", then ".join(filter(None, texts)) or "the images are used as they are in the data set"
    return Fact(text, ("study.preparation",))


@fact
def grid(run: Evidence) -> Fact | None:
    """`64 pixels per axis, 1 channel`."""
    size, channels = (run.numbers(f"study.model.arguments.{key}") for key in ("size", "channels"))
    texts = [_extent(size, "pixels")] if size else []
    texts += [f"{setting(channels[0])} channel{'s' if channels[0] != 1 else ''}"] if channels else []
    return Fact(", ".join(texts), ("study.model.arguments",)) if texts else None


@fact
def scaling(run: Evidence) -> Fact | None:
    """How values enter the network."""
    name = run.at("study.model.normalise")
    if isinstance(name, str) and name in _SCALINGS:
        return Fact(_SCALINGS[name], ("study.model.normalise",))
    form = run.at("plan.model.normalise")
    return None if form is None else Fact(f"Standardised by mean and deviation in native units: {form}",
                                          ("plan.model.normalise",))


@fact
def training_settings(run: Evidence) -> Fact | None:
    """`optimiser adam, learning rate 0.002, augmented by flips`."""
    place = next((path for path in ("training.settings", "study.training") if run.section(path)), None)
    if place is None:
        return None
    settings = run.section(place)
    texts = [f"{key.replace('_', ' ')} {setting(settings[key])}"
             for key in _TRAINING if settings.get(key) is not None]
    moves = [text.format(setting(settings[key])) for key, text in _AUGMENTATIONS.items() if settings.get(key)]
    texts += [f"augmented by {', '.join(moves)}"] if moves else []
    return Fact(", ".join(texts), (place,)) if texts else None


@fact
def balance(run: Evidence) -> Fact | None:
    """What was done about uneven classes."""
    stated = {path: run.at(path) for path in _BALANCES if run.at(path) is not None}
    used = dict.fromkeys(_BALANCES[path] for path, value in stated.items() if value)
    if used:
        return Fact(sentences([*used, "no recalibration followed"]), tuple(stated), "why")
    return Fact("This run used no method against uneven classes.", tuple(stated)) if stated else None


@fact
def output(run: Evidence) -> Fact | None:
    """What the network puts out and how it is read."""
    head, threshold = run.at("plan.model.output"), run.numbers("plan.model.threshold")
    if head is None:
        return None
    rule = "the class with the highest probability"
    if len(run.classes) == 2 and threshold:
        rule = f"{run.classes[1]} where its probability is above {setting(threshold[0])}, else {run.classes[0]}"
    left = f"why the threshold is {setting(threshold[0])}" if threshold and threshold[0] != 0.5 else ""
    return Fact(sentences([f"Output: {_HEADS.get(str(head), head)}", f"Read as {rule}"]),
                ("plan.model.output", "plan.model.threshold", "plan.data.classes"), left)


@fact
def measures(run: Evidence) -> Fact | None:
    """The measures of performance on clean images."""
    if not run.at("summary.discrimination.images"):
        return None
    two = run.at("summary.discrimination.classes") == 2
    return Fact("accuracy, AUC, sensitivity, specificity" if two else "accuracy, macro AUC (one class against the "
                "rest), recall of each class", ("summary.discrimination",))


@fact
def calibration(run: Evidence) -> Fact | None:
    """How far the stated probabilities came true, with intervals."""
    path = "summary.calibration"
    found = run.section(path)
    said = [f"{words} {digits(found[name]['value'], 3)}" + ("" if found[name]["low"] is None else
            f" ({digits(found[name]['low'], 3)} to {digits(found[name]['high'], 3)})") for name, words in (
        ("ece", "expected calibration error"), ("brier", "Brier score"), ("calibration_slope", "slope"),
        ("calibration_intercept", "intercept")) if name in found]
    return Fact(f"Stated probabilities beside what came true: {', '.join(said)}", (path,)) if said else None


@fact
def confusion(run: Evidence) -> Fact | None:
    """`benign images: read as benign 42, malignant 12; malignant images: ...`; of many classes where it stands."""
    path = "summary.discrimination.confusion"
    table = run.at(path)
    if not table or len(table) != len(run.classes):
        return None
    if len(table) > _FEW:
        return Fact(f"The {len(table)} labels by predictions stand in summary.json", (path,))
    reads = (", ".join(f"{name} {count}" for name, count in zip(run.classes, row, strict=True)) for row in table)
    return Fact("; ".join(f"{label} images: read as {text}" for label, text in zip(run.classes, reads, strict=True)),
                (path,))


@fact
def resampled(run: Evidence) -> Fact | None:
    """What intervals are over: patients, or images where no patients are known."""
    known = run.at("plan.data.patients_known")
    return Fact("patients" if known else "images, since no patients are known", ("plan.data.patients_known",))


@fact
def attacks(run: Evidence) -> Fact | None:
    """`FGSM, PGD, a search for the smallest flip and CT noise`."""
    sides = run.section("summary.robustness").values()
    rows = [*(row for side in sides for row in side["attacks"]), *(run.at("summary.other_axes") or ())]
    keys = dict.fromkeys(str(row["attack"]) for row in rows)
    names = [attack_name(key) for key in keys]
    names += ["a search for the smallest flip"] if any(side["smallest_flip"]["searched"] for side in sides) else []
    names += ["CT noise"] if CT_NOISE in run.threats else []
    return Fact(listed(names), ("plan.attacks", "summary.robustness", "summary.other_axes")) if names else None


@fact
def pixelwise(run: Evidence) -> Fact | None:
    """Known where the size of every attack bounds the change of each pixel."""
    return Fact("", ("records.threat",)) if run.threats == {"Linf"} else None


@fact
def scores(run: Evidence) -> Fact | None:
    """The scores of triage."""
    names = [score_name(str(row["score"])).lower() for row in run.at("summary.triage.rows") or ()]
    return Fact(", ".join(names), ("summary.triage.rows",)) if names else None


@fact
def accuracies(run: Evidence) -> Fact | None:
    """The accuracy under attack at a few sizes, against the label where that was tried, with intervals."""
    for side in ("label", "prediction"):
        path = f"summary.robustness.{side}.at"
        rows = [row for row in run.at(path) or () if row["accuracy"]["value"] is not None]
        if rows:
            places = np.linspace(0, len(rows) - 1, min(_SIZES, len(rows)))
            shown = [rows[place] for place in sorted({round(float(place)) for place in places})]
            texts = (f"{estimate_said(Estimate(**row['accuracy']))} at {show_size_json(row['size'])}"
                     for row in shown)
            return Fact(f"Accuracy under attack (against the {side}, all attacks together): {'; '.join(texts)}",
                        (path,))
    return None


@fact
def median_flip(run: Evidence) -> Fact | None:
    """The interval of the median smallest flip."""
    for side in ("label", "prediction"):
        path = f"summary.robustness.{side}.smallest_flip"
        flip: Mapping[str, Any] = run.section(path)
        if flip.get("searched") and flip.get("images"):
            if not all(math.isfinite(number_of(flip[end])) for end in ("low", "high")):
                return None
            return Fact(f"The median smallest flip of {flip['images']} reads has a 95 % interval of "
                        f"{show_size_json(flip['low'])} to {show_size_json(flip['high'])}", (path,))
    return None


@fact
def soundness(run: Evidence) -> Fact | None:
    """`8 of 9`: the checks that the attacks are sound which were passed."""
    checks = run.of_checks("soundness")
    passed = [f"findings.{each['check']}" for each in checks if each["severity"] == "ok"]
    return Fact(f"{len(passed)} of {len(checks)}", tuple(passed)) if passed else None


def _extent(values: list[float], unit: str) -> str:
    """`64 pixels per axis`, `12 x 32 x 32 pixels`."""
    return (f"{setting(values[0])} {unit} per axis" if len(values) == 1
            else f"{' x '.join(map(setting, values))} {unit}")
