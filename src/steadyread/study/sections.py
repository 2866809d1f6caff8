"""The sections of a study file, each checked key by key."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator

from steadyread.cases import Preparation
from steadyread.cases.geometry import Clip, Fit, Resample
from steadyread.cases.resampling import Interpolation
from steadyread.cases.transform import transform_of
from steadyread.errors import UsageError
from steadyread.files import HARDENED
from steadyread.gates import CLEAN, KEPT, STEADY, Gate, gate
from steadyread.interop.tracker import TRACKERS
from steadyread.limits import MOST_SEED
from steadyread.metrics.reads import ORIGINAL
from steadyread.names import folder_name
from steadyread.registry import ATTACKS, nearest
from steadyread.store import PLAIN
from steadyread.study.hardening import Hardening
from steadyread.study.model import Model
from steadyread.study.noise import Noise, Variant
from steadyread.study.noise_hardening import BEFORE
from steadyread.study.section import FileName, OneOrEach, Pair, Positive, Section, Settings, Size, refuse_unknown
from steadyread.training.fit import TrainingSettings
from steadyread.units import Bounds, size_in_native


def _gate(text: str) -> str:
    gate(text)
    return text


def _run_name(text: str) -> str:
    if folder_name(text) != text:
        raise UsageError("name: a study's name is that of its folder: letters, digits, '_', '-', '.' and spaces, "
                         f"no dot or space first, not too long; got {text[:80]!r}")
    return text


def _training(stated: dict[str, Any] | None) -> dict[str, Any] | None:
    if stated is not None:
        refuse_unknown(stated, [field.name for field in fields(TrainingSettings)], "training.")
        TypeAdapter(TrainingSettings).validate_python(stated)
    return stated


def _tracker(name: str) -> str:
    return TRACKERS.named(name, "track").name


GateText = Annotated[str, AfterValidator(_gate)]
Draws = Annotated[int, Field(ge=0, le=MOST_SEED)]   # a seed
TrackerName = Annotated[str, AfterValidator(_tracker)]
Threat = Literal["Linf", "CTNoise"]
Paper = Literal["A", "B"]
Under = Literal["hardening", "noise.hardening"]     # the sections that state how networks are hardened


class Data(Section):
    """Where the images are. Without a path: `synthetic` nodules, made from formulas.

    `train` is where the images to learn from are, if elsewhere: then those of `path` are all for testing. It is
    read like `path`, and split into training and validation images unless it has such parts itself.
    """

    path: FileName | None = None
    train: FileName | None = None
    layout: str | None = None
    options: Settings = {}          # what the layout's reader takes, such as channels = "grey"
    limit: Positive | None = None   # images drawn by class from the whole set, before it is split
    synthetic: Positive = 1000


class Preparing(Section):
    """See `steadyread.cases.Preparation`."""

    window: Pair | None = None
    spacing_mm: float | tuple[float, ...] | None = None
    crop: OneOrEach | None = None
    size: OneOrEach | None = None
    fit: Fit = "cut"
    central: float = Field(default=1.0, gt=0, le=1)
    interpolation: Interpolation = "linear"
    transform: str | None = None    # file.py:name or package.module:name, a function of an image
    unit: str | None = None
    resample: Resample = "centred"
    fill: Annotated[float, Field(allow_inf_nan=False)] | Literal["never"] | None = None
    clip: Clip = "last"

    def preparation(self) -> Preparation:
        """The same, as the cases take it. A transform is imported, which runs its file's code.

        Raises:
            UsageError, InputRefused: there is none of that name, or it cannot be imported.
        """
        return Preparation(self.window, self.spacing_mm, self.crop, self.size, self.fit, self.central,
                           self.interpolation, transform_of(self.transform) if self.transform else None, self.unit,
                           self.resample, self.fill, self.clip)


class Splitting(Section):
    """See `steadyread.cases.split`. `seed`: the study's, if None. `balance`: as many images of each class."""

    test_share: float = Field(default=1 / 3, ge=0, le=1)
    validation_share: float = Field(default=0.2, ge=0, lt=1)
    official: bool = True
    balance: bool = False
    seed: Draws | None = None
    folds: Annotated[int, Field(ge=2)] | None = None   # of cross-validation on what is not for testing


