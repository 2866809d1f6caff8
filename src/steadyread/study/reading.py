"""A whole experiment as a file: data, preparation, split, model, training, attacks and gates, checked key by key.

A study is read from TOML, every flag of the command line overrides one of its keys, and what neither states
comes from the table of `DEFAULTS` for the layout that the data turn out to have.
"""

import inspect
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
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
    ValidationError,
    model_validator,
)

from steadyread.attacks.registry import RECIPES
from steadyread.cases import Preparation
from steadyread.classifier import Output
from steadyread.errors import InputRefused, UsageError
from steadyread.metrics.gates import gate
from steadyread.training.fit import TrainingSettings
from steadyread.units import RANGE, Bounds, size_in_native

Settings = dict[str, Any]


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
        _refuse_unknown(stated, [field.name for field in fields(TrainingSettings)], "training.")
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


class Model(_Section):
    """The network, and what must be stated of it to attack it.

    `name` is built in (vgg16) or package.module:factory. `normalise` is what stands between native units and
    the network: "none", "unit" (the bounds become 0 to 1), "symmetric" (-1 to 1), or [mean, deviation] in
    native units, or the means of all channels and then their deviations. `bounds` are the valid native values;
    the prepared images' own if None.
    """

    name: str = "vgg16"
    weights: str | None = None
    arguments: Settings = {}
    bounds: Pair | None = None
    output: Output = "logits"
    normalise: Literal["none", "unit", "symmetric"] | tuple[float, ...] = "none"
    threshold: float = Field(default=0.5, gt=0, lt=1)

    @property
    def built_in(self) -> bool:
        """Whether the network is one of ours rather than a factory of the user's."""
        return ":" not in self.name

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise UsageError(f"model.bounds must be LOW,HIGH with LOW below HIGH; got {list(self.bounds)}")
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
                raise UsageError(f"attacks: no attack '{name}'{_nearest(name, RECIPES)}")
        for name, stated in self.settings.items():
            takes = [key for key in inspect.signature(RECIPES[name]).parameters if key not in ("epsilon", "name")]
            _refuse_unknown(stated, takes, f"attacks.settings.{name}.")
        if not (self.use and self.epsilons) and not self.smallest_flip:
            raise UsageError("attacks: nothing to try; state 'use' and 'epsilons', or smallest_flip = true")
        return self


class Triage(_Section):
    """Which share of the reads is withheld for a human."""

    withhold: float = Field(default=0.2, gt=0, lt=1)


class Gates(_Section):
    """Figures that must be reached, such as "robust_accuracy@0.002 range=0.5"; else the exit code is 1."""

    fail_below: tuple[Gate, ...] = ()


class Study(_Section):
    """One experiment. `training` is None where the weights are given."""

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

    def rooted(self, folder: Path | None) -> "Study":
        """The study with a relative path of its data beginning at `folder`."""
        if folder is None or self.data.path is None:
            return self
        data = self.data.model_copy(update={"path": str(folder / self.data.path)})
        return self.model_copy(update={"data": data})


_LUNG: Settings = {"preparation": {"window": (-1000.0, 400.0), "crop": 64}}
# By the layout that the data turn out to have; what a study or a flag states stands above it. The sizes are
# what a narrow VGG learns from in minutes on two CPU cores; the epsilons are those of [A] Table 1 unless its
# curves for that set begin elsewhere.
DEFAULTS: Mapping[str, Settings] = {
    "synthetic": {"preparation": {"window": (-1000.0, 400.0), "crop": 48}, "training": {"epochs": 30}},
    "lidc": _LUNG,
    "mini-mias": {"preparation": {"size": 64}},
    "cbis-ddsm": {"preparation": {"size": 96}},
    "idx": {"data": {"limit": 12_000}, "training": {"epochs": 6, "flips": False, "rotation_degrees": 10.0},
            "attacks": {"epsilons": ("0.05 range", "0.1 range", "0.2 range", "0.3 range"), "limit": 500}},
    "cifar-10": {"model": {"arguments": {"dropout": 0.2}},
                 "training": {"epochs": 25, "weight_decay": 0.005, "max_norm": None, "rotation_degrees": 0.0},
                 "attacks": {"epsilons": ("0.001 range", "0.002 range", "0.004 range", "0.008 range"),
                             "limit": 500}},
    "medmnist": {"data": {"limit": 12_000}, "attacks": {"limit": 500}},
    "csv": {"preparation": {"size": 64}},
    "folders": {"preparation": {"size": 64}},
}
# What a network of ours is made and fed with, unless stated: 16 to 128 features, one convolution a stage.
_OURS: Settings = {"model": {"arguments": {"width": 0.25, "norm": True, "convolutions": [1, 1, 1, 1, 1]},
                             "normalise": "symmetric"}}
