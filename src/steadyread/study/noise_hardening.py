"""The section of a study of CT noise that says how its networks are hardened against it, and how that is judged."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from steadyread.errors import UsageError
from steadyread.metrics.reads import CT_NOISE
from steadyread.registry import METHODS
from steadyread.study.hardening import refuse_unfit
from steadyread.study.noise_attacks import refuse_unknown_attacks
from steadyread.study.section import MOST, Count, Dose, Section, Settings, Size, compared_with
from steadyread.training.perturbed import Kind

BEFORE = "before"
UNTAUGHT = ("drift", "none")     # what hardens without a training, or is no hardening


def _method(name: str) -> str:
    if name not in UNTAUGHT:
        METHODS.named(name, "noise.hardening.method", (*METHODS.against(CT_NOISE), *UNTAUGHT))
    return name


class Judged(Section):
    """What is tried on the test and training images with each hardened network, as `noise.test` has it."""

    test: dict[str, Settings] = {"random": {}, "rings": {}, "plausible": {"mas": [100.0]}}
    train: dict[str, Settings] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for part, stated in (("test", self.test), ("train", self.train)):
            refuse_unknown_attacks(stated, f"noise.hardening.judged.{part}")
        return self


class NoiseHardening(Section):
    """Hardening against CT noise: [B]'s adaptive training (Algorithm 2, doi:10.1088/1361-6560/abc812) or others.

    `method` is one of `steadyread.training.noise_settings`, or `drift` (no training: margins are corrected by what
    noise of a dose does to them on average, from `draws` draws on training images), or `none` (the network as it
    is). `variant` names the network of the study that it begins with. `epsilon` is for `pgd`: a size with its unit,
    or "auto". `training` is laid over the study's own training. `judged` says by which noise the network
    is judged before and after; `judged_compared` those that it is compared with, where otherwise. `compare` names
    these, each with what differs from this one. They get as many passes through the network as this one took,
    unless they state `epochs`.
    """

    method: Annotated[str, AfterValidator(_method)] = "adaptive"
    variant: str = "original"
    noise: Kind = "rings"
    mas: Annotated[tuple[Dose, ...], Field(min_length=1)] | None = None
    judged_mas: Dose = 100.0
    rounds: Count = 2
    starts: Count = 1
    epochs: Count | None = None
    steps: Count | None = None
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    epsilon: Literal["auto"] | Size = "auto"
    auc_cost: Annotated[float, Field(ge=0, lt=1)] = 0.01
    auc_stop: Annotated[float, Field(ge=0, lt=1)] = 0.05
    draws: Annotated[int, Field(ge=2, le=MOST)] = 50
    training: Settings = {}
    judged: Judged = Judged()
    judged_compared: Judged | None = None
    compare: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")], Settings] = {}

    @property
    def whole(self) -> Mapping[str, "NoiseHardening"]:
        """Every hardening by name: this one by its method, then those that it is compared with."""
        # epochs are what the passes afford, and steps are another thing in a hunt than in a batch
        own = self.model_dump(exclude={"compare", "judged_compared", "epochs", "steps"}, exclude_unset=True)
        if self.judged_compared is not None:
            own["judged"] = self.judged_compared.model_dump()
        return {self.method: self.model_copy(update={"compare": {}}),
                **compared_with(NoiseHardening, own, self.compare, "noise.hardening.compare")}

    @model_validator(mode="after")
    def _known(self) -> Self:
        refuse_unfit(self, self.training, self.compare, "noise.hardening")
        if self.method in self.compare:
            raise UsageError(f"noise.hardening.compare.{self.method}: that name is the study's own; give it another")
        if self.compare:
            _ = self.whole
        return self


# Settings that one of the methods looks at and others do not.
_USED: Mapping[str, tuple[str, ...]] = {
    "noise": ("adaptive",), "rounds": ("adaptive",), "starts": ("adaptive",), "auc_stop": ("adaptive",),
    "mas": ("adaptive", "fresh", "augment"), "steps": ("adaptive", "fresh", "pgd"),
    "share": ("fresh", "augment", "pgd"), "epsilon": ("pgd",), "draws": ("drift",),
    **dict.fromkeys(("epochs", "auc_cost", "training"), ("adaptive", "fresh", "augment", "pgd", "clean"))}


def refuse_idle(asked: NoiseHardening) -> None:
    """Refuses a setting that its method does not look at: it says something else than was meant.

    What a compared method inherits is no setting of its own, and what has its default value was not stated.
    """
    own = [key for key in _USED if getattr(asked, key) != NoiseHardening.model_fields[key].default]
    _refuse(asked.method, own, "noise.hardening")
    for name, stated in asked.compare.items():
        _refuse(str(stated.get("method", asked.method)), stated, f"noise.hardening.compare.{name}")


def _refuse(method: str, stated: Iterable[str], where: str) -> None:
    for key in stated:
        if method not in _USED.get(key, (method,)):
            raise UsageError(f"{where}.{key} is for method {' or '.join(_USED[key])}, and the method is "
                             f"'{method}': leave it out")
