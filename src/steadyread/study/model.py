"""The section of a study file that states the network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from steadyread.errors import UsageError
from steadyread.files import is_regular
from steadyread.heads import SINGLE, Output
from steadyread.models.format import FORMATS, Facts, library_of, source_of
from steadyread.models.loading import hyper_parameters, read_card
from steadyread.models.scales import Word
from steadyread.names import folded, folder_name
from steadyread.registry import nearest
from steadyread.study.section import FileName, Pair, Positive, Section, Settings

Threshold = Annotated[float, Field(gt=0, lt=1)]


class Model(Section):
    """The network, and what must be stated of it to attack it.

    `name` is built in (vgg16), package.module:factory, file.py:factory, or a file or folder of a format that holds
    the whole network (then `name` becomes the format and `weights` the path; see `steadyread.models.format`).
    `normalise` is what stands between native units and
    the network: "none", "unit" (the bounds become 0 to 1), "symmetric" (-1 to 1), or [mean, deviation] in
    native units, or the means of all channels and then their deviations, or "imagenet" or "caffe": what ImageNet
    weights from torchvision or Keras were trained with, in these bounds. `pretrained` is a file of ImageNet
    weights that the convolutions begin with. `bounds` are the valid native values; the prepared images' own if
    None. `window` is what the network's input is clipped to before it is scaled,
    in native units: unlike `preparation.window` it leaves the images whole, so that noise is added before it.
    `unit` is that of the bounds ("HU"), which the images must have. `channels` of the images that it takes, and
    `classes`, the names of what it returns in its order, stand above what its files say. `claimed` are figures that
    its authors give for it, such as {accuracy = 0.934}, from 0 to 1. With `hyper_parameters` a factory is handed those
    that Lightning keeps in its checkpoint, under the `arguments` that are stated.

    All of this may stand in a file beside the weights, [model] and [preparation] alone: `name` is then that file,
    NET.toml, paths in it begin at its own folder, and what a study states besides stands above it.
    """

    name: str = "vgg16"
    weights: FileName | None = None
    pretrained: FileName | None = None
    arguments: Settings = {}
    hyper_parameters: bool = False
    bounds: Pair | None = None
    output: Output = "logits"
    normalise: Word | tuple[float, ...] = "none"
    threshold: Threshold | dict[str, Threshold] = 0.5
    window: Pair | None = None
    unit: str | None = None
    channels: Positive | None = None
    classes: tuple[str, ...] = ()
    claimed: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    findings: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether `weights` hold the network too."""
        return self.name in FORMATS

    def facts(self) -> Facts:
        """What the network's own files say of it, and above it what is stated.

        Raises:
            InputRefused: they cannot be read, or would run code.
        """
        known = FORMATS[self.name] if self.whole else None
        if self.hyper_parameters and self.weights is not None and not self.whole:
            facts = Facts({"model": {"arguments": hyper_parameters(Path(self.weights).expanduser(), self.name)}})
        else:
            library = library_of(self.name)
            facts = (known.facts_of(known.place(str(self.weights))) if known is not None else
                     library[0].facts_of(library[1]) if library is not None else Facts())
        return replace(facts, classes=self.classes or facts.classes, channels=self.channels or facts.channels)

    @property
    def says_its_head(self) -> bool:
        """Whether the weights' own card, or the network's files, state what it returns.

        Raises:
            InputRefused: they cannot be read, or would run code.
        """
        if self.weights is not None and not self.whole and read_card(self.weights) is not None:
            return True
        return "output" in self.facts().settings.get("model", {})

    @property
    def title(self) -> str:
        """What the network is called: its name, or that of the file that holds it."""
        return Path(str(self.weights)).stem if self.whole else self.name

    @property
    def built_in(self) -> bool:
        """Whether the network is one of ours rather than a factory or a file of the user's."""
        return ":" not in self.name and not self.whole

    @property
    def assessed(self) -> tuple[str, ...]:
        """The findings that are assessed; none of a network of classes."""
        return self.only or self.findings

    @property
    def thresholds(self) -> dict[str, float]:
        """The findings, each with its threshold: 0.5 where a table leaves one out."""
        stated = self.threshold if isinstance(self.threshold, dict) else dict.fromkeys(self.findings, self.threshold)
        return {name: stated.get(name, 0.5) for name in self.findings}

    def of(self, finding: str) -> Self:
        """The same of one finding."""
        return self.model_copy(update={"only": (finding,), "threshold": self.thresholds[finding]})

    @model_validator(mode="before")
    @classmethod
    def _source(cls, stated: Any) -> Any:
        """A file or folder that holds the whole network: its format is the network's name, its path the weights.
        Weights of ours say themselves which network they are of."""
        name = stated.get("name") if isinstance(stated, Mapping) else None
        if not isinstance(name, str) or stated.get("weights") is not None:
            return stated
        if name.lower().endswith(".safetensors") and is_regular(Path(name).expanduser()) and read_card(name):
            return {**{key: value for key, value in stated.items() if key != "name"}, "weights": name}
        found = source_of(name)
        return stated if found is None else {**stated, "name": found[0], "weights": found[1]}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.whole and self.weights is None:
            raise UsageError(f"model.name: give the network's own path, {self.name}:PATH, or PATH alone")
        for name, pair in (("bounds", self.bounds), ("window", self.window)):
            if pair is not None and not pair[0] < pair[1]:
                raise UsageError(f"model.{name} must be LOW,HIGH with LOW below HIGH; got {list(pair)}")
        if self.findings:
            _refuse_misnamed(self)
        if isinstance(self.normalise, tuple):
            half = len(self.normalise) // 2
            if not half or len(self.normalise) % 2 or min(self.normalise[half:]) <= 0:
                raise UsageError("model.normalise takes MEAN,SD in native units, or all channels' means and then "
                                 f"their deviations, deviations above 0; got {list(self.normalise)}")
        return self


def _refuse_misnamed(model: Model) -> None:
    """Findings that cannot be told apart or are no names of folders, others than there are, and outputs of classes.

    Raises:
        UsageError: there are such.
    """
    known: dict[str, str] = {}
    for name in model.findings:
        other = known.setdefault(folded(name), name)
        if name != folder_name(name) or not folded(name) or folded(name) == "original":
            raise UsageError("model.findings: a finding's name is that of a folder: letters, digits, '_', '-', '.' and "
                             f"spaces, not 'original'; got {name[:80]!r}")
        if model.findings.count(name) > 1 or other != name:
            raise UsageError(f"model.findings names one finding twice: '{other}' and '{name}'")
    for key, names in (("only", model.only), ("threshold", model.threshold)):
        for name in names if isinstance(names, tuple | dict) else ():
            if name not in model.findings:
                raise UsageError(f"model.{key}: no finding '{name}'{nearest(name, model.findings)}")
    if "output" in model.model_fields_set and model.output not in SINGLE:
        raise UsageError(f"model.output of findings is {' or '.join(SINGLE)}, the value of each; got '{model.output}'")
