"""The sections of a study of CT noise."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadyread.classifier import Output
from steadyread.errors import UsageError
from steadyread.study.section import Positive, Section, Settings, nearest, refuse_unknown

# What can be tried with CT noise, and the settings each takes.
_STARTS = ("mas", "starts")
NOISE_ATTACKS: Mapping[str, tuple[str, ...]] = {
    "random": ("mas", "draws"), "inflated": ("mas", "draws"), "paper": (*_STARTS, "iterations"),
    "paper_hu": (*_STARTS, "iterations"), "pooled": (*_STARTS, "iterations"), "rings": (*_STARTS, "steps"),
    "plausible": (*_STARTS, "steps")}


def _refuse_setting(where: str, key: str, value: object) -> None:
    """Doses must be positive numbers, everything else a count."""
    if key == "mas":
        if not isinstance(value, list | tuple) or not value or not all(
                isinstance(dose, int | float) and 0 < dose < float("inf") for dose in value):
            raise UsageError(f"{where} must be doses in mAs, such as [10, 100]; got {value!r}")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where} must be a whole number of at least 1; got {value!r}")


class Noise(Section):
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


class Variant(Section):
    """A network that is trained and assessed beside the study's own, under the name of its table.

    `arguments` stand over the model's ({"variant": NAME} for a built-in network). `labels` = "rating" teaches it
    the reader's rating instead of the class.
    """

    arguments: Settings | None = None
    labels: Literal["class", "rating"] = "class"
    output: Output | None = None
