"""The sections of a study file, each checked key by key."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from steadyread.attacks.registry import RECIPES
from steadyread.cases import Preparation
from steadyread.classifier import Output
from steadyread.errors import UsageError
from steadyread.metrics.gates import gate
from steadyread.training.fit import TrainingSettings
from steadyread.units import RANGE, Bounds, size_in_native

Settings = dict[str, Any]
# What can be tried with CT noise, and the settings each takes.
_STARTS = ("mas", "starts")
NOISE_ATTACKS: Mapping[str, tuple[str, ...]] = {
    "random": ("mas", "draws"), "inflated": ("mas", "draws"), "paper": (*_STARTS, "iterations"),
    "paper_hu": (*_STARTS, "iterations"), "pooled": (*_STARTS, "iterations"), "rings": (*_STARTS, "steps"),
    "plausible": (*_STARTS, "steps")}


def _size(text: object) -> object:
    """A size with a unit; which unit the images have is known only when they are read."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(text)
    if isinstance(text, str):
        number = text.strip()[:1] in tuple("0123456789.")
        unit = text.lstrip(" 0123456789.eE+-").strip() if number else ""
        size_in_native(text, Bounds(0, 1, "" if unit == RANGE else unit))
    return text


def _gate(text: str) -> str:
    gate(text)
    return text


def _training(stated: dict[str, Any] | None) -> dict[str, Any] | None:
    if stated is not None:
        refuse_unknown(stated, [field.name for field in fields(TrainingSettings)], "training.")
        TypeAdapter(TrainingSettings).validate_python(stated)
    return stated


Size = Annotated[str, BeforeValidator(_size)]
Gate = Annotated[str, AfterValidator(_gate)]
Positive = Annotated[int, Field(gt=0)]
Pair = tuple[float, float]
OneOrEach = Positive | tuple[Positive, ...]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(_Section):
    """Where the images are. Without a path: `synthetic` nodules, made from formulas."""

    path: str | None = None
    layout: str | None = None
    options: Settings = {}          # what the layout's reader takes, such as channels = "grey"
    limit: Positive | None = None   # images drawn by class from the whole set, before it is split
    synthetic: Positive = 1000


class Preparing(_Section):
    """See `steadyread.cases.Preparation`."""

    window: Pair | None = None
    spacing_mm: float | tuple[float, ...] | None = None
    crop: OneOrEach | None = None
    size: OneOrEach | None = None

    def preparation(self) -> Preparation:
        """The same, as the cases take it."""
        return Preparation(self.window, self.spacing_mm, self.crop, self.size)


class Splitting(_Section):
    """See `steadyread.cases.split`. `seed`: the study's, if None. `balance`: as many images of each class."""

    test_share: float = Field(default=1 / 3, ge=0, lt=1)
    validation_share: float = Field(default=0.2, ge=0, lt=1)
    official: bool = True
    balance: bool = False
    seed: int | None = None
    folds: Annotated[int, Field(ge=2)] | None = None   # of cross-validation on what is not for testing


class Model(_Section):
    """The network, and what must be stated of it to attack it.

    `name` is built in (vgg16) or package.module:factory. `normalise` is what stands between native units and
    the network: "none", "unit" (the bounds become 0 to 1), "symmetric" (-1 to 1), or [mean, deviation] in
    native units, or the means of all channels and then their deviations. `bounds` are the valid native values;
    the prepared images' own if None. `window` is what the network's input is clipped to before it is scaled,
    in native units: unlike `preparation.window` it leaves the images whole, so that noise is added before it.
    """

    name: str = "vgg16"
    weights: str | None = None
    arguments: Settings = {}
    bounds: Pair | None = None
    output: Output = "logits"
    normalise: Literal["none", "unit", "symmetric"] | tuple[float, ...] = "none"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    window: Pair | None = None

    @property
    def built_in(self) -> bool:
        """Whether the network is one of ours rather than a factory of the user's."""
        return ":" not in self.name

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, pair in (("bounds", self.bounds), ("window", self.window)):
            if pair is not None and not pair[0] < pair[1]:
                raise UsageError(f"model.{name} must be LOW,HIGH with LOW below HIGH; got {list(pair)}")
        if isinstance(self.normalise, tuple):
            half = len(self.normalise) // 2
            if not half or len(self.normalise) % 2 or min(self.normalise[half:]) <= 0:
                raise UsageError("model.normalise takes MEAN,SD in native units, or all channels' means and then "
                                 f"their deviations, deviations above 0; got {list(self.normalise)}")
        return self


class Attacks(_Section):
    """What is tried. `limit`: at most so many images of each part, drawn by class."""

    epsilons: tuple[Size, ...] = ("0.001 range", "0.002 range", "0.004 range", "0.006 range")
    use: tuple[str, ...] = ("fgsm", "bim", "pgd")
    settings: dict[str, Settings] = {}
    loss: Literal["margin", "cross_entropy"] = "margin"
    against: Literal["label", "prediction", "both"] = "both"
    smallest_flip: bool = True
    largest: Size | None = None     # up to which the smallest flip is searched; the whole range if None
    limit: Positive | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.use, *self.settings):
            if name not in RECIPES:
                raise UsageError(f"attacks: no attack '{name}'{nearest(name, RECIPES)}")
        for name, stated in self.settings.items():
            takes = [key for key in inspect.signature(RECIPES[name]).parameters if key not in ("epsilon", "name")]
            refuse_unknown(stated, takes, f"attacks.settings.{name}.")
        if not (self.use and self.epsilons) and not self.smallest_flip:
            raise UsageError("attacks: nothing to try; state 'use' and 'epsilons', or smallest_flip = true")
        return self


