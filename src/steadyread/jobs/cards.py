"""What a network's own files say of it, as settings; and what must be stated where they say nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from steadyread.cases import Cases, image_marks
from steadyread.errors import InputRefused, UsageError
from steadyread.files import SETTINGS
from steadyread.gates import gate
from steadyread.heads import OUTPUTS
from steadyread.models.factories import BUILT_IN
from steadyread.models.format import FORMATS, Facts, library_of
from steadyread.registry import nearest
from steadyread.study import Model, Study
from steadyread.study.section import in_words
from steadyread.units import Bounds


def refuse_unnamed(stated: Mapping[str, Any], folder: Path, named: object, transform: object = None) -> None:
    """A run's folder may come from a stranger, and a network that is not built in is code, as a transform of images is,
    or an address to which images go: who trusts it names it.

    Raises:
        InputRefused: the folder's study names a factory, an address or a transform, and `named` or `transform`, which
            the user says, is another or None.
    """
    own = (stated.get("preparation") or {}).get("transform")
    if own is not None and own != transform:
        raise InputRefused(f"the run {folder} would import and run the code of {own}, named in its {SETTINGS}: if you "
                           f"trust it, give preparation.transform = {own}")
    model = (stated.get("model") or {}).get("name", "vgg16")
    if model not in BUILT_IN and model not in FORMATS and library_of(model) is None and model != named:
        raise InputRefused(f"the run {folder} would import and run the code of {model}, named in its {SETTINGS}: "
                           f"if you trust it, give model.name = {model}")
    if model in FORMATS and FORMATS[model].address and model != named:
        raise InputRefused(f"the run {folder} would send images to {stated['model'].get('weights')}, named in its "
                           f"{SETTINGS}: if you trust it, give model.name = {model}")


def with_findings(study: Study) -> Study:
    """The study with the findings that the network's own files name, where it states none.

    Raises:
        UsageError: the network returns several findings that nothing names, some are named of a network of classes, or
            a gate is of one that is not assessed.
        InputRefused: the files cannot be read.
    """
    model = study.model
    if model.whole and not model.findings:
        facts = model.facts()
        named = facts.settings.get("model", {}).get("findings", ())
        if facts.findings and not named:
            raise UsageError(f"{model.weights} returns {facts.findings} findings, each with a sigmoid of its own, and "
                             "does not name them: state model.findings, all names in the order of its values")
        if named:
            model = _restated(model, named)
    if not model.findings and (model.only or isinstance(model.threshold, dict)):
        raise UsageError("model.only and a threshold for each finding are for a network of several findings: state "
                         "model.findings, all names in the order of its values")
    for asked in map(gate, study.gates.fail_below if model.findings else ()):
        if asked.of and asked.of not in model.assessed:
            raise UsageError(f"the gate '{asked}': no finding '{asked.of}' is assessed"
                             f"{nearest(asked.of, model.assessed)}")
    return study if model is study.model else study.model_copy(update={"model": model})


def _restated(model: Model, findings: Sequence[str]) -> Model:
    """The section with the findings that a file names, checked again.

    Raises:
        InputRefused: they cannot be told apart.
        UsageError: what is stated does not fit them.
    """
    try:
        Model(findings=tuple(findings))
    except UsageError as problem:
        raise InputRefused(f"{model.weights} names findings that cannot stand: {problem}. State model.findings, all "
                           "names in the order of its values") from problem
    try:
        return Model.model_validate(model.model_dump(exclude_unset=True) | {"findings": findings})
    except ValidationError as problem:
        raise UsageError(f"model.{in_words(problem)}") from problem


def refuse_unstated(study: Study, facts: Facts, images: Bounds) -> None:
    """Weights that say nothing of themselves: what they were made for must be stated, not guessed. The range of the
    `images` may be that which they were made for."""
    stated = study.model.model_fields_set | facts.settings.get("model", {}).keys()
    missing = [key for key, there in (
        ("data.path", study.data.path is not None),
        (f"model.bounds LO,HI ({images.low:g},{images.high:g} is the range of these images)", "bounds" in stated),
        (f"model.output HEAD ({', '.join(OUTPUTS)})", "output" in stated)) if not there]
    if missing:
        scale = ("" if "normalise" in stated else ", and model.normalise (unit, symmetric, imagenet, MEAN,SD) where "
                 "the network wants other values than the images hold")
        raise UsageError(f"the weights {study.model.weights} do not say what they were made for: give "
                         f"{', '.join(missing)}{scale}")


def settings_of(card: Mapping[str, Any], study: Study, raw: Cases) -> dict[str, Any]:
    """What a model of ours says of itself, as settings; its split too where it was trained on these very data.

    Raises:
        InputRefused: it names code to import, which a stranger's file must not choose.
    """
    settings = {"model": model_of_card(card, study.model)}
    if "preparation" in card:
        settings["preparation"] = _trusted(card["preparation"], study)
    if "split" in card and card.get("data") == {"name": raw.name, "images": len(raw)} and _knows(card, raw):
        settings |= {"split": card["split"], "data": {"limit": card.get("limit")}}
    return settings


def model_of_card(card: Mapping[str, Any], stated: Model) -> dict[str, Any]:
    """What weights of ours say of their network, as keys of [model].

    Raises:
        InputRefused: they name code to import, and nothing else is stated.
    """
    named = card.get("model")
    if named not in BUILT_IN and "name" not in stated.model_fields_set:
        raise InputRefused(f"{stated.weights} is for the network '{named}', which is not built in: if you "
                           f"trust that code, give model.name = {named}")
    return {"name": named} | {key: card[key] for key in ("arguments", "output", "normalise", "threshold", "window")
                              if key in card}


def _trusted(preparation: dict[str, Any], study: Study) -> dict[str, Any]:
    """What images went through, if the user names the code that it names.

    Raises:
        InputRefused: it names a transform that the user does not.
    """
    own = preparation.get("transform")
    if own is not None and own != study.preparation.transform:
        raise InputRefused(f"{study.model.weights} is for images through {own}: if you trust that code, give "
                           f"preparation.transform = {own}")
    return preparation


def _knows(card: Mapping[str, Any], raw: Cases) -> bool:
    """Whether a network was trained on some of these images: a name and a count may be those of another set.

    Images are read until the first that it knows.
    """
    taught = card.get("taught")
    if not isinstance(taught, Mapping):
        return True    # a card of before that was told
    known = set(taught.get("images", ()))
    return any(image_marks(raw.pick([place]))[0] in known for place in range(len(raw)))
