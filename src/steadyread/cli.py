"""The command line: each command hands its flags to one library function. Imports torch only when it works."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyread import flags
from steadyread._version import __version__
from steadyread.ending import exit_code_of, printed
from steadyread.errors import GateFailed, InputRefused, Partial, UsageError
from steadyread.manual import Group
from steadyread.noise_commands import noise
from steadyread.options import Given, command, flags_of, in_flags, named, named_by_data, say
from steadyread.progress import doubts_noted, note
from steadyread.starting import begin, use_threads

if TYPE_CHECKING:
    from steadyread.jobs.run import Done

START, FINISHED, DATA = "Start", "A finished run", "Data and networks"     # the panels of commands
app = typer.Typer(name="steadyread", cls=Group, add_completion=False, no_args_is_help=True, rich_markup_mode=None,
                  pretty_exceptions_enable=False, help="How steady is an imaging classifier's read?\n\nFinds the "
                  "smallest change that flips each image, and the cases that a human should read instead.",
                  epilog="Exit codes: 0 done, 1 a gate of --fail-below not met or an error found by check, 2 usage, "
                  "3 input refused, 4 partial, 70 an internal error (--debug shows where), 130 interrupted, 141 "
                  "stdout closed early. After 4 and 130, run the same command again to continue.")
app.add_typer(noise, name="noise", rich_help_panel=DATA)


@command(app, START, flags.DATA_PATH, *flags.READ_FLAGS, flags.LIMIT, flags.EPOCHS, flags.SEED, *flags.RESULT_FLAGS)
def demo(given: Given) -> None:
    """Train a small network, assess it, report.

    Without --data it uses SYNTHETIC nodules and takes two minutes.

    steadyread demo
    steadyread demo --data images --epochs 10 --out runs/first
    """
    _carry_out(given, {"name": named_by_data("demo", given[flags.DATA_PATH])})


@command(app, START, *flags.ASSESSED_FLAGS, flags.JSON, flags.SETS, flags.THREADS)
def check(given: Given) -> None:
    """Find common mistakes before any attack.

    In thirty seconds: scale, channels, head, classes, threshold, leaks. Takes the flags of assess. Exit code 1 if a
    rule of severity error fires.

    steadyread check --data images --weights model.safetensors
    steadyread check --data images --model net.onnx --bounds 0,255 --output logit
    """
    settings, study = given.settings, given[flags.STUDY]
    begin(settings, study)
    use_threads(given[flags.THREADS])
    from steadyread.jobs.preflight import check_study
    from steadyread.progress import progress
    from steadyread.study import read_studies

    try:
        found = check_study(read_studies(study, *_above(given, settings)), progress)
    except UsageError as problem:
        if study is None:
            raise
        raise InputRefused(str(problem)) from problem
    say(given, found, "check_lines")
    if not found["passed"]:
        errors = [each.get("code") or each["check"] for each in found["findings"] if each["severity"] == "error"]
        raise GateFailed(f"errors before any attack: {', '.join(errors)}")


@command(app, START, *flags.ASSESSED_FLAGS, flags.QUICK, *flags.RESULT_FLAGS)
def assess(given: Given) -> None:
    """Attack a trained network and report.

    Attacks, checks, triage, report. Weights written by `train` need no other flag.

    steadyread assess --data images --weights model.safetensors
    steadyread assess --data images --model net.onnx --bounds 0,255 --output logit --quick
    """
    _carry_out(given, named(given))


@command(app, START, flags.STUDY_FILE, flags.DATA_ROOT, flags.SCALE, flags.DATA_PATH, flags.LIMIT, flags.EPOCHS,
         flags.SEED, flags.KEEP_GOING, *flags.RESULT_FLAGS)
def run(given: Given) -> None:
    """Carry out a study from a file.

    With one data set or several, under any threat. A flag overrides the key that it stands for. A study file that names
    package.module:factory runs that code: read a stranger's before you run it.

    steadyread run study.toml
    steadyread run study.toml --limit 50 --set seed=1 --out runs/small
    """
    _carry_out(given)


@command(app, FINISHED, flags.RUNS, flags.OF_NETWORK, flags.BY_ID, flags.RESAMPLED, flags.COMPARED_OUT, flags.JSON)
def compare(given: Given) -> None:
    """Compare networks on the same images.

    For each run, its network and those hardened from it, case by case, with intervals over patients. Needs no model.

    steadyread compare runs/one runs/other
    steadyread compare runs/demo runs/wider runs/deeper --out runs/three
    """
    runs = given[flags.RUNS]
    note(f"reading {', '.join(map(str, runs))}")
    from steadyread import console
    from steadyread.comparing import compare as compare_runs
    from steadyread.comparing import folder_for

    found = compare_runs(*runs, network=given[flags.OF_NETWORK], by_id=given[flags.BY_ID],
                         seed=given[flags.RESAMPLED])
    page = found.report(given[flags.COMPARED_OUT] or folder_for(runs))
    console.say({**found.summary(), "report": str(page)}, given[flags.JSON],
                lambda told: console.compared_lines(told, found.comparison.each_different()))


@command(app, FINISHED, flags.SOME_RUN, flags.TRAINING_SIZE, flags.METHOD, flags.HARDENING_EPOCHS, flags.SCRATCH,
         flags.DATA_PATH, flags.TEST_DATA, *flags.NETWORK_FLAGS, flags.LIMIT, *flags.READ_FLAGS, flags.STUDY,
         *flags.PREPARED_FLAGS, flags.SEED, *flags.RESULT_FLAGS)
def harden(given: Given) -> None:
    """Harden a network and compare before and after.

    Trains it further on attacked images and assesses it again: is it steadier, and at what cost? With a RUN, --data
    gives the images to train on if the run has none, as when its weights were given.

    steadyread harden runs/demo
    steadyread harden runs/demo --method trades --epsilon '2.8 HU'
    """
    folder, data, test_data = given[flags.SOME_RUN], given[flags.DATA_PATH], given[flags.TEST_DATA]
    more = {} if given[flags.TRAINING_SIZE] or given[flags.STUDY] else {"hardening__epsilon": "auto"}
    if test_data is not None and (data is None or folder is not None):
        raise UsageError("--test-data gives the images that are assessed where those of --data are to harden with; "
                         f"{'give --data too' if folder is None else 'a RUN has its own'}")
    if folder is not None:
        if given[flags.OUT] is not None or given[flags.OVERWRITE]:
            raise UsageError(f"--{'overwrite' if given[flags.OUT] is None else 'out'}: the run {folder} is hardened in "
                             "its own folder. To compare with another method or size, add --set "
                             "'hardening.compare.NAME={method=\"trades\"}'")
        _harden_run(given, folder, given.settings | more)
        return
    if test_data is not None:
        more |= {"data__path": test_data, "data__train": data}
    if given[flags.STUDY] is None:
        more["name"] = named_by_data("harden", data)
    _carry_out(given, more)


@command(app, FINISHED, flags.SHOWN_RUNS, flags.PORT, flags.NO_BROWSER, flags.READER, flags.EXPORT, flags.MODEL,
         flags.SHOW_IDS)
def view(given: Given) -> None:
    """Look at every case of a run, and mark it.

    In a browser, on this machine alone: filter, sort, ask the network at any size, keep marks and notes. Ctrl-C ends
    it.

    steadyread view runs/demo
    steadyread view runs/first runs/second --export marks.csv
    """
    from steadyread.viewer.serving import Viewing, export, serve

    runs = given[flags.SHOWN_RUNS]
    if given[flags.EXPORT] is not None:
        printed(export(runs, given[flags.EXPORT], bool(given[flags.SHOW_IDS])))
        return
    serve(runs, Viewing(given[flags.PORT], given[flags.READER] or "", not given[flags.NO_BROWSER],
                        bool(given[flags.SHOW_IDS]), given[flags.MODEL]))


@command(app, FINISHED, flags.RUN, flags.OF_SETS, flags.OF_NETWORK, flags.WITHHOLD, flags.RESAMPLED, flags.OUT,
         flags.JSON)
def triage(given: Given) -> None:
    """List the reads that a human should take.

    Writes the list as triage.csv. Needs no model.

    steadyread triage runs/demo
    steadyread triage runs/demo --withhold 0.1 --out handed-over
    """
    note(f"reading {given[flags.RUN]}")
    from steadyread.stored import triage_sets

    say(given, triage_sets(given[flags.RUN], given[flags.OF_SETS] or (), *(given[flag] for flag in (
        flags.WITHHOLD, flags.RESAMPLED, flags.OUT, flags.OF_NETWORK))), "triage_lines")


@command(app, FINISHED, flags.RUN, flags.CASE_IDS, flags.FOLD, flags.LAYER, flags.SEEN_MAS, flags.SEEN_ATTACK,
         flags.MODEL, flags.SHOW_IDS, flags.OUT, flags.JSON, flags.THREADS)
def explain(given: Given) -> None:
    """Show what a network looks at under CT noise.

    Some cases of a noise study, with and without noise: attention, features, slices.

    steadyread explain runs/noise
    steadyread explain runs/noise --case nodule-17 --mas 50 --attack rings
    """
    begin({"data__path": given[flags.RUN]})
    use_threads(given[flags.THREADS])
    from steadyread.noise_explain import Explaining, explain_run
    from steadyread.progress import progress

    how = Explaining(tuple(given[flags.CASE_IDS] or ()), *(given[flag] for flag in (
        flags.FOLD, flags.LAYER, flags.SEEN_MAS, flags.SEEN_ATTACK, flags.MODEL)))
    say(given, explain_run(given[flags.RUN], how, given[flags.OUT], progress, given[flags.SHOW_IDS]), "explain_lines")


@command(app, FINISHED, flags.RUN, flags.RESAMPLED, flags.SHOW_IDS, flags.NO_IMAGES, flags.OUT, flags.JSON)
def report(given: Given) -> None:
    """Write the report of a run again.

    From its stored files; needs no model.

    steadyread report runs/demo
    steadyread report runs/demo --out elsewhere --show-ids
    """
    note(f"reading {given[flags.RUN]}")
    from steadyread.stored import report_run

    say(given, report_run(given[flags.RUN], given[flags.RESAMPLED], given[flags.OUT], given[flags.SHOW_IDS],
                           not given[flags.NO_IMAGES]),
         "run_lines")


@command(app, DATA, flags.AUDITED, *flags.READ_FLAGS, flags.STRICT, flags.SEED, flags.OUT, flags.JSON)
def audit(given: Given) -> None:
    """Find what in a data set would spoil a study.

    Duplicates, leaks, patients in two parts, missing files.

    steadyread audit images
    steadyread audit list.csv --root images --strict
    """
    data = given[flags.AUDITED]
    begin({"data__path": data})
    from steadyread.jobs.audit import audit_data
    from steadyread.progress import progress

    options = {flag.key.rpartition(".")[2]: given[flag] for flag in flags.READ_FLAGS[1:] if given[flag]}
    found = audit_data(data, given[flags.LAYOUT], given[flags.SEED] or 0, given[flags.OUT], options, progress)
    say(given, found, "audit_lines")
    if given[flags.STRICT] and found["refused"]:
        raise InputRefused(f"{data}: {found['refused']}")


@command(app, DATA, flags.DATA_PATH, flags.STUDY, *flags.READ_FLAGS, flags.MODEL, flags.EPOCHS,
         *flags.PREPARED_FLAGS, flags.SEED, flags.OUT, flags.OVERWRITE, flags.JSON, flags.SETS, flags.THREADS)
def train(given: Given) -> None:
    """Train a network on your own images.

    Keeps the epoch that is best on validation images. Without --data it uses SYNTHETIC nodules.

    steadyread train --data images
    steadyread train --data images --size 64 --epochs 20 --out runs/net
    """
    settings = given.settings | ({} if given[flags.STUDY] else {"name": named_by_data("train", given[flags.DATA_PATH])})
    begin(settings, given[flags.STUDY])
    use_threads(given[flags.THREADS])
    from steadyread.jobs.run import train as train_study
    from steadyread.progress import progress
    from steadyread.study import read_studies

    stated = read_studies(given[flags.STUDY], *_above(given, settings))
    say(given, train_study(stated, given[flags.OUT], progress, given[flags.OVERWRITE]), "train_lines")


@command(app, DATA, flags.NETWORK, flags.WEIGHTS, flags.JSON)
def inspect(given: Given) -> None:
    """Say what a network's file holds.

    Format, input, head, classes, gradients, and the next command.

    steadyread inspect net.onnx
    steadyread inspect net.py:make --weights net.pth
    """
    note(f"reading {given[flags.NETWORK]}")
    from steadyread.networks import inspected

    say(given, inspected(given[flags.NETWORK], given[flags.WEIGHTS]), "network_lines")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what went wrong is one line on stderr."""
    def in_its_words(text: str) -> str:
        return in_flags(text, flags_of(typer.main.get_command(app), argv))

    with doubts_noted():
        return exit_code_of(lambda debugging: app(args=list(argv) if argv is not None else None, prog_name="steadyread",
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


def _above(given: Given, settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The settings that are laid over a study: flags, and then --set."""
    from steadyread.study import keyed, override

    return [keyed(**settings), *(override(text) for text in given[flags.SETS] or ())]


def _carry_out(given: Given, more: Mapping[str, Any] | None = None) -> None:
    """The study that the flags, and `more` settings, come to, to its end and its exit code."""
    study, settings = given[flags.STUDY_FILE] or given[flags.STUDY], given.settings | dict(more or {})
    begin(settings, study)
    use_threads(given[flags.THREADS])
    above = _above(given, settings)
    try:
        done = _done(given, study, above)
    except UsageError as problem:
        if study is None:
            raise
        raise InputRefused(str(problem)) from problem   # the study is the input, and what it says is refused
    _told(given, done)


def _told(given: Given, done: "Done") -> None:
    """What came of a study, and the exit code of a gate that was not met, of data sets that failed, of what was set
    aside, or of trackers that did not take the run."""
    say(given, done.as_json(), "run_lines")
    if done.failed:
        raise GateFailed("; ".join(judged.message for judged in done.failed))
    if done.failures:
        raise Partial(f"{len(done.failures)} of {len(done.summary['titles'])} data sets failed: "
                      + "; ".join(done.failures.values()))
    if done.set_aside:
        raise Partial(f"{'; '.join(done.set_aside)}. The others are done")
    if done.untracked:
        raise Partial("; ".join(done.untracked))


def _done(given: Given, study: Path | None, above: list[Mapping[str, Any]]) -> "Done":
    from steadyread.jobs.run import carry_out
    from steadyread.progress import progress
    from steadyread.study import read_studies

    overwrite, show_ids, keep_going = (bool(given[flag])
                                       for flag in (flags.OVERWRITE, flags.SHOW_IDS, flags.KEEP_GOING))
    return carry_out(read_studies(study, *above).rooted(given[flags.DATA_ROOT]), given[flags.OUT], progress, overwrite,
                     show_ids, keep_going, not given[flags.NO_IMAGES])


def _harden_run(given: Given, folder: Path, settings: dict[str, Any]) -> None:
    """The study of a finished run with a hardening added, carried out in the run's own folder."""
    begin({"data__path": folder})
    use_threads(given[flags.THREADS])
    from steadyread.jobs.run import harden_run
    from steadyread.progress import progress

    if "data__path" in settings:
        settings["data__train"] = str(Path(settings.pop("data__path")).expanduser().resolve())
    own = [key for key in settings if not key.startswith(("hardening__", "gates__", "data__train", "model__name",
                                                               "track"))]
    if own:
        raise UsageError(f"--{own[0].split('__')[-1]}: the run {folder} has its own images and network; give only "
                         "what says how to harden it (and --data, images to train on), or leave the run out")
    _told(given, harden_run(folder, _above(given, settings), progress, bool(given[flags.SHOW_IDS]),
                            not given[flags.NO_IMAGES]))
