"""The command line: each command hands its flags to one library function. Imports torch only when it works."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyread._version import __version__
from steadyread.ending import exit_code_of, printed
from steadyread.errors import GateFailed, InputRefused, Partial, UsageError
from steadyread.names import folder_name
from steadyread.options import (
    Against,
    Array,
    BoundsPair,
    CaseIds,
    Crop,
    DataPath,
    Detrend,
    Difference,
    Epochs,
    Epsilons,
    Exclude,
    FoldNumber,
    Gates,
    HardeningEpochs,
    Head,
    Json,
    KeepGoing,
    LayerName,
    Layout,
    Limit,
    Mas,
    Method,
    ModelName,
    Normalise,
    Offset,
    Out,
    Overwrite,
    PixelSpacing,
    Rois,
    Run,
    RunFolder,
    Scratch,
    Seed,
    SeenAttack,
    SeenMas,
    SeriesUid,
    Sets,
    ShowIds,
    Side,
    Size,
    Slices,
    Sources,
    Spacing,
    StudyPath,
    Taper,
    TestData,
    Threads,
    Threshold,
    TrainingSize,
    Weights,
    Window,
    flags_of,
    in_flags,
    named,
    normalised,
    numbers,
    pair,
    prepared,
)
from steadyread.progress import doubts_noted, note
from steadyread.starting import begin, use_threads

if TYPE_CHECKING:
    from steadyread.running import Done
    from steadyread.sets import SetsDone

Place = tuple[Path | None, bool, bool]   # --out, --overwrite and --show-ids
app = typer.Typer(name="steadyread", add_completion=False, no_args_is_help=True, rich_markup_mode=None,
                  pretty_exceptions_enable=False, help="How steady is an imaging classifier's read? Finds the "
                  "smallest change that flips each image, and the cases that a human should read instead.",
                  epilog="Exit codes: 0 done, 1 a gate of --fail-below not met, 2 usage, 3 input refused, "
                  "4 partial, 70 an unforeseen fault (--debug shows where), 130 interrupted, 141 the reader of "
                  "stdout is gone; after 4 and 130 the same command goes on.")
noise = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Noise power spectra of CT: measure a "
                    "phantom's, show what noise of one looks like.")
app.add_typer(noise, name="noise")


@app.command()
def demo(data: DataPath = None, layout: Layout = None, limit: Limit = None, epochs: Epochs = None,
         seed: Seed = None, out: Out = None, overwrite: Overwrite = False, show_ids: ShowIds = False,
         json: Json = False, fail_below: Gates = None, sets: Sets = None, threads: Threads = None) -> None:
    """The whole job: train a small network, assess it, write the report. Without --data on SYNTHETIC nodules."""
    name = f"demo-{folder_name(Path(data).resolve().stem)}" if data else "demo"
    flags = {"name": name, "data__path": data, "data__layout": layout, "attacks__limit": limit,
             "training__epochs": epochs, "seed": seed, "gates__fail_below": fail_below}
    _carry_out(None, flags, sets, (out, overwrite, show_ids), json, threads)


@app.command()
def run(study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The experiment.")],
        data_root: Annotated[Path | None, typer.Option("--data-root", help="What a relative data.path begins at. "
                                                       "Default: the current folder.")] = None,
        scale: Annotated[str | None, typer.Option("--scale", help="Which of the study's [scales] tables.")] = None,
        data: DataPath = None, limit: Limit = None, epochs: Epochs = None, seed: Seed = None,
        keep_going: KeepGoing = False, out: Out = None, overwrite: Overwrite = False, show_ids: ShowIds = False,
        json: Json = False, fail_below: Gates = None, sets: Sets = None, threads: Threads = None) -> None:
    """A whole experiment from a file, of one data set or several. Every flag overrides one of its keys.

    A study file that names package.module:factory runs that code: read a stranger's before you run it.
    """
    flags = {"data__path": data, "attacks__limit": limit, "training__epochs": epochs, "seed": seed,
             "gates__fail_below": fail_below, "scale": scale}
    _carry_out(study, flags, sets, (out, overwrite, show_ids), json, threads, data_root, keep_going)


@app.command()
def train(data: DataPath = None, study: StudyPath = None, layout: Layout = None, model: ModelName = None,
          epochs: Epochs = None, window: Window = None, crop: Crop = None, size: Size = None,
          spacing: Spacing = None, seed: Seed = None, out: Out = None, overwrite: Overwrite = False,
          json: Json = False, sets: Sets = None, threads: Threads = None) -> None:
    """Train a network and keep the epoch that is best on validation images. SYNTHETIC nodules without --data."""
    flags = {"data__path": data, "data__layout": layout, "model__name": model, "training__epochs": epochs,
             "seed": seed} | prepared(window, crop, size, spacing)
    if study is None:
        flags["name"] = f"train-{folder_name(Path(data).resolve().stem)}" if data else "train"
    _train(study, flags, sets, (out, overwrite, False), json, threads)


@app.command()
def assess(data: DataPath = None, model: ModelName = None, weights: Weights = None, bounds: BoundsPair = None,
           output: Head = None, limit: Limit = None, layout: Layout = None, study: StudyPath = None,
           normalise: Normalise = None, threshold: Threshold = None, window: Window = None, crop: Crop = None,
           size: Size = None, spacing: Spacing = None, epsilon: Epsilons = None, against: Against = None,
           seed: Seed = None, out: Out = None, overwrite: Overwrite = False, show_ids: ShowIds = False,
           json: Json = False, fail_below: Gates = None, sets: Sets = None, threads: Threads = None) -> None:
    """Assess a trained network: attacks, checks, triage, report. Weights written by `train` need no other flag."""
    flags = {"data__path": data, "data__layout": layout, "model__name": model, "model__weights": weights,
             "model__bounds": pair(bounds, "--bounds"), "model__output": output, "model__threshold": threshold,
             "model__normalise": normalised(normalise), "attacks__limit": limit, "attacks__epsilons": epsilon,
             "attacks__against": against, "seed": seed, "gates__fail_below": fail_below}
    flags |= prepared(window, crop, size, spacing) | named(study, data, weights)
    _carry_out(study, flags, sets, (out, overwrite, show_ids), json, threads)


@app.command()
def harden(folder: Run = None, epsilon: TrainingSize = None, method: Method = None, epochs: HardeningEpochs = None,
           from_scratch: Scratch = None, data: DataPath = None, test_data: TestData = None, model: ModelName = None,
           weights: Weights = None, bounds: BoundsPair = None, output: Head = None, limit: Limit = None,
           layout: Layout = None, study: StudyPath = None, normalise: Normalise = None, window: Window = None,
           crop: Crop = None, size: Size = None, spacing: Spacing = None, seed: Seed = None, out: Out = None,
           overwrite: Overwrite = False, show_ids: ShowIds = False, json: Json = False, fail_below: Gates = None,
           sets: Sets = None, threads: Threads = None) -> None:
    """Train a network further on attacked images, assess it anew, and compare: steadier, and at what cost?

    With a RUN, --data gives the images to train on where the run kept none, as one of given weights does.
    """
    flags = {"hardening__epsilon": epsilon, "hardening__method": method, "hardening__epochs": epochs,
             "hardening__scratch": from_scratch, "data__path": test_data or data, "data__layout": layout,
             "data__train": data if test_data else None, "model__name": model, "model__weights": weights,
             "model__bounds": pair(bounds, "--bounds"), "model__output": output,
             "model__normalise": normalised(normalise), "attacks__limit": limit, "seed": seed,
             "gates__fail_below": fail_below} | prepared(window, crop, size, spacing)
    if test_data is not None and (data is None or folder is not None):
        raise UsageError("--test-data gives the images that are assessed where those of --data are to harden with; "
                         f"{'give --data too' if folder is None else 'a RUN has its own'}")
    if epsilon is None and study is None:
        flags["hardening__epsilon"] = "auto"
    if folder is not None:
        if out is not None or overwrite:
            raise UsageError(f"--{'overwrite' if out is None else 'out'}: the run {folder} is hardened in its own "
                             "folder. To compare with another method or size, add --set "
                             "'hardening.compare.NAME={method=\"trades\"}'")
        _harden_run(folder, {key: value for key, value in flags.items() if value is not None}, sets, json, threads,
                    show_ids)
        return
    if study is None:
        flags["name"] = f"harden-{folder_name(Path(data).resolve().stem)}" if data else "harden"
    _carry_out(study, flags, sets, (out, overwrite, show_ids), json, threads)


@app.command()
def triage(folder: RunFolder, withhold: Annotated[float | None, typer.Option(
        "--withhold", min=0.01, max=0.99, help="Share of the reads that a human takes. Default: 0.2.")] = None,
        seed: Seed = None, out: Out = None, json: Json = False) -> None:
    """Which reads of a run to withhold for a human; writes the list as triage.csv. Needs no model."""
    from steadyread.stored import triage_run

    _say(triage_run(folder, withhold, seed or 0, out), json, "triage_lines")


@app.command()
def explain(folder: RunFolder, case: CaseIds = None, fold: FoldNumber = 0,
            layer: LayerName = None, mas: SeenMas = None, attack: SeenAttack = None, model: ModelName = None,
            show_ids: ShowIds = False, out: Out = None, json: Json = False, threads: Threads = None) -> None:
    """What a network of a noise study sees in some cases, with and without noise: attention, features, slices."""
    begin({"data__path": folder})
    use_threads(threads)
    from steadyread.noise_explain import Explaining, explain_run
    from steadyread.progress import progress

    how = Explaining(tuple(case or ()), fold, layer, mas, attack, model)
    _say(explain_run(folder, how, out, progress, show_ids), json, "explain_lines")


@app.command()
def report(folder: RunFolder, seed: Seed = None, show_ids: ShowIds = False, out: Out = None,
           json: Json = False) -> None:
    """Write the report of a run anew from its stored files. Needs no model."""
    from steadyread.stored import report_run

    _say(report_run(folder, seed or 0, out, show_ids), json, "run_lines")


@app.command()
def audit(data: Annotated[str, typer.Argument(metavar="DATA", help="A folder or a file.")], layout: Layout = None,
          exclude: Exclude = None,
          strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 on errors or missing files.")] = False,
          seed: Seed = None, out: Out = None, json: Json = False) -> None:
    """What a data set holds that would spoil a study: duplicates, leaks, split patients, missing files."""
    begin({"data__path": data})
    from steadyread.progress import progress
    from steadyread.running import audit_data

    found = audit_data(data, layout, seed or 0, out, exclude or (), progress)
    _say(found, json, "audit_lines")
    if strict and found["refused"]:
        raise InputRefused(f"{data}: {found['refused']}")


@noise.command()
def measure(sources: Sources, difference: Difference = False, roi: Rois = None,
            side: Side = None, slices: Slices = None, detrend: Detrend = "plane",
            taper: Taper = "none", mas: Mas = None, spacing: PixelSpacing = None,
            array: Array = None, offset: Offset = 0.0, series: SeriesUid = None,
            out: Out = None, json: Json = False) -> None:
    """The noise power spectrum of a phantom series: CSV, picture, sigma, peak and mean frequency."""
    note(f"reading {sources[0]}")
    from steadyread.noise_measure import Measurement, measure_noise

    how = Measurement(difference, tuple(roi or ()), side, slices, detrend, taper, mas, spacing, array, offset,
                      series)
    _say(measure_noise(sources, how, out), json, "noise_lines")


@noise.command()
def show(spectrum: Annotated[str, typer.Argument(metavar="SPECTRUM", help="soft, lung, or a CSV of `measure`.")],
         mas: Annotated[str, typer.Option("--mas", metavar="DOSES", help="Such as 10,50,100.")] = "10,50,100",
         size: Annotated[int, typer.Option("--size", help="Pixels a side.")] = 64,
         spacing: Annotated[float, typer.Option("--spacing", metavar="MM", help="Of the pixels.")] = 1.0,
         draws: Annotated[int, typer.Option("--draws", help="That are measured.")] = 1000,
         reference_mas: Annotated[float | None, typer.Option("--reference-mas", help="Dose of a CSV's values. "
                                                             "Default: as measured.")] = None,
         seed: Seed = None, out: Out = None, json: Json = False) -> None:
    """A spectrum at each dose: given, one draw of it, and what is measured in many ([B] Fig. A1)."""
    from steadyread.noise_show import Showing, show_noise

    how = Showing(size, spacing, draws, seed or 0, reference_mas)
    _say(show_noise(spectrum, numbers(mas, "--mas"), how, out), json, "noise_shown_lines")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what went wrong is one line on stderr."""
    def in_its_words(text: str) -> str:
        return in_flags(text, flags_of(typer.main.get_command(app), argv))

    with doubts_noted():
        return exit_code_of(lambda debugging: app(args=list(argv) if argv is not None else None,
                                                  standalone_mode=False, obj=debugging), in_its_words)