# Nothing is trained where weights are given: four fifths are assessed, the rest sets the threshold of triage.
_GIVEN: Settings = {"split": {"test_share": 0.8, "validation_share": 0.0}}


def read_study(path: str | Path | None = None, *overrides: Mapping[str, Any]) -> Study:
    """The study in a TOML file (an empty one if None), with `overrides`, nested like the file, laid over it.

    Raises:
        InputRefused: no such file, or not TOML.
        UsageError: an unknown key (with the nearest known one), or a value that does not fit its key.
    """
    stated: Settings = {} if path is None else _toml(Path(path))
    if path is not None:
        stated.setdefault("name", Path(path).stem)
    for above in overrides:
        stated = laid_over(stated, above)
    return _checked(stated, str(path) if path is not None else "the settings")


def completed(study: Study, layout: str, card: Mapping[str, Any] | None = None) -> Study:
    """The study with the defaults of `layout` under what it states, so that every setting can be read off it.

    A network of the user's own gets images as they are unless it is said what to do with them: only we know
    what ours wants. `card` is what given weights say of themselves, in settings; it stands above the defaults.
    """
    below = dict(DEFAULTS.get(layout, {}))
    if study.model.weights is not None:
        below = laid_over({key: value for key, value in below.items() if key != "training"}, _GIVEN)
    else:
        below = laid_over({"training": {}}, below)
    if study.model.built_in:
        below = laid_over(_OURS, below)
    else:
        below.pop("preparation", None)
    whole = laid_over(laid_over(below, card or {}), _stated(study))
    if study.model.weights is not None:
        whole["training"] = None
    else:
        whole["training"] = asdict(TrainingSettings(**whole["training"]))
    return _checked(whole, "the settings")


def override(text: str) -> Settings:
    """One `key=value` as the command line's --set takes it: a dotted key and a TOML value (or bare text).

    Raises:
        UsageError: no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes KEY=VALUE, such as attacks.settings.pgd.steps=20; got '{text}'")
    for written in (value, json.dumps(value.strip())):
        try:
            return tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
    raise UsageError(f"--set takes KEY=VALUE with a dotted key; got '{text}'")


def keyed(**flags: Any) -> Settings:
    """Flags as nested settings: `data__path=...` is data.path; those that are None are left out."""
    nested: Settings = {}
    for flag, value in flags.items():
        if value is None:
            continue
        for part in reversed(flag.split("__")):
            value = {part: value}
        nested = laid_over(nested, value)
    return nested


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """`above` over `below`, tables merged, everything else replaced."""
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        merged[key] = laid_over(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return merged


def _stated(study: Study) -> Settings:
    """What was stated of a study, without what its sections have by default."""
    stated: Settings = study.model_dump(exclude_unset=True)
    return {key: value for key, value in stated.items() if value is not None or key != "training"}


def _toml(path: Path) -> Settings:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8 text"
        raise InputRefused(f"cannot read the study {path}: {reason}") from problem
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{path} is not TOML: {problem}") from problem


def _checked(stated: Mapping[str, Any], where: str) -> Study:
    try:
        return Study.model_validate(stated)
    except ValidationError as problem:
        raise UsageError(f"{where}: {_first(problem)}") from problem


def _first(problem: ValidationError) -> str:
    """The first complaint of pydantic, in the user's own words; an unknown key goes before others."""
    found = sorted(problem.errors(), key=lambda one: one["type"] != "extra_forbidden")[0]
    place = [str(part) for part in found["loc"]]
    if found["type"] == "extra_forbidden":
        return f"unknown key '{'.'.join(place)}'{_nearest(place[-1], _keys_at(place[:-1]))}"
    message = found["msg"][0].lower() + found["msg"][1:]
    return f"{'.'.join(part for part in place if '[' not in part)}: {message}; got {found['input']!r}"


def _keys_at(place: list[str]) -> list[str]:
    section: Any = Study
    for part in place:
        section = section.model_fields[part].annotation
    return list(section.model_fields)


def _refuse_unknown(stated: Mapping[str, Any], known: list[str], before: str) -> None:
    for key in stated:
        if key not in known:
            raise UsageError(f"unknown key '{before}{key}'{_nearest(key, known)}")


def _nearest(key: str, known: Any) -> str:
    near = get_close_matches(key, list(known), 1, 0.5)
    return f": did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"
