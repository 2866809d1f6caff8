"""The commands about the noise of CT: a phantom's spectrum measured, noise of one shown."""

import typer

from steadyread import flags
from steadyread.manual import Group
from steadyread.options import Given, command, say
from steadyread.progress import note

noise = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, help="Measure and show CT noise.")


@command(noise, "Commands", flags.SOURCES, flags.DIFFERENCE, flags.ROIS, flags.SIDE, flags.SLICES, flags.DETREND,
         flags.TAPER, flags.MAS, flags.PIXEL_SPACING, flags.ARRAY, flags.OFFSET, flags.SERIES, flags.OUT, flags.JSON)
def measure(given: Given) -> None:
    """Measure the noise power spectrum of a phantom.

    Gives a CSV, a picture, sigma, peak and mean frequency.

    steadyread noise measure phantom
    steadyread noise measure scan_1 scan_2 --difference --roi 100,100,64
    """
    note(f"reading {given[flags.SOURCES][0]}")
    from steadyread.noise_measure import Measurement, measure_noise

    how = Measurement(given[flags.DIFFERENCE], tuple(given[flags.ROIS] or ()), *(given[flag] for flag in (
        flags.SIDE, flags.SLICES, flags.DETREND, flags.TAPER, flags.MAS, flags.PIXEL_SPACING, flags.ARRAY, flags.OFFSET,
        flags.SERIES)))
    say(given, measure_noise(given[flags.SOURCES], how, given[flags.OUT]), "noise_lines")


@command(noise, "Commands", flags.SPECTRUM, flags.DOSES, flags.PIXELS, flags.GRID, flags.DRAWS, flags.REFERENCE_MAS,
         flags.SEED, flags.OUT, flags.JSON)
def show(given: Given) -> None:
    """Show what noise of a spectrum looks like.

    At each dose: the spectrum as given, one draw of it, and the mean spectrum of many ([B] Fig. A1).

    steadyread noise show soft
    steadyread noise show spectrum.csv --mas 20,50 --reference-mas 100
    """
    from steadyread.noise_show import Showing, show_noise

    how = Showing(given[flags.PIXELS], given[flags.GRID], given[flags.DRAWS], given[flags.SEED] or 0,
                  given[flags.REFERENCE_MAS])
    say(given, show_noise(given[flags.SPECTRUM], given[flags.DOSES], how, given[flags.OUT]), "noise_shown_lines")