@app.callback(invoke_without_command=True)
def _whole(context: typer.Context,
           version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
           debug: Annotated[bool, typer.Option("--debug", help="Where a command fails, print the whole traceback "
                                               "too: steadyread --debug assess ...")] = False) -> None:
    context.obj.on = debug
    if version:
        printed(f"steadyread {__version__}")
        raise typer.Exit


def _carry_out(study: Path | None, flags: dict[str, Any], sets: list[str] | None, out: Place, json: bool,
               threads: int | None, data_root: Path | None = None, keep_going: bool = False) -> None:
    begin(flags, study)
    use_threads(threads)
    from steadyread.study import keyed, override

    above = [keyed(**flags), *[override(text) for text in sets or ()]]
    try:
        done = _done(study, above, out, data_root, keep_going)
    except UsageError as problem:
        if study is None:
            raise
        raise InputRefused(str(problem)) from problem   # the study is the input, and what it says is refused
    _say(done.as_json(), json, "run_lines")
    if done.failed:
        raise GateFailed("; ".join(judged.message for judged in done.failed))
    failures = getattr(done, "failures", {})
    if failures:
        raise Partial(f"{len(failures)} of {len(done.summary['titles'])} data sets failed: "
                      + "; ".join(failures.values()))
    _refuse_whole(done)


