"""The flags of the commands: what each is called, takes and says of itself."""

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from steadyread.errors import UsageError
from steadyread.limits import MOST_SEED
from steadyread.names import folder_name

# The flags that stand for a key of a study, for messages; those of `harden` first.
FLAGS: Mapping[str, tuple[str, ...]] = {
    "data.path": ("--test-data", "--data"), "data.train": ("--data",), "data.layout": ("--layout",),
    "model.name": ("--model",), "model.weights": ("--weights",), "model.bounds": ("--bounds",),
    "model.output": ("--output",), "model.normalise": ("--normalise",), "model.threshold": ("--threshold",),
    "attacks.limit": ("--limit",), "attacks.epsilons": ("--epsilon",), "attacks.against": ("--against",),
    "preparation.window": ("--window",), "preparation.crop": ("--crop",), "preparation.size": ("--size",),
    "preparation.spacing_mm": ("--spacing",), "training.epochs": ("--epochs",),
    "gates.fail_below": ("--fail-below",), "noise.reference_mas": ("--reference-mas",)}

Out = Annotated[Path | None, typer.Option("--out", help="Folder of the results. Default: one under runs/, and the "
                                          "next free one where that holds a run of other settings.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Where the folder holds a run of other settings, keep "
                                         "that as NAME.old-1 and begin anew. Nothing is deleted.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=MOST_SEED, metavar="N",
                                                 help="Of the split, the training and every draw. Default: 0.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all cores.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of a study, such as "
                                                "attacks.settings.pgd.steps=20. Repeatable.")]
Gates = Annotated[list[str] | None, typer.Option(
    "--fail-below", metavar="GATE", help="Exit with 1 below this, such as 'robust_accuracy@0.002 range=0.5' or "
    "'auc=0.8'. Repeatable.")]
DataPath = Annotated[str | None, typer.Option("--data", metavar="PATH", help="Images: a folder or a file.")]
Exclude = Annotated[list[str] | None, typer.Option(
    "--exclude", metavar="PATTERN", help="Pictures or folders to leave out, such as '*_overlay*'. Repeatable. In a "
    "study: data.options.exclude.")]
TestData = Annotated[str | None, typer.Option("--test-data", metavar="PATH", help="The images that are assessed; "
                                              "those of --data are then for hardening alone. Default: a third of "
                                              "--data, by patient.")]
Layout = Annotated[str | None, typer.Option("--layout", help="Of the data. Default: recognised.")]
StudyPath = Annotated[Path | None, typer.Option("--study", metavar="FILE", help="Begin with this study's keys.")]
ModelName = Annotated[str | None, typer.Option("--model", help="vgg16, or package.module:factory.")]
Weights = Annotated[str | None, typer.Option("--weights", metavar="FILE", help=".safetensors or a .pt state dict.")]
BoundsPair = Annotated[str | None, typer.Option("--bounds", metavar="LO,HI", help="Valid native values.")]
Head = Annotated[str | None, typer.Option("--output", metavar="HEAD", help="What the network returns: logit, "
                                          "logits, probability or probabilities.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Attack at most N images of each part, "
                                           "drawn by class.")]
Epsilons = Annotated[list[str] | None, typer.Option("--epsilon", metavar="SIZE", help="A size with its unit, such "
                                                    "as '0.002 range' or '5.6 HU'. Repeatable.")]
Against = Annotated[str | None, typer.Option("--against", help="What a flip must lose: label, prediction or both.")]
Window = Annotated[str | None, typer.Option("--window", metavar="LO,HI", help="Clip the images to this.")]
Crop = Annotated[int | None, typer.Option("--crop", help="Central pixels an axis.")]
Size = Annotated[int | None, typer.Option("--size", help="Resize to this many pixels an axis, the ends of longer "
                                          "sides cut off first.")]
Spacing = Annotated[float | None, typer.Option("--spacing", metavar="MM", help="Resample to this pixel spacing.")]
Normalise = Annotated[str | None, typer.Option(
    "--normalise", metavar="HOW", help="Before the network: none, unit (the bounds become 0 to 1), symmetric (-1 "
    "to 1), or MEAN,SD in native units (or all channels' means, then their SDs).")]
Threshold = Annotated[float | None, typer.Option("--threshold", help="Probability from which it is class 1.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Of the training, at most.")]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="A data set that fails does not stop the others; "
                                         "exit code 4 then.")]
Run = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The folder of a finished run, whose network is "
                                            "hardened. Else state data and network as for assess.")]
TrainingSize = Annotated[str | None, typer.Option("--epsilon", metavar="SIZE", help="Of the changes trained on: a "
                                                  "size with its unit, or auto (found from the training images' "
                                                  "smallest flips). Default: auto.")]
Method = Annotated[str | None, typer.Option("--method", help="pgd (half of each batch attacked), trades, "
                                            "unsupervised (no labels on the attacked half), clean (no attack). Of "
                                            "a run of CT noise: adaptive, fresh, augment, drift, pgd or clean. "
                                            "Default: pgd, adaptive.")]
HardeningEpochs = Annotated[int | None, typer.Option("--epochs", help="Of the hardening. Default: 15; of a run "
                                            "of CT noise what its study says, or 10 a round.")]
