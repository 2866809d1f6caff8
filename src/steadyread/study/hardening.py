"""The section of a study that says how its network is hardened after it was trained."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from steadyread.errors import UsageError
from steadyread.metrics.reads import LINF
from steadyread.registry import METHODS
from steadyread.study.section import Positive, Section, Settings, Size, compared_with, refuse_unknown
from steadyread.training.fit import TrainingSettings

AUTO = "auto"


def _method(name: str) -> str:
    return METHODS.named(name, "hardening.method", METHODS.against(LINF)).name


class Hardening(Section):
    """Adversarial training ([A] section "Adversarial training", doi:10.1200/CCI.21.00170) or one of its kin.

    `epsilon` is a size with its unit, several of them for stages (ascending, `epochs` likewise one or one a
    stage), or "auto": found from the smallest flips of the training images. `training` is laid over the study's
    own training (optimiser, learning rate, batch, augmentation). `scratch` begins with an untrained network.
    `compare` names further hardenings, each with what differs from this one; they are judged on the same images.
    The other keys are those of `steadyread.training.harden.HardeningSettings`.
    """

    method: Annotated[str, AfterValidator(_method)] = "pgd"
    epsilon: Literal["auto"] | Size | tuple[Size, ...] = AUTO
    epochs: Positive | tuple[Positive, ...] = 15
    steps: Positive = 7
    step: Annotated[float, Field(gt=0, le=2)] = 0.25
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    beta: Annotated[float, Field(gt=0)] = 6.0
    clean_cost: Annotated[float, Field(ge=0, lt=1)] = 0.02
    patience: Positive | None = None
    judged: Positive = 256
    scratch: bool = False
    training: Settings = {}
    compare: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")], Settings] = {}

    @property
    def stages(self) -> tuple[tuple[str, int], ...]:
        """The stages: a size as typed (or "auto") and the epochs at it."""
        sizes = (self.epsilon,) if isinstance(self.epsilon, str) else self.epsilon
        epochs = (self.epochs,) * len(sizes) if isinstance(self.epochs, int) else self.epochs
        return tuple(zip(sizes, epochs, strict=True))

    @property
    def compared(self) -> Mapping[str, "Hardening"]:
        """The further hardenings by name, whole."""
        own = self.model_dump(exclude={"compare"}, exclude_unset=True)
        return compared_with(Hardening, own, self.compare, "hardening.compare")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_unfit(self, self.training, self.compare, "hardening")
        sizes = 1 if isinstance(self.epsilon, str) else len(self.epsilon)
        if not sizes or (not isinstance(self.epochs, int) and len(self.epochs) != sizes):
            raise UsageError(f"hardening: epochs must be one number or one a stage; got {_count(self.epochs)} for "
                             f"{sizes} sizes of epsilon")
        if self.compare:
            _ = self.compared
        return self


def refuse_unfit(section: Section, training: Settings, compare: Mapping[str, Settings], where: str) -> None:
    """Refuses what no training can have, and keys that a hardening to compare with does not know."""
    refuse_unknown(training, [field.name for field in fields(TrainingSettings)], f"{where}.training.")
    TypeAdapter(TrainingSettings).validate_python(training)
    for name, stated in compare.items():
        refuse_unknown(stated, [key for key in type(section).model_fields if key != "compare"],
                       f"{where}.compare.{name}.")


def _count(value: Any) -> str:
    return "one" if isinstance(value, int) else str(len(value))