def _refuse_whole(done: "Done | SetsDone") -> None:
    """What was set aside makes a result partial."""
    if done.set_aside:
        raise Partial(f"{'; '.join(done.set_aside)}. The others are done")


def _done(study: Path | None, above: list[dict[str, Any]], out: Place, data_root: Path | None,
          keep_going: bool) -> "Done | SetsDone":
    from steadyread.progress import progress
    from steadyread.running import carry_out
    from steadyread.study import Sets, read_studies

    stated = read_studies(study, *above)
    if isinstance(stated, Sets):
        from steadyread.sets import carry_out_sets

        return carry_out_sets(stated.rooted(data_root), out[0], progress, keep_going, *out[1:])
    return carry_out(stated.rooted(data_root), out[0], progress, *out[1:])


def _harden_run(folder: Path, flags: dict[str, Any], sets: list[str] | None, json: bool,
                threads: int | None, show_ids: bool) -> None:
    """The study of a finished run with a hardening added, carried out in the run's own folder."""
    begin({"data__path": folder})
    use_threads(threads)
    from steadyread.progress import progress
    from steadyread.running import harden_run
    from steadyread.study import keyed, override

    if "data__path" in flags:
        flags["data__train"] = str(Path(flags.pop("data__path")).expanduser().resolve())
    own = [key for key in flags if not key.startswith(("hardening__", "gates__", "data__train", "model__name"))]
    if own:
        raise UsageError(f"--{own[0].split('__')[-1]}: the run {folder} has its own images and network; give only "
                         "what says how to harden it (and --data, images to train on), or leave the run out")
    done = harden_run(folder, [keyed(**flags), *[override(text) for text in sets or ()]], progress, show_ids)
    _say(done.as_json(), json, "run_lines")
    if done.failed:
        raise GateFailed("; ".join(judged.message for judged in done.failed))
    _refuse_whole(done)


def _train(study: Path | None, flags: dict[str, Any], sets: list[str] | None, out: Place, json: bool,
           threads: int | None) -> None:
    begin(flags, study)
    use_threads(threads)
    from steadyread.progress import progress
    from steadyread.running import train as train_study
    from steadyread.study import keyed, override, read_study

    stated = read_study(study, keyed(**flags), *[override(text) for text in sets or ()])
    _say(train_study(stated, out[0], progress, out[1]), json, "train_lines")


def _say(found: Mapping[str, Any], json: bool, lines: str) -> None:
    from steadyread import console

    console.say(found, json, getattr(console, lines))