class Attacks(Section):
    """What is tried. `limit`: at most so many images of each part, drawn by class.

    `queries`: forward passes at most for the smallest flip of a read where no gradient is to be had (1,256).
    `epsilons` where none are stated: 1, 2, 4 and 8 grey levels of 8-bit pictures, 0.001 to 0.006 of other ranges;
    `settings.NAME.epsilons` are those of one attack in their place.
    """

    epsilons: tuple[Size, ...] | None = None
    use: tuple[str, ...] = ("fgsm", "bim", "pgd")
    settings: dict[str, Settings] = {}
    loss: Literal["margin", "cross_entropy"] = "margin"
    against: Literal["label", "prediction", "both"] = "both"
    smallest_flip: bool = True
    largest: Size | None = None     # up to which the smallest flip is searched; the whole range if None
    limit: Positive | None = None
    queries: Annotated[int, Field(ge=20, le=100_000)] | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.use, *self.settings):
            ATTACKS.named(name, "attacks")
        for name, stated in self.settings.items():
            takes = [{"epsilon": "epsilons"}.get(key, key) for key in ATTACKS[name].arguments]
            refuse_unknown(stated, takes, f"attacks.settings.{name}.")
            TypeAdapter(tuple[Size, ...]).validate_python(stated.get("epsilons", ()))
        if not (self.use and self.epsilons != ()) and not self.smallest_flip:
            raise UsageError("attacks: nothing to try; state 'use' and 'epsilons', or smallest_flip = true")
        return self


class Triage(Section):
    """Which share of the reads is withheld for a human, and what it may go by beside what is free.

    `views`: so many augmented views of each image, whose margins are averaged (0: none). `members`: so many further
    networks, trained alike with other seeds (0: none).
    """

    withhold: float = Field(default=0.2, gt=0, lt=1)
    views: Annotated[int, Field(ge=0)] = 0
    members: Annotated[int, Field(ge=0)] = 0


class Gates(Section):
    """Figures that must be reached, such as "robust_accuracy@0.002 range=0.5"; else the exit code is 1."""

    fail_below: tuple[GateText, ...] = ()


