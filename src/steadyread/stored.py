"""A finished run read again from its folder: its triage, its report. Needs neither model nor images."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.errors import InputRefused, UsageError, unwritable
from steadyread.files import PAGE, SALT, SETTINGS, SUMMARY
from steadyread.folder_lock import locked, sweep
from steadyread.metrics.plan import section, share_to_withhold
from steadyread.metrics.summary import as_json
from steadyread.metrics.triage import triage
from steadyread.registry import nearest
from steadyread.report import write_report
from steadyread.report.referral import LIST, listed
from steadyread.report.shareable import Shareable, secret_of
from steadyread.store import PLAIN, Opened, open_cells, refuse_several_sets, run_folder, seed_of
from steadyread.words.plain import comparison


def triage_run(folder: str | Path, withhold: float | None = None, seed: int | None = None,
               out: str | Path | None = None, network: str | None = None) -> dict[str, Any]:
    """What to withhold for a human, as plain values, and the list of reads as triage.csv in `out`.

    Args:
        withhold: share of the reads; what the run's study states if None.
        seed: by which intervals are resampled; the run's own if None.
        out: the run's own folder if None.
        network: whose reads they are; the study's own if None.

    Raises:
        InputRefused: no records there, or no smallest flips in them; several findings, of which none is named.
        UsageError: no such network.
    """
    folder = Path(folder)
    settings = records.read_object(folder / SETTINGS) or {}
    refuse_several_sets(folder, settings)
    own = _network(open_cells(folder), network)
    reads, validation = own.reads(), own.reads("validation")
    if reads.smallest_flip("prediction") is None:
        raise InputRefused(f"{folder} has no smallest flips against the prediction, which triage goes by: assess "
                           "again with attacks.smallest_flip = true and attacks.against = 'both'")
    share = withhold if withhold is not None else share_to_withhold({"study": settings})
    found = triage(reads, validation if len(validation) else None, share, seed_of(folder) if seed is None else seed)
    path = Path(out or folder) / LIST
    shared = Shareable(secret_of(folder)) if (folder / SALT).exists() else None
    records.write_text(path, listed(reads, found, shared))
    known = bool(section(own.plan, "data").get("patients_known"))
    plain: dict[str, Any] = as_json(found | {"comparison": comparison(found, known), "list": str(path)})
    return plain


def triage_sets(folder: str | Path, sets: Sequence[str] = (), withhold: float | None = None, seed: int | None = None,
                out: str | Path | None = None, network: str | None = None) -> dict[str, Any]:
    """What `triage_run` gives; of a run of several data sets that of each (of `sets`; all if none are named) under
    `sets`, the lists in the folder of each.

    Raises:
        InputRefused: as `triage_run`, with the name of the set.
        UsageError: no such data set, or sets are named of a run of one.
    """
    folder = run_folder(folder)
    held = (records.read_object(folder / SETTINGS) or {}).get("sets")
    if not isinstance(held, Mapping):
        if sets:
            raise UsageError(f"--set: {folder} holds one data set: leave it out")
        return triage_run(folder, withhold, seed, out, network)
    for name in sets:
        if name not in held:
            raise UsageError(f"--set: {folder} has no data set '{name}'{nearest(name, list(held))}")
    return {"sets": {name: triage_run(folder / name, withhold, seed, None if out is None else Path(out) / name, network)
                     for name in sets or held}}


def _network(opened: Opened, name: str | None) -> Opened:
    """The network of that name, the study's own if None."""
    plain = opened.select(stage=PLAIN)
    names = list(dict.fromkeys(cell.network for cell in plain.cells))
    if name is None and len(names) > 1 and plain.cells[0].finding:
        raise InputRefused(f"{opened.folder} has the findings {', '.join(names)}: name one of them as the network")
    if name is not None and name not in names:
        raise UsageError(f"network: no network '{name}'{nearest(name, names)}")
    return opened.own if name is None else plain.select(network=name)


def report_run(folder: str | Path, seed: int | None = None, out: str | Path | None = None, show_ids: bool = False,
               images: bool = True) -> dict[str, Any]:
    """The report of a run written anew (and copied to `out`), as what `summary.json` holds.

    Intervals are resampled by `seed`, the run's own if None, which gives the page that the run wrote. `show_ids` shows
    cases, patients and paths as they are, where else pseudonyms and the names of files stand. Without `images` the
    report has none of patients.

    Raises:
        InputRefused: no plan or records there, or a stored file that is not what it should be.
    """
    with locked(run_folder(folder)):
        sweep(Path(folder))
        page = write_report(folder, seed_of(Path(folder)) if seed is None else seed, show_ids, images)
    if out is not None:
        page = _copied(Path(folder), Path(out)) / page.name
    return {**records.read_json(page.parent / SUMMARY), "report": str(page)}


def _copied(folder: Path, out: Path) -> Path:
    try:
        shutil.copytree(folder / "figures", out / "figures", dirs_exist_ok=True)
        for name in (PAGE, SUMMARY):
            shutil.copyfile(folder / name, out / name)
    except OSError as problem:
        raise unwritable(out, problem) from problem
    return out
