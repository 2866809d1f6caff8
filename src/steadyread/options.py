"""Flags of the commands that measure noise and explain networks."""

from pathlib import Path
from typing import Annotated, Literal

import typer

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
