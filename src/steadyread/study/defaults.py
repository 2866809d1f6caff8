"""What a study has where it states nothing: by the layout that the data turn out to have, and by network."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from steadyread.cases import READERS
from steadyread.study.reading import checked
from steadyread.study.section import Settings, laid_over
from steadyread.study.sections import Study
from steadyread.training.fit import TrainingSettings
from steadyread.units import Bounds

SYNTHETIC = "synthetic"      # the layout of images that are made
_SYNTHETIC: Settings = {"preparation": {"window": (-1000.0, 400.0), "crop": 48}, "training": {"epochs": 30}}
# What a network of ours is made and fed with, unless stated: 16 to 128 features, one convolution a stage.
_VGG: Settings = {"model": {"arguments": {"width": 0.25, "norm": True, "convolutions": [1, 1, 1, 1, 1]},
                            "normalise": "symmetric"}}
_OURS: Mapping[str, Settings] = {
    "vgg16": _VGG,
    "nodule_cnn": {"model": {"arguments": {"width": 0.25}, "normalise": "symmetric", "output": "logit",
                             "window": (-1000.0, 400.0)}}}
# Nothing is trained where weights are given: all images are assessed, unless a split is asked for.
_GIVEN: Settings = {"split": {"test_share": 1.0, "validation_share": 0.0}}
# Of 8-bit pictures whole grey levels: what lies below one is no change of a stored picture. Else [A] Table 1's.
_GREY_LEVELS = tuple(f"{count} grey levels" for count in (1, 2, 4, 8))
_SHARES = tuple(f"{share} range" for share in (0.001, 0.002, 0.004, 0.006))


def defaults_of(layout: str) -> Settings:
    """What a study has by the layout that its data turn out to have; what it states, or a flag, stands above it."""
    return _SYNTHETIC if layout == SYNTHETIC else dict(READERS[layout].defaults) if layout in READERS else {}


def with_epsilons(study: Study, bounds: Bounds) -> Study:
    """The study with the sizes of its attacks, by the images' unit and range where none are stated."""
    if study.attacks.epsilons is not None or not study.linf:
        return study
    sizes = _GREY_LEVELS if (bounds.unit, bounds.range) == ("grey level", 255.0) else _SHARES
    return study.model_copy(update={"attacks": study.attacks.model_copy(update={"epsilons": sizes})})


def completed(study: Study, layout: str, card: Mapping[str, Any] | None = None) -> Study:
    """The study with the defaults of `layout` under what it states, so that every setting can be read off it.

    A network of the user's own gets images as they are unless it is said what to do with them: only we know
    what ours wants. `card` is what given weights say of themselves, in settings; it stands above the defaults.
    """
    usual = defaults_of(layout)
    below = dict(usual)
    if study.model.weights is not None:
        below = laid_over({key: value for key, value in below.items() if key != "training"},
                          {} if study.keeps_for_hardening else _GIVEN)
    else:
        below = laid_over({"training": {}}, below)
    if study.model.built_in:
        name = _stated(study).get("model", {}).get("name") or below.get("model", {}).get("name", "vgg16")
        ours = _OURS.get(name, {"model": {"normalise": "symmetric"}})
        below = laid_over(_pretrained(study.model.pretrained) if study.model.pretrained else ours, below)
    else:
        below.pop("preparation", None)
    if study.preparation.transform is not None:    # it does what is to be done: no other size or window is added
        below, card = ({key: value for key, value in settings.items() if key != "preparation"}
                       for settings in (below, card or {}))
    if study.noise is not None:
        below = _noise_before_the_window(below if study.linf else
                                         {key: value for key, value in below.items() if key != "attacks"})
    whole = laid_over(laid_over(below, card or {}), _stated(study))
    if study.hardening is not None:
        taught = laid_over(usual.get("training", {}), whole.get("training") or {})
        whole["hardening"]["training"] = asdict(TrainingSettings(**laid_over(taught, study.hardening.training)))
    if study.model.weights is not None:
        whole["training"] = None
    else:
        whole["training"] = asdict(TrainingSettings(**whole["training"]))
    return checked(whole, "the settings")


def _pretrained(path: str) -> Settings:
    """ImageNet weights are of the whole VGG16, and of images normalised as theirs were."""
    return {"model": {"normalise": "caffe" if path.endswith((".h5", ".hdf5")) else "imagenet"}}


def _noise_before_the_window(below: Settings) -> Settings:
    """Where noise is added the images stay whole, and the network clips them to the window that it wants."""
    preparation = dict(below.get("preparation", {}))
    window = preparation.pop("window", None)
    model = {} if window is None else {"model": {"window": window}}
    return laid_over(below | {"preparation": preparation}, model)


def _stated(study: Study) -> Settings:
    """What was stated of a study, without what its sections have by default."""
    stated: Settings = study.model_dump(exclude_unset=True)
    return {key: value for key, value in stated.items() if value is not None or key != "training"}