class Triage(_Section):
    """Which share of the reads is withheld for a human."""

    withhold: float = Field(default=0.2, gt=0, lt=1)


class Gates(_Section):
    """Figures that must be reached, such as "robust_accuracy@0.002 range=0.5"; else the exit code is 1."""

    fail_below: tuple[Gate, ...] = ()


def _refuse_setting(where: str, key: str, value: object) -> None:
    """Doses must be positive numbers, everything else a count."""
    if key == "mas":
        if not isinstance(value, list | tuple) or not value or not all(
                isinstance(dose, int | float) and 0 < dose < float("inf") for dose in value):
            raise UsageError(f"{where} must be doses in mAs, such as [10, 100]; got {value!r}")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where} must be a whole number of at least 1; got {value!r}")


class Noise(_Section):
    """CT noise: what is drawn, and what is tried with it on each part.

    `spectrum` is soft, lung or a CSV file (frequency_per_mm, power_hu2_mm2) measured at `reference_mas`. `test`,
    `train` and `variants` name what is tried on the test and training images and on those of the variants:
    random, inflated, paper, paper_hu, pooled, rings, plausible, each with its settings (draws, starts, mas).
    """

    spectrum: str = "soft"
    reference_mas: Annotated[float, Field(gt=0)] | None = None
    mas: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (10, 50, 100, 200, 500)
    domain: Literal["grid", "native"] = "grid"
    mode: Literal["add", "simulate"] = "add"
    spacing_mm: Annotated[float, Field(gt=0)] | None = None   # in the slice; the images' own if None
    test: dict[str, Settings] = {"random": {}, "rings": {}, "plausible": {}}
    train: dict[str, Settings] = {}
    variants: dict[str, Settings] = {"random": {"mas": [100.0]}}
    counted: Annotated[int, Field(ge=0)] = 1000       # draws that judge the flip probability; 0 leaves it out
    pairs: Positive = 60                              # image x dose pairs it is judged on
    converged: Annotated[int, Field(ge=0)] = 60       # test images searched ten times harder; 0 leaves it out

    @model_validator(mode="after")
    def _known(self) -> Self:
        for part, stated in (("test", self.test), ("train", self.train), ("variants", self.variants)):
            for name, settings in stated.items():
                if name not in NOISE_ATTACKS:
                    raise UsageError(f"noise.{part}: no attack '{name}'{nearest(name, NOISE_ATTACKS)}")
                refuse_unknown(settings, NOISE_ATTACKS[name], f"noise.{part}.{name}.")
                for key, value in settings.items():
                    _refuse_setting(f"noise.{part}.{name}.{key}", key, value)
        return self


class Variant(_Section):
    """A network that is trained and assessed beside the study's own, under the name of its table.

    `arguments` stand over the model's ({"variant": NAME} for a built-in network). `labels` = "rating" teaches it
    the reader's rating instead of the class.
    """

    arguments: Settings | None = None
    labels: Literal["class", "rating"] = "class"
    output: Output | None = None


class Study(_Section):
    """One experiment. `training` is None where the weights are given.

    `scale` names which of a study file's tables under [scales] was laid over the rest.
    """

    name: str = Field(default="study", pattern=r"^[\w. -]+$")
    seed: int = 0
    data: Data = Data()
    preparation: Preparing = Preparing()
    split: Splitting = Splitting()
    model: Model = Model()
    training: Annotated[Settings | None, AfterValidator(_training)] = None   # keys of TrainingSettings
    attacks: Attacks = Attacks()
    triage: Triage = Triage()
    gates: Gates = Gates()
    noise: Noise | None = None
    variants: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")], Variant] = {}
    scale: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if "original" in self.variants:
            raise UsageError("variants.original is the study's own network; give the variant another name")
        if self.noise is None and (self.variants or self.split.folds):
            raise UsageError("variants and split.folds are for studies of CT noise: add a [noise] section, or "
                             "leave them out")
        return self

    @property
    def ct_noise(self) -> Noise:
        """The section [noise] of a study that has one."""
        if self.noise is None:
            raise UsageError("the study has no [noise] section; add one")
        return self.noise

    def rooted(self, folder: Path | None) -> "Study":
        """The study with a relative path of its data beginning at `folder`."""
        if folder is None or self.data.path is None:
            return self
        data = self.data.model_copy(update={"path": str(folder / self.data.path)})
        return self.model_copy(update={"data": data})


def refuse_unknown(stated: Mapping[str, Any], known: Sequence[str], before: str) -> None:
    for key in stated:
        if key not in known:
            raise UsageError(f"unknown key '{before}{key}'{nearest(key, known)}")


def nearest(key: str, known: Any) -> str:
    near = get_close_matches(key, list(known), 1, 0.5)
    return f": did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"