class Study(Section):
    """One experiment. `training` is None where the weights are given.

    `seeds`: from so many the network is trained and hardened, on the same split, and the range of the gains is told.

    `scale` names which of a study file's tables under [scales] was laid over the rest. A study of several data sets
    has that of each in `sets`, and in `equal` those at equal conditions; it states nothing else itself.

    `threats` says what the study is about: changes of any pixels (`Linf`), CT noise (`CTNoise`) or both. Where it is
    not stated, a study without [noise] is about the first, and one with [noise] about CT noise alone; but about both
    where [attacks] states anything besides `limit`. Every network, plain or hardened, is judged under all of them.
    """

    name: Annotated[str, AfterValidator(_run_name)] = "study"
    seed: Draws = 0
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    data: Data = Data()
    preparation: Preparing = Preparing()
    split: Splitting = Splitting()
    model: Model = Model()
    training: Annotated[Settings | None, AfterValidator(_training)] = None   # keys of TrainingSettings
    attacks: Attacks = Attacks()
    triage: Triage = Triage()
    gates: Gates = Gates()
    noise: Noise | None = None
    threats: tuple[Threat, ...] | None = None
    variants: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")], Variant] = {}
    scale: str | None = None
    hardening: Hardening | None = None
    quick: bool = False             # a first look: few reads, in half a minute
    device: Literal["auto", "cpu", "cuda"] = "auto"   # a GPU where there is one
    beside: Paper | None = None     # the paper that the study repeats, whose printed tables stand in the report
    # where the finished run is kept beside a team's others, such as "mlflow"
    track: Annotated[tuple[TrackerName, ...], BeforeValidator(lambda stated: (stated,) if isinstance(stated, str)
                                                              else stated),
                     AfterValidator(lambda names: tuple(dict.fromkeys(names)))] = ()
    sets: Mapping[str, "Study"] = Field(default={}, exclude=True)
    equal: Mapping[str, "Study"] = Field(default={}, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _about(cls, stated: Any) -> Any:
        """With [noise], any attack that is stated makes the study one of both threats; a section that was stored
        whole, with its defaults, states none."""
        if not isinstance(stated, Mapping) or stated.get("noise") is None or stated.get("threats") is not None:
            return stated
        attacks = stated.get("attacks") or {}
        keys = attacks.model_fields_set if isinstance(attacks, Attacks) else set(attacks)
        both = keys - {"limit"} and not keys >= set(Attacks.model_fields)
        return {**stated, "threats": ("Linf", "CTNoise")} if both else stated

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.model.weights is not None and self.model.pretrained is not None:
            raise UsageError("model.weights are used as they are, model.pretrained is trained further: state one")
        if self.model.weights is not None and self.triage.members:
            raise UsageError("triage.members trains further networks like the study's own, and with model.weights "
                             "there is no training to repeat: leave it out")
        if "original" in self.variants:
            raise UsageError("variants.original is the study's own network; give the variant another name")
        refuse_ignored(self)
        return self

    @property
    def studies(self) -> tuple["Study", ...]:
        """That of each data set, those at equal conditions last; the study itself where it is of one."""
        return (*self.sets.values(), *self.equal.values()) or (self,)

    def of_each(self, change: Callable[["Study"], "Study"]) -> "Study":
        """The study with that of each data set changed."""
        if not self.sets:
            return change(self)
        return self.model_copy(update={"sets": {name: change(own) for name, own in self.sets.items()},
                                       "equal": {name: change(own) for name, own in self.equal.items()}})

    def as_json(self) -> Settings:
        """What `study.json` holds."""
        if not self.sets:
            return self.model_dump(mode="json")
        return {"name": self.name, "scale": self.scale,
                "sets": {name: own.as_json() for name, own in self.sets.items()},
                "equal": {name: own.as_json() for name, own in self.equal.items()} or None}

    @property
    def keeps_for_hardening(self) -> bool:
        """Whether part of data.path is kept to harden the network with: there are no other images for it."""
        hardening = self.hardening or (self.noise and self.noise.hardening)
        return hardening is not None and self.data.train is None

    @property
    def linf(self) -> bool:
        """Whether the study is about changes of any pixels."""
        return self.noise is None if self.threats is None else "Linf" in self.threats

    @property
    def alone(self) -> bool:
        """Whether there is one plain network, judged without noise, which then writes into the run's own folder."""
        return self.noise is None and not self.variants and self.split.folds is None and not self.model.findings

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks by their names: the study's own and its variants, or a view of it for each finding."""
        return self.model.assessed or (ORIGINAL, *self.variants)

    def of(self, network: str) -> "Study":
        """The same of one finding of the network; as it is where it has none."""
        if not self.model.findings:
            return self
        return self.model_copy(update={"model": self.model.of(network)})

    @property
    def ct_noise(self) -> Noise:
        """The section [noise] of a study that has one."""
        if self.noise is None:
            raise UsageError("the study has no [noise] section; add one")
        return self.noise

    def rooted(self, folder: Path | None) -> "Study":
        """The study with the relative paths of all data beginning at `folder`."""
        if self.sets:
            return self.of_each(lambda own: own.rooted(folder))
        if folder is None or self.data.path is None:
            return self
        data = self.data.model_copy(update={key: str(folder / stated) for key, stated in (
            ("path", self.data.path), ("train", self.data.train)) if stated is not None})
        root = data.options.get("root")
        if isinstance(root, str):
            data = data.model_copy(update={"options": {**data.options, "root": str(folder / root)}})
        return self.model_copy(update={"data": data})


def refuse_ignored(study: Study) -> None:
    """Raises UsageError for the first thing that is stated and would be ignored, with what to do."""
    for reason in _ignored(study):
        raise UsageError(reason)


def _ignored(study: Study) -> Iterator[str]:
    """One sentence for each thing that is stated and not carried out."""
    noise, split, given = study.noise is not None, study.split, study.model.weights is not None
    named = study.threats or ()
    said = (
        (bool(named) and ("CTNoise" in named) != noise,
         "threats must name CTNoise where there is a [noise] section, and only there"),
        (not study.linf and study.attacks != Attacks(limit=study.attacks.limit),
         "[attacks] is for changes of any pixels, and threats leaves those out: add 'Linf' to threats, or state "
         "attacks.limit alone"),
        (not study.linf and study.triage != Triage(),
         "[triage] goes by the smallest flips, and a study about CT noise alone has none: state what to try in "
         "[attacks], or leave it out"),
        (noise and study.linf and study.attacks.against != "both",
         "attacks.against: with CT noise every read is judged against label and prediction both: leave it out"),
        (split.folds and split.validation_share != Splitting().validation_share,
         "split.validation_share is not used with split.folds, whose folds take turns to validate: state one"),
        (study.data.path is None and (study.data.layout or study.data.options),
         "data.layout and data.options say how data.path is read, and there is none: state data.path, or "
         "leave them out"),
        (study.data.path is None and study.data.train,
         "data.train says where to learn what data.path is to test: state data.path too"),
        (study.data.train and not given and split.test_share not in (Splitting().test_share, 1),
         "split.test_share is not used with data.train, beside which all images of data.path are for testing: "
         "leave one out"),
        (not study.attacks.smallest_flip and study.attacks.largest is not None,
         "attacks.largest is how far the smallest flip is searched, and attacks.smallest_flip is false: leave one "
         "out"),
        (given and split.folds, "split.folds trains a network a fold, and model.weights are given: leave one out"),
        (given and study.variants, "variants are trained, and model.weights are given: leave one out"),
        (study.seeds > 1 and (given or not study.alone or study.hardening is None or not study.attacks.smallest_flip),
         "seeds trains and hardens one network anew, and tells what its smallest flips gained: state [hardening], and "
         "no model.weights, folds, variants, [noise] or attacks.smallest_flip = false"),
        (study.model.findings and not given, "model.findings are of a network that is given, and this one would be "
         "trained: state model.weights"),
        (study.model.findings and noise, "[noise] is for a network of classes, and model.findings are stated: give "
         "a function that returns the value of one finding (model.name = file.py:NAME), and leave model.findings out"),
        (study.model.findings and study.hardening is not None,
         "[hardening] trains a network of classes, and model.findings are stated: give a network that returns the "
         "value of one finding (model.name = file.py:NAME), and leave model.findings out"))
    yield from (reason for ignored, reason in said if ignored)
    yield from _names(study)
    yield from _gates(study)


def _names(study: Study) -> Iterator[str]:
    """Two hardenings of one name, which would write into one folder, or one of the name of another stage."""
    noise = study.noise.hardening if study.noise is not None else None
    for where, asked in (("hardening", study.hardening), ("noise.hardening", noise)):
        for name in asked.compare if asked is not None else ():
            if name in (PLAIN, BEFORE, HARDENED):
                yield f"{where}.compare.{name}: that name is the study's own; give it another"
    if study.hardening is None or study.alone:
        return
    taken = {study.hardening.method, *((noise.method, *noise.compare) if noise else ())}
    for name in study.hardening.compare:
        if name in taken:
            yield f"hardening.compare.{name}: another hardening of the study has that name; give it another"
    if noise is not None and study.hardening.method in (noise.method, *noise.compare):
        yield (f"hardening.method '{study.hardening.method}' is the name of a hardening in [noise.hardening] too: "
               "compare it under another name there")


def _gates(study: Study) -> Iterator[str]:
    """Gates on what is never measured."""
    noise = study.noise.hardening if study.noise is not None else None
    hardenings = {*((study.hardening.method, *study.hardening.compare) if study.hardening else ()),
                  *((noise.method, *noise.compare) if noise else ())}
    for stated in map(gate, study.gates.fail_below):
        named = {*study.variants, *study.model.findings, *hardenings}
        if stated.of and stated.of not in named and not study.model.whole:
            yield f"the gate '{stated}': no network or hardening '{stated.of}'{nearest(stated.of, sorted(named))}"
        elif stated.metric == STEADY:
            yield from _doses(study, stated, stated.of in hardenings)
        elif not study.linf and stated.metric not in CLEAN:
            yield f"a study about CT noise alone has no {stated.metric}; it has {', '.join((STEADY, *CLEAN))}"
        elif stated.metric == KEPT and not study.attacks.smallest_flip:
            yield f"the gate '{stated}' needs the smallest flips, and attacks.smallest_flip is false"


def _doses(study: Study, stated: Gate, hardened: bool) -> Iterator[str]:
    """A gate on steady reads at a dose that the network is not tried at; hardened ones are by doses of their own."""
    if study.noise is None:
        yield f"the gate '{stated}' is for studies of CT noise: add a [noise] section"
        return
    asked = size_in_native(stated.at or "", Bounds(0, 1, "mAs"))
    random = (study.noise.variants if stated.of in study.variants else study.noise.test).get("random")
    tried = () if random is None else random.get("mas", study.noise.mas)
    if not hardened and not any(abs(dose - asked) < 1e-6 * asked for dose in tried):
        yield (f"the gate '{stated}' asks for a dose that random noise is not tried at; these are: "
               f"{', '.join(f'{dose:g}' for dose in tried) or 'none'} mAs")
