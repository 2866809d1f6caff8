"""Every flag of the command line, once: its name, the key of a study that it stands for, and what it says of itself."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from steadyread.errors import UsageError
from steadyread.limits import MOST_SEED

# The sections of a study, each with the panel of a help that its keys stand in.
_PANELS = {"data": "Images", "preparation": "Preparation", "model": "Network", "attacks": "Attacks",
           "hardening": "Hardening", "training": "Training", "gates": "Results", "track": "Results", "seed": "Run",
           "scale": "Run"}


@dataclass(frozen=True)
class Flag:
    """A flag. `key` is that of the study, "" where it is the command's own; `reads` makes a setting of what was typed.
    `panel` is that of the help it stands in, where its section does not say.

    Without dashes in its name it is an argument, which must be given unless `default` says otherwise.
    """

    name: str
    help: str
    key: str = ""
    type: Any = str
    default: Any = None
    metavar: str | None = None
    least: float | None = None
    most: float | None = None
    reads: Callable[[Any, str], Any] | None = None
    panel: str = ""

    @property
    def panelled(self) -> str:
        """The panel of a help that it stands in: its own, else that of its section of a study."""
        if self.argument:
            return "Arguments"
        return self.panel or _PANELS.get(self.key.partition(".")[0], "Options")

    @property
    def word(self) -> str:
        """By which a command knows it."""
        return self.name.lstrip("-").replace("-", "_").lower()

    @property
    def argument(self) -> bool:
        """Whether it stands without a name."""
        return not self.name.startswith("-")

    def parameter(self) -> tuple[Any, Any]:
        """Its annotation and its default, as typer takes them."""
        kind = self.type if self.type is bool or self.default is not None else self.type | None
        if self.argument:
            return Annotated[kind, typer.Argument(metavar=self.metavar or self.name, help=self.help,
                                                  rich_help_panel=self.panelled)], self.default
        default = False if self.type is bool else self.default
        return Annotated[kind, typer.Option(self.name, help=self.help, metavar=self.metavar or self._taken(),
                                            min=self.least, max=self.most, rich_help_panel=self.panelled)], default

    def _taken(self) -> str | None:
        """What stands for its value in a help, where it does not say: None for a switch."""
        if self.type is bool:
            return None
        return "|".join(get_args(self.type)) or {int: "N", float: "X", Path: "PATH"}.get(self.type, "TEXT")

    def value(self, typed: Any) -> Any:
        """The setting that was typed.

        Raises:
            UsageError: it is none.
        """
        return typed if typed is None or self.reads is None else self.reads(typed, self.name)


def pair(text: str, flag: str) -> list[float]:
    """LO,HI as two numbers.

    Raises:
        UsageError: it is none.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} takes two numbers, LO,HI, such as -1000,400; got '{text}'") from None
    if not low < high:
        raise UsageError(f"{flag} takes LO,HI with LO below HI; got '{text}'")
    return [low, high]


