"""The sections of a study of CT noise."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steadyread.errors import UsageError
from steadyread.heads import Output
from steadyread.study.noise_attacks import refuse_unknown_attacks
from steadyread.study.noise_hardening import NoiseHardening, refuse_idle
from steadyread.study.section import MOST, Count, Dose, FileName, Section, Settings


class Seeing(Section):
    """What the original networks see without and with noise: where their evidence lies, which features change.

    `attack` is the noise, at the dose `mas`; plain random noise of that dose is looked at besides. `layer` is the
    convolution of Grad-CAM (the last if None), `feature_layer` that of the features (the first). Attention is
    measured on `images` test images at most; the pictures of `shown` ones are stored.
    """

    attack: Literal["plausible", "rings", "random"] = "plausible"
    mas: Dose = 100.0
    layer: str | None = None
    feature_layer: str | None = None
    images: Count = 126
    shown: Count = 3


class Noise(Section):
    """CT noise: what is drawn, and what is tried with it on each part.

    `spectrum` is soft, lung or a CSV file (frequency_per_mm, power_hu2_mm2) measured at `reference_mas`. `test`,
    `train` and `variants` name what is tried on the test and training images and on those of the variants:
    random, inflated, paper, paper_hu, pooled, rings, plausible, each with its settings (draws, starts, mas).
    """

    spectrum: FileName = "soft"
    reference_mas: Dose | None = None
    mas: Annotated[tuple[Dose, ...], Field(min_length=1, max_length=100)] = (10, 50, 100, 200, 500)
    domain: Literal["grid", "native"] = "grid"
    mode: Literal["add", "simulate"] = "add"
    spacing_mm: Annotated[float, Field(gt=0, ge=0.01, le=100)] | None = None   # in the slice; the images' if None
    test: dict[str, Settings] = {"random": {}, "rings": {}, "plausible": {}}
    train: dict[str, Settings] = {}
    variants: dict[str, Settings] = {"random": {"mas": [100.0]}}
    counted: Annotated[int, Field(ge=0, le=MOST)] = 1000     # draws that judge the flip probability; 0: none
    pairs: Count = 60                              # image x dose pairs it is judged on
    converged: Annotated[int, Field(ge=0, le=MOST)] = 60     # test images searched ten times harder; 0: none
    seeing: Seeing | None = None
    hardening: NoiseHardening | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        for part, stated in (("test", self.test), ("train", self.train), ("variants", self.variants)):
            refuse_unknown_attacks(stated, f"noise.{part}")
        if len(set(self.mas)) < len(self.mas):
            raise UsageError(f"noise.mas names a dose twice; got {list(self.mas)}")
        if self.hardening is not None:
            refuse_idle(self.hardening)
        return self


class Variant(Section):
    """A network that is trained and assessed beside the study's own, under the name of its table.

    `arguments` stand over the model's ({"variant": NAME} for a built-in network). `labels` = "rating" teaches it
    the reader's rating instead of the class.
    """

    arguments: Settings | None = None
    labels: Literal["class", "rating"] = "class"
    output: Output | None = None
