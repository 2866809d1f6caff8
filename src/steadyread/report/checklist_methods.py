"""What a run says of TRIPOD+AI's items of the front part and of the methods, item by item."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from steadyread.records import PARTS
from steadyread.report.checklist_known import (
    COUNTED,
    Known,
    Said,
    between,
    extent,
    findings_said,
    listed,
    plain,
    sentences,
)
from steadyread.words.hardening import method_name
from steadyread.words.numbers import attack_name, percent, score_name

Answers = Callable[[Known], Iterator[Said]]
_QUALITY = ("unreadable images", "non-finite pixels", "constant images", "pixels outside the bounds",
            "exact duplicates", "exact duplicates across parts", "exact duplicates with conflicting labels",
            "near duplicates", "near duplicates across parts", "near duplicates with conflicting labels",
            "label leak", "padding tells the label", "copies tell the label", "diameter tells the label")
_SCALED = {"none": "The network takes native values as they are", "unit": "Valid values are scaled to 0 to 1",
           "symmetric": "Valid values are scaled to −1 to 1",
           "imagenet": "Values are standardised as for torchvision's ImageNet weights",
           "caffe": "Values are standardised as for Keras' ImageNet weights"}
_OUTPUT = {"logits": "one logit a class; probabilities by softmax",
           "logit": "one logit; the probability by a sigmoid",
           "probabilities": "one probability a class", "probability": "one probability"}
_DRAWN = "in training every class is drawn equally often, and weighs the same in the validation loss"
_BALANCED = {"study.json: split.balance": "as many images of each class are kept in every part",
             "study.json: training.balance": _DRAWN, "training.json: settings.balance": _DRAWN}
_TAUGHT = ("optimiser", "learning_rate", "schedule", "batch", "loss", "weight_decay", "max_norm", "patience")
_MOVED = {"flips": "flips", "rotation_degrees": "rotations up to {} degrees",
          "shift_pixels": "shifts up to {} pixels"}


def aim(known: Known) -> Iterator[Said]:
    """Items 1 and 4: whether a model is developed or only evaluated."""
    if known.trained is None:
        return
    where = ("training.json: epochs",) if known.at("training.json: epochs") else ("study.json: model.weights",)
    task = f"to tell {listed(known.classes)} apart" if known.classes else "to tell classes of images apart"
    yield Said(f"Development and evaluation: a network is trained {task}, then evaluated." if known.trained else
               f"Evaluation of a network that was given, made {task}.", (*where, "plan.json: data.classes"))


def sources(known: Known) -> Iterator[Said]:
    """Item 5a."""
    name = known.said("plan.json: data.name")
    if name is None:
        return
    if known.at("plan.json: data.synthetic"):
        yield Said(f"SYNTHETIC images ({name}): made by a computer, of no participants.",
                   ("plan.json: data.name", "plan.json: data.synthetic"))
    else:
        where = ["plan.json: data.name"]
        layout = known.said("study.json: data.layout")
        read = f", read as {layout}" if layout else ""
        where += ["study.json: data.layout"] if layout else []
        yield Said(f"The data set {name}{read}.", tuple(where))
    if known.trained:
        yield Said("Development and evaluation use parts of this one set.", ("plan.json: data.parts",))


def left_out(known: Known) -> Iterator[Said]:
    """Item 6b: whom the run itself left out."""
    found = [*known.found("missing files", "drawn images", "attacked images"), *known.notes[0]]
    if found:
        yield findings_said(found, named=False)


def preparation(known: Known) -> Iterator[Said]:
    """Item 7."""
    if known.table_at("study.json: preparation"):
        steps = ", then ".join(_steps(known)) or "the images are used as they are in the data set"
        yield Said(sentences([steps]), ("study.json: preparation",))
    if known.notes[1]:
        yield findings_said(known.notes[1], named=False)
    failed, passed = known.found(*_QUALITY), known.found(*_QUALITY, passed=True)
    if passed:
        names = list(dict.fromkeys(str(each["check"]) for each in passed
                                   if each["check"] not in {one["check"] for one in failed}))
        if names:
            yield Said(f"Checked, and nothing found: {', '.join(names)}.", tuple(f"findings.json: {name}"
                                                                                 for name in names))
    if failed:
        yield findings_said(failed)


def outcome(known: Known) -> Iterator[Said]:
    """Item 8a."""
    if known.at("plan.json: data.classes"):
        yield Said(f"The class of an image: {', '.join(known.classes)}.", ("plan.json: data.classes",))


def first_predictors(known: Known) -> Iterator[Said]:
    """Item 9a."""
    if known.trained is False:
        yield _given("how its predictors were chosen")
        return
    if known.trained:
        yield Said(sentences([f"All pixels of the prepared image{_grid(known)}; none is chosen beforehand"]),
                   _where_grid(known) or ("plan.json: model.name",))


def predictors(known: Known) -> Iterator[Said]:
    """Item 9b."""
    bounds = known.numbers("plan.json: data.bounds")
    if len(bounds) == 2:
        yield Said(sentences([f"The pixels of an image{_grid(known)}, valid values {between(bounds, known.unit)}"]),
                   ("plan.json: data.bounds", "plan.json: data.unit", *_where_grid(known)))


def sample_size(known: Known) -> Iterator[Said]:
    """Item 10."""
    if known.parts:
        yield Said(sentences(["Assessed, " + "; ".join(map(known.part_said, known.parts))]), (COUNTED,))
    if (drawn := known.found("parts", "class counts", "drawn images", "attacked images", "images")):
        yield findings_said(drawn)


def missing(known: Known) -> Iterator[Said]:
    """Item 11."""
    failed = known.found("missing files", "unreadable images", "non-finite pixels", "undecided")
    lacking = [*failed, *known.notes[0]]
    if lacking:
        said = findings_said(lacking, named=False)
        yield Said(f"{said.words} Images without file, mask or label are left out; nothing is imputed.", said.where,
                   "why these data are missing")
    elif (there := known.found("missing files", passed=True)):
        said = findings_said(there, named=False)
        yield Said(f"{said.words} Nothing is imputed.", said.where)
    if known.at("summary.json: undecided"):
        yield Said(f"{known.at('summary.json: undecided')} reads without a finite logit count as wrong.",
                   ("summary.json: undecided",))


def partition(known: Known) -> Iterator[Said]:
    """Item 12a."""
    if known.trained is False:
        yield Said("The weights were given; which images developed the model this run does not know. What is not "
                   "tested sets the thresholds of triage.", ("study.json: model.weights", "study.json: split"))
    yield from _by_patient(known)
    if (test := known.numbers("study.json: split.test_share")):
        validation = known.numbers("study.json: split.validation_share")
        own = " unless the set has parts of its own" if known.at("study.json: split.official") else ""
        rest = f", {percent(validation[0])} of the rest for validation" if validation and validation[0] else ""
        seed = known.said("study.json: split.seed") or known.said("study.json: seed")
        yield Said(f"Drawn with seed {seed}: {percent(test[0])} for testing{rest}{own}.",
                   ("study.json: split", "study.json: seed"))
    if known.at("training.json: chosen_epoch") is not None and "validation" in known.parts:
        yield Said("Validation images choose the epoch and the thresholds of triage; in this run test images "
                   "choose nothing.",
                   ("training.json: chosen_epoch", "summary.json: triage.chosen_on"))


def _by_patient(known: Known) -> Iterator[Said]:
    patients = known.found("patients") or known.found("patients", passed=True)
    if patients:
        yield findings_said(patients, named=False)
    elif known.at("plan.json: data.patients_known") is not None:
        stated = "Divided by patient" if known.at("plan.json: data.patients_known") else (
            "Divided by image: no patients are known")
        yield Said(f"{stated}.", ("plan.json: data.patients_known",))


def handling(known: Known) -> Iterator[Said]:
    """Item 12b."""
    stated = known.at("study.json: model.normalise")
    window = known.numbers("study.json: model.window")
    first = f"Clipped to {between(window, known.unit)} inside the network. " if len(window) == 2 else ""
    where = ("study.json: model.window",) if first else ()
    if isinstance(stated, str) and stated in _SCALED:
        yield Said(f"{first}{_SCALED[stated]}.", (*where, "study.json: model.normalise"))
    elif known.said("plan.json: model.normalise") is not None:
        yield Said(f"{first}Standardised by mean and deviation in native units: "
                   f"{known.said('plan.json: model.normalise')}.", (*where, "plan.json: model.normalise"))


def building(known: Known) -> Iterator[Said]:
    """Item 12c."""
    name = known.said("plan.json: model.name")
    if name is not None:
        told = ", ".join(f"{key} = {_shown(value)}"
                         for key, value in known.table_at("study.json: model.arguments").items())
        told = f" ({told})" if told else ""
        count = known.numbers("plan.json: model.parameters")
        yield Said(f"The network {name}{told}{f', {count[0]:,.0f} parameters' if count else ''}.",
                   ("plan.json: model.name", *(("study.json: model.arguments",) if told else ()),
                    *(("plan.json: model.parameters",) if count else ())))
    if known.trained is False:
        yield _given("how it was built and tuned")
        return
    if known.at("study.json: model.pretrained"):
        yield Said("Its convolutions begin with weights pretrained on ImageNet.", ("study.json: model.pretrained",))
    yield from _training(known)


def _training(known: Known) -> Iterator[Said]:
    if (method := known.said("training.json: method")):
        yield Said(f"Trained further by {method_name(method)}.", ("training.json: method",))
        if (rule := known.said("training.json: rule")):
            yield Said(sentences([rule]), ("training.json: rule",))
    else:
        places = [place for place in ("training.json: settings", "study.json: training") if known.table_at(place)]
        for place in places[:1]:
            yield Said(f"Training: {', '.join(_taught(known.table_at(place)))}.", (place,))
    epochs, chosen = known.at("training.json: epochs"), known.at("training.json: chosen_epoch")
    if isinstance(epochs, list) and chosen is not None:
        yield Said(f"Internal validation by one held-out part: epoch {chosen} of {len(epochs)} was kept, by the "
                   "validation images.", ("training.json: epochs", "training.json: chosen_epoch"))


def measures(known: Known) -> Iterator[Said]:
    """Item 12e."""
    base = "summary.json: discrimination"
    told = ["accuracy"] + (["AUC, sensitivity, specificity"] if known.at(f"{base}.classes") == 2
                           else ["macro AUC (one class against the rest), recall of each class"])
    if not known.at(f"{base}.images"):
        return
    over = "patients" if known.at("plan.json: data.patients_known") else "images, since no patients are known"
    yield Said(f"Clean images: {', '.join(told)}, with 95 % intervals over {over} (Clopper and Pearson for shares, "
               "resampling else), ROC curves and a table of labels by predictions.", (base,))
    if (tried := attacks_said(known)):
        yield Said(f"Under attack: accuracy by size of the change and the smallest change that flips each image "
                   f"({tried}), as curves and tables.", ("summary.json: robustness", "plan.json: attacks"))
    names = ", ".join(score_name(str(row["score"])) for row in known.at("summary.json: triage.rows") or ())
    if names:
        yield Said(f"Triage: accuracy of the kept reads and area under risk-coverage by {names.lower()}.",
                   ("summary.json: triage.rows",))
    if known.at("summary.json: triage.differences"):
        yield Said("Scores are compared by paired differences over the same resampled patients.",
                   ("summary.json: triage.differences",))


def attacks_said(known: Known) -> str:
    """The attacks that were tried: `FGSM, PGD and a search for the smallest flip`."""
    held = known.table_at("summary.json: robustness")
    fixed = dict.fromkeys(str(row["attack"]) for side in held.values() for row in side["attacks"])
    flip = any(side["smallest_flip"]["searched"] for side in held.values())
    names = [attack_name(name) for name in fixed]
    return listed([*names, "a search for the smallest flip"] if flip else names)


def updating(known: Known) -> Iterator[Said]:
    """Items 12f and 24: hardening is the one change that a run makes after its evaluation."""
    before = known.said("training.json: method")
    told = known.said("summary.json: hardening.verdict")
    if told:
        method = method_name(known.said("summary.json: hardening.training.method"))
        yield Said(sentences([f"No recalibration. After the evaluation the network was hardened by {method}, and "
                              "assessed again on the same images", told]),
                   ("summary.json: hardening.training", "summary.json: hardening.verdict"))
    elif before is not None:
        yield Said(f"The network assessed here was hardened by {method_name(before)} before; no recalibration.",
                   ("training.json: method",))
    elif known.said("summary.json: stage") == "plain":
        yield Said("None: the network was assessed as it was trained or given, without recalibration.",
                   ("summary.json: stage",))


def computing(known: Known) -> Iterator[Said]:
    """Item 12g."""
    digest = known.said("plan.json: model.sha256")
    if digest is not None:
        yield Said(f"By a forward pass of the stored network (SHA-256 {digest[:12]}…) for each prepared image; the "
                   "logits of every image stand in the records.", ("plan.json: model.sha256", f"{PARTS}: logits"))


def imbalance(known: Known) -> Iterator[Said]:
    """Item 13."""
    counts = known.found("class counts")
    if counts:
        yield findings_said(counts)
    stated = {place: known.at(place) for place in _BALANCED if known.at(place) is not None}
    did = dict.fromkeys(_BALANCED[place] for place, used in stated.items() if used)
    if did:
        yield Said(sentences([*did, "no recalibration followed"]), tuple(stated), "why")
    elif stated:
        yield Said("This run used no method against uneven classes.", tuple(stated))


def output(known: Known) -> Iterator[Said]:
    """Item 15."""
    head, threshold = known.said("plan.json: model.output"), known.numbers("plan.json: model.threshold")
    if head is None:
        return
    rule = "the class with the highest probability"
    own = bool(threshold) and threshold[0] != 0.5
    if len(known.classes) == 2 and threshold:
        rule = f"{known.classes[1]} where its probability is above {plain(threshold[0])}, else {known.classes[0]}"
    yield Said(sentences([f"Output: {_OUTPUT.get(head, head)}", f"Read as {rule}"]),
               ("plan.json: model.output", "plan.json: model.threshold", "plan.json: data.classes"),
               f"why the threshold is {plain(threshold[0])}" if own else "")
    share, chosen = known.numbers("summary.json: triage.share"), known.said("summary.json: triage.chosen_on")
    if share and chosen:
        yield Said(f"Triage withholds about {percent(share[0], 0)} of the reads, by thresholds seen on {chosen} "
                   "images.", ("summary.json: triage.share", "summary.json: triage.chosen_on"))


def differences(known: Known) -> Iterator[Said]:
    """Item 16."""
    taught = known.found("taught images", "taught patients")
    if taught:
        yield findings_said(taught)
    elif known.trained and known.said("plan.json: data.name"):
        yield Said(f"Both are parts of {known.said('plan.json: data.name')}, read and prepared alike.",
                   ("plan.json: data.name", "plan.json: data.parts"))


def _given(what: str) -> Said:
    return Said("The weights were given; the model was not developed in this run.", ("study.json: model.weights",),
                f"{what}, from where the weights come from")


def _steps(known: Known) -> list[str]:
    spacing, crop, size, window = (known.numbers(f"study.json: preparation.{key}")
                                   for key in ("spacing_mm", "crop", "size", "window"))
    told = (f"resampled to {extent(spacing, 'mm')}" if spacing else "",
            f"the centre cut out ({extent(crop, 'pixels')})" if crop else "",
            f"resized to {extent(size, 'pixels')}" if size else "",
            f"values clipped to {between(window, known.unit)}" if len(window) == 2 else "")
    return [step for step in told if step]


def _grid(known: Known) -> str:
    size, channels = (known.numbers(f"study.json: model.arguments.{key}") for key in ("size", "channels"))
    told = ((extent(size, "pixels") if size else ""),
            (f"{plain(channels[0])} channel{'s' if channels[0] != 1 else ''}" if channels else ""))
    return f" ({', '.join(filter(None, told))})" if any(told) else ""


def _where_grid(known: Known) -> tuple[str, ...]:
    return ("study.json: model.arguments",) if _grid(known) else ()


def _taught(settings: Mapping[str, Any]) -> list[str]:
    told = [f"{key.replace('_', ' ')} {_shown(settings[key])}" for key in _TAUGHT if settings.get(key) is not None]
    moved = [words.format(_shown(settings[key])) for key, words in _MOVED.items() if settings.get(key)]
    return [*told, f"augmented by {', '.join(moved)}"] if moved else told


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shown, value))})"
    return plain(value) if isinstance(value, int | float) else str(value).replace("_", " ")


METHODS: Mapping[str, Answers] = {
    "1": aim, "4": aim, "5a": sources, "6b": left_out, "7": preparation, "8a": outcome, "9a": first_predictors,
    "9b": predictors, "10": sample_size, "11": missing, "12a": partition, "12b": handling, "12c": building,
    "12e": measures, "12f": updating, "12g": computing, "13": imbalance, "15": output, "16": differences}