def numbers(text: str, flag: str) -> list[float]:
    """Numbers with commas between.

    Raises:
        UsageError: they are none.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes numbers with commas between, such as 10,50,100; got '{text}'") from None


def names(text: str, flag: str) -> list[str]:
    """Names with commas between.

    Raises:
        UsageError: an empty one.
    """
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise UsageError(f"{flag} takes names with commas between, such as Effusion,Mass; got '{text}'")
    return found


def thresholds(text: str, flag: str) -> float | dict[str, float]:
    """A number, or numbers by name, A=0.3,B=0.5.

    Raises:
        UsageError: neither.
    """
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.rpartition("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        raise UsageError(f"{flag} takes a number between 0 and 1, or one for each finding, such as "
                         f"Effusion=0.3,Mass=0.5; got '{text}'") from None


def normalised(text: str, flag: str) -> str | list[float]:
    """A word, or MEAN,SD as numbers.

    Raises:
        UsageError: neither.
    """
    if "," not in text:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes none, unit, symmetric or MEAN,SD; got '{text}'") from None


def named_values(texts: list[str], flag: str) -> dict[str, Any]:
    """NAME=VALUE several times: the values as TOML has them, else as text.

    Raises:
        UsageError: no name, or no equals sign.
    """
    table: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"{flag} takes NAME=VALUE, such as width=32; got '{text}'")
        try:
            table[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):
            table[name.strip()] = value
    return table


_MANY = list[str]
OUT = Flag("--out", "Folder for the results. Default: one under runs/, or the next free one if that holds a run with "
           "other settings.", type=Path, panel="Results")
OVERWRITE = Flag("--overwrite", "If the folder holds a run with other settings, keep that as NAME.old-1 and start "
                 "afresh. Nothing is deleted.", type=bool, panel="Results")
SHOW_IDS = Flag("--show-ids", "Show ids of cases and patients and whole paths in reports, not pseudonyms and file "
                "names. Not for sharing.", type=bool, panel="Results")
NO_IMAGES = Flag("--no-images", "Leave images of patients out of the report.", type=bool, panel="Results")
JSON = Flag("--json", "Print one JSON object on stdout instead of text.", type=bool, panel="Results")
GATES = Flag("--fail-below", "Exit with code 1 below this, such as 'robust_accuracy@0.002 range=0.5' or 'auc=0.8'. "
             "Repeatable.", "gates.fail_below", _MANY, metavar="GATE")
TRACK = Flag("--track", "Hand the finished run to an experiment tracker: mlflow or wandb. Repeatable.",
             "track", _MANY, metavar="NAME")
SEED = Flag("--seed", "Seed for the split, training and all random draws. Default: 0.", "seed", int, metavar="N",
            least=0, most=MOST_SEED)
RESAMPLED = Flag("--seed", "Seed for resampling the intervals. Default: the run's own.", type=int, metavar="N",
                 least=0, most=MOST_SEED, panel="Run")
THREADS = Flag("--threads", "CPU threads. Default: all cores.", type=int, metavar="N", least=1, panel="Run")
SETS = Flag("--set", "Any key of a study, such as attacks.settings.pgd.steps=20. Repeatable.", type=_MANY,
            metavar="KEY=VALUE", panel="Run")
STUDY = Flag("--study", "Start from the settings of this study.", type=Path, metavar="FILE", panel="Run")
STUDY_FILE = Flag("study", "The study.", type=Path, default=..., metavar="STUDY.toml")
RUN = Flag("folder", "The folder of a run.", type=Path, default=..., metavar="RUN")
RUNS = Flag("folders", "The folders of runs on the same images; the first is what the others are compared with.",
            type=list[Path], default=..., metavar="RUN...")
BY_ID = Flag("--by-id", "Pair cases by their id alone, even if their pixels differ (prepared differently).", type=bool)
COMPARED_OUT = Flag("--out", "Folder for the page. Default: runs/compare-RUN-RUN.", type=Path, panel="Results")
SHOWN_RUNS = Flag("folders", "The folders of runs, shown side by side.", type=list[Path], default=...,
                  metavar="RUN...")
PORT = Flag("--port", "Port to serve on. Default: a free one.", type=int, metavar="N", least=1, most=65535)
NO_BROWSER = Flag("--no-browser", "Open no browser; the first line has the address.", type=bool)
READER = Flag("--reader", "The name under which marks are kept. Default: that of the account.", metavar="NAME")
EXPORT = Flag("--export", "Write the marks of all readers as CSV, and end.", type=Path, metavar="FILE")
SOME_RUN = Flag("folder", "The folder of a finished run whose network is to be hardened. Without one, give data and "
                "network as for assess.", type=Path, metavar="[RUN]")

DATA_PATH = Flag("--data", "Images: a folder or a file.", "data.path", metavar="PATH")
TEST_DATA = Flag("--test-data", "The images to assess; those of --data then serve only for hardening. Default: a third "
                 "of --data, by patient.", metavar="PATH", panel="Images")
AUDITED = Flag("data", "A folder or a file.", default=..., metavar="DATA")
LAYOUT = Flag("--layout", "Layout of the data. Default: recognised.", "data.layout", metavar="NAME")
EXCLUDE = Flag("--exclude", "Images or folders to leave out, such as '*_overlay*'. Repeatable.",
               "data.options.exclude", _MANY, metavar="PATTERN")
FILE_COLUMN = Flag("--file-column", "A table's column of files. Default: file.", "data.options.file_column",
                   metavar="NAME")
LABEL_COLUMN = Flag("--label-column", "A table's column of labels. Default: label.", "data.options.label_column",
                    metavar="NAME")
PATIENT_COLUMN = Flag("--patient-column", "A table's column of patients. Default: patient, where there is one.",
                      "data.options.patient_column", metavar="NAME")
PART_COLUMN = Flag("--part-column", "A table's column of train, validation or test. Default: part, where there is one.",
                   "data.options.part_column", metavar="NAME")
ROOT = Flag("--root", "The folder that a table's file names start from. Default: the table's own.", "data.options.root",
            metavar="FOLDER")
PATIENT_PATTERN = Flag("--patient-pattern", "A regular expression whose one group is the patient in each image's "
                       "path, such as 'p(\\d+)_'.", "data.options.patient_pattern", metavar="REGEX")
UNIT = Flag("--unit", "Unit of the stored values where the files do not say, such as HU.", "data.options.unit",
            metavar="UNIT")
LIMIT = Flag("--limit", "Attack at most N images per split, sampled by class.", "attacks.limit", int, metavar="N")
WINDOW = Flag("--window", "Clip the images to this range.", "preparation.window", metavar="LO,HI", reads=pair)
CROP = Flag("--crop", "Crop to the central N pixels per axis.", "preparation.crop", int, metavar="N")
SIZE = Flag("--size", "Resize to N pixels per axis; --fit says how other proportions are handled.", "preparation.size",
            int, metavar="N")
FIT = Flag("--fit", "How other proportions are fitted: cut (the ends of the longer side, before resizing), shorter "
           "(resize the shorter side, take the centre), pad or squash. Default: cut.", "preparation.fit", metavar="HOW")
TRANSFORM = Flag("--transform", "A preparation of your own, file.py:function of an image (channels, rows, columns); "
                 "any scaling of the values is undone. Its code is run.", "preparation.transform", metavar="CODE")
SPACING = Flag("--spacing", "Resample to this pixel spacing.", "preparation.spacing_mm", float, metavar="MM")
DATA_ROOT = Flag("--data-root", "The folder that a relative data.path starts from. Default: the current one.",
                 type=Path, panel="Images")
SCALE = Flag("--scale", "Which of the study's [scales] tables to use.", "scale", metavar="NAME")
KEEP_GOING = Flag("--keep-going", "Continue with the other data sets if one fails; exit code 4 then.", type=bool,
                  panel="Run")

MODEL = Flag("--model", "A file or folder that holds a network (Keras, ONNX, TorchScript, Hugging Face); a NET.toml "
             "that describes one; package.module:factory or file.py:factory, with --weights; or vgg16.",
             "model.name", metavar="NETWORK")
NETWORK = Flag("model", "A file or folder that holds a network.", default=..., metavar="NETWORK")
WEIGHTS = Flag("--weights", "Weights: .safetensors or a .pt state dict.", "model.weights", metavar="FILE")
ARGUMENTS = Flag("--model-argument", "An argument of the factory, such as width=32. Repeatable.", "model.arguments",
                 _MANY, metavar="NAME=VALUE", reads=named_values)
HYPER_PARAMETERS = Flag("--hyper-parameters", "Hand the factory those stored in a Lightning checkpoint.",
                        "model.hyper_parameters", bool)
BOUNDS = Flag("--bounds", "Valid pixel values, as stored (or in HU).", "model.bounds", metavar="LO,HI", reads=pair)
HEAD = Flag("--output", "What the network returns: logit, logits, probability or probabilities.", "model.output",
            metavar="HEAD")
NORMALISE = Flag("--normalise", "Scaling before the network: none, unit (the bounds become 0 to 1), symmetric (-1 to "
                 "1), or MEAN,SD in stored values (or all channels' means, then their SDs).", "model.normalise",
                 metavar="HOW", reads=normalised)
THRESHOLD = Flag("--threshold", "Probability above which class 1 is predicted; for several findings, one for all or "
                 "one each, such as Effusion=0.3,Mass=0.5.", "model.threshold", metavar="P", reads=thresholds)
FINDINGS = Flag("--findings", "The names of a network's findings, each a value with a sigmoid of its own, in "
                "order. Default: what its files say.", "model.findings", metavar="A,B,...", reads=names)
FINDING = Flag("--finding", "Assess this finding. Repeatable. Default: all.", "model.only", _MANY, metavar="NAME")
CLASSES = Flag("--classes", "The names of a network's classes, in its order. If the images' classes have other names, "
               "they take these, in order.", "model.classes", metavar="A,B,...", reads=names)
CLAIMED = Flag("--claimed", "A metric and the value claimed for it: accuracy=0.934, or auc, sensitivity, "
               "specificity. Repeatable.", "model.claimed", _MANY, metavar="METRIC=VALUE", reads=named_values)
EPOCHS = Flag("--epochs", "Train for at most N epochs.", "training.epochs", int, metavar="N")
QUICK = Flag("--quick", "A first look in half a minute: few reads, sampled by class, and what a whole run would take.",
             "quick", bool)
EPSILONS = Flag("--epsilon", "A size of change with its unit, such as '0.002 range' or '5.6 HU'. Repeatable.",
                "attacks.epsilons", _MANY, metavar="SIZE")
QUERIES = Flag("--queries", "Take at most N forward passes for the smallest flip of a read, where the network gives "
               "no gradients. Default: 1256.", "attacks.queries", int, metavar="N")
AGAINST = Flag("--against", "Which class counts as lost: label, prediction or both.", "attacks.against",
               metavar="WHICH")

TRAINING_SIZE = Flag("--epsilon", "Size of the changes trained on: with its unit, or auto (found from the "
                     "training images' smallest flips). Default: auto.", "hardening.epsilon",
                     metavar="SIZE")
METHOD = Flag("--method", "pgd (half of each batch attacked), trades, unsupervised (no labels on the attacked half), "
              "clean (no attack). For a run of CT noise: adaptive, fresh, augment, drift, pgd or clean. Default: pgd, "
              "or adaptive for such a run.", "hardening.method", metavar="NAME")
HARDENING_EPOCHS = Flag("--epochs", "Epochs of the hardening. Default: 15; for a run of CT noise what its study says, "
                        "or 10 per round.", "hardening.epochs", int, metavar="N")
SCRATCH = Flag("--from-scratch", "Begin with an untrained network.", "hardening.scratch", bool)
WITHHOLD = Flag("--withhold", "Share of the reads to leave to a human. Default: 0.2.", type=float,
                least=0.01, most=0.99)
OF_NETWORK = Flag("--network", "Which network of the run: a finding, or a variant. Default: the study's own.",
                  metavar="NAME")
OF_SETS = Flag("--set", "Which data set, where the run has several. Repeatable. Default: all.", type=_MANY,
               metavar="NAME")
STRICT = Flag("--strict", "Exit with 3 on errors or missing files.", type=bool)

CASE_IDS = Flag("--case", "A case to explain. Repeatable. Default: some that flip, and a steady one.", type=_MANY,
                metavar="ID")
FOLD = Flag("--fold", "The fold whose network is explained.", type=int, default=0,
            least=0)
LAYER = Flag("--layer", "Convolution of the Grad-CAM maps. Default: the study's, else the last.",
             metavar="NAME")
SEEN_MAS = Flag("--mas", "Dose of the noise. Default: the study's, else 100.",
                type=float)
SEEN_ATTACK = Flag("--attack", "The noise: optimised and plausible, optimised by rings, or one random draw. Default: "
                   "the study's, else plausible.", type=Literal["plausible", "rings", "random"])

SOURCES = Flag("sources", "A folder or files of DICOM slices, or an npz.", type=list[Path], default=...,
               metavar="SERIES...")
DIFFERENCE = Flag("--difference", "Subtract neighbouring slices, so that structure cancels.", type=bool)
ROIS = Flag("--roi", "A region in pixels: upper left pixel and side. Repeatable. Default: uniform ones are found.",
            type=_MANY, metavar="ROW,COLUMN,SIZE")
SIDE = Flag("--side", "Side of the regions that are found. Default: as large as fits.", type=float, metavar="MM")
SLICES = Flag("--slices", "Slices of the series, counted from 0.", metavar="FIRST:END")
DETREND = Flag("--detrend", "Trend to subtract from each region.", type=Literal["plane", "mean", "quadratic", "none"],
               default="plane")
TAPER = Flag("--taper", "Window before the Fourier transform.", type=Literal["none", "hann"], default="none")
MAS = Flag("--mas", "Tube load in mAs. Default: from the DICOM tags.", type=float)
PIXEL_SPACING = Flag("--spacing", "Pixel spacing. Default: what the file says.", type=float, metavar="MM")
ARRAY = Flag("--array", "Array of an npz.", metavar="NAME")
OFFSET = Flag("--offset", "Value that an npz stores for water.", type=float, default=0.0)
SERIES = Flag("--series", "Which series, where there are several: its uid or the end of it.", metavar="UID")
SPECTRUM = Flag("spectrum", "soft, lung, or a CSV of `measure`.", default=..., metavar="SPECTRUM")
DOSES = Flag("--mas", "Doses, such as 10,50,100.", default="10,50,100", metavar="DOSES", reads=numbers)
PIXELS = Flag("--size", "Pixels per side.", type=int, default=64)
GRID = Flag("--spacing", "Pixel spacing.", type=float, default=1.0, metavar="MM")
DRAWS = Flag("--draws", "Number of draws to measure.", type=int, default=1000)
REFERENCE_MAS = Flag("--reference-mas", "Dose of a CSV's values. Default: as measured.", type=float)

# Flags that several commands share.
RESULT_FLAGS = (OUT, OVERWRITE, SHOW_IDS, NO_IMAGES, JSON, GATES, TRACK, SETS, THREADS)
READ_FLAGS = (LAYOUT, EXCLUDE, FILE_COLUMN, LABEL_COLUMN, PATIENT_COLUMN, PART_COLUMN, ROOT, PATIENT_PATTERN, UNIT)
PREPARED_FLAGS = (WINDOW, CROP, SIZE, FIT, SPACING, TRANSFORM)
NETWORK_FLAGS = (MODEL, WEIGHTS, ARGUMENTS, HYPER_PARAMETERS, BOUNDS, HEAD, NORMALISE)
ASSESSED_FLAGS = (DATA_PATH, *NETWORK_FLAGS, FINDINGS, FINDING, CLASSES, THRESHOLD, CLAIMED, LIMIT, *READ_FLAGS, STUDY,
               *PREPARED_FLAGS, EPSILONS, AGAINST, QUERIES, SEED)