Scratch = Annotated[bool | None, typer.Option("--from-scratch", help="Begin with an untrained network.")]
ShowIds = Annotated[bool, typer.Option("--show-ids", help="Ids of cases and patients and whole paths in reports, "
                                                           "not pseudonyms and file names. Not for sharing.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Sources = Annotated[list[Path], typer.Argument(metavar="SERIES...", help="A folder or files of DICOM slices, or an "
                                               "npz.")]
Difference = Annotated[bool, typer.Option("--difference", help="Subtract neighbouring slices, so that structure "
                                          "cancels.")]
Rois = Annotated[list[str] | None, typer.Option(
    "--roi", metavar="ROW,COLUMN,SIZE", help="A region in pixels: upper left pixel and side. Repeatable. Default: "
    "uniform ones are found.")]
Side = Annotated[float | None, typer.Option("--side", metavar="MM", help="Side of the regions that are found. "
                                            "Default: as large as fits.")]
Slices = Annotated[str | None, typer.Option("--slices", metavar="FIRST:END", help="Of the series, counted from 0.")]
Detrend = Annotated[Literal["plane", "mean", "quadratic", "none"], typer.Option(
    "--detrend", help="What is taken off each region.")]
Taper = Annotated[Literal["none", "hann"], typer.Option("--taper", help="Window before the Fourier transform.")]
Mas = Annotated[float | None, typer.Option("--mas", help="The dose. Default: what the tags say.")]
PixelSpacing = Annotated[float | None, typer.Option("--spacing", metavar="MM", help="Of the pixels. Default: what "
                                                    "the file says.")]
Array = Annotated[str | None, typer.Option("--array", metavar="NAME", help="Of an npz.")]
Offset = Annotated[float, typer.Option("--offset", help="What an npz stores for water.")]
SeriesUid = Annotated[str | None, typer.Option("--series", metavar="UID", help="Which series, where there are "
                                               "several: its uid or the end of it.")]
CaseIds = Annotated[list[str] | None, typer.Option("--case", metavar="ID", help="Of a case that is explained. "
                                                   "Repeatable. Default: some that flip, and a steady one.")]
FoldNumber = Annotated[int, typer.Option("--fold", min=0, help="Whose network is explained.")]
LayerName = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="Convolution of the Grad-CAM maps. "
                                               "Default: the study's, else the last.")]
SeenMas = Annotated[float | None, typer.Option("--mas", help="Dose of the noise. Default: the study's, else 100.")]
SeenAttack = Annotated[Literal["plausible", "rings", "random"] | None, typer.Option(
    "--attack", help="The noise: optimised and plausible, optimised by rings, or one random draw. Default: the "
    "study's, else plausible.")]


def in_flags(message: str, known: Collection[str]) -> str:
    """A message that names keys of a study, with those flags in their place that the command knows.

    What a card beside the weights states is not what the user typed: its keys stay.
    """
    if "the card beside the weights" in message:
        return message

    def flag(match: re.Match[str]) -> str:
        own = [name for name in FLAGS[match.group(1)] if name in known]
        return own[0] + " " * bool(match.group(2)) if own else match.group(0)

    keys = "|".join(re.escape(key) for key in FLAGS)
    return re.sub(rf"(?<![\w.\['\"-])({keys})(?![\w-]|\.\w)( = )?", flag, message)


def flags_of(command: Any, argv: Sequence[str] | None) -> set[str]:
    """The flags of the command, for messages that name a key; none where keys are the words of who reads them."""
    argv = sys.argv[1:] if argv is None else argv
    for name in argv:
        command = getattr(command, "commands", {}).get(name, command)
    if command.name == "run" or any(word.split("=")[0] == "--study" for word in argv):
        return set()
    return {flag for parameter in command.params for flag in parameter.opts}


def named(study: Path | None, data: str | None, weights: str | None) -> dict[str, Any]:
    """A name that tells one assessment from another, for the folder under runs/.

    Raises:
        UsageError: neither a study nor weights.
    """
    if study is None and weights is None:
        raise UsageError("assess needs a trained network: give --weights FILE (and --model, --bounds, --output "
                         "unless the file was written by `steadyread train`); `steadyread demo` trains one first")
    if study is not None:
        return {}
    of = Path(data).resolve().stem if data else "synthetic"
    return {"name": folder_name(f"assess-{of}-{Path(weights or '').resolve().stem}")}


def prepared(window: str | None, crop: int | None, size: int | None, spacing: float | None) -> dict[str, Any]:
    """The flags of preparation, as settings."""
    return {"preparation__window": pair(window, "--window"), "preparation__crop": crop, "preparation__size": size,
            "preparation__spacing_mm": spacing}


def pair(text: str | None, flag: str) -> list[float] | None:
    """LO,HI as two numbers.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
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


def normalised(text: str | None) -> str | list[float] | None:
    """A word, or MEAN,SD as numbers.

    Raises:
        UsageError: neither.
    """
    if text is None or "," not in text:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--normalise takes none, unit, symmetric or MEAN,SD; got '{text}'") from None

