"""Measures steadyread beside other libraries and writes docs/benchmarks.md.

    make bench                                      every table
    make bench ARGS='--tables fixed_size,curve'     these anew; the page keeps the others as last measured
    make bench ARGS=--record                        and holds later runs against this one
"""

import argparse
import importlib
import sys
import time
import warnings
from pathlib import Path

import torch

from benchmarks.guard import gone, losses, read_recorded, record
from benchmarks.page import IMAGES, about, page
from benchmarks.setup import Setup
from benchmarks.table import Table, read_table
from steadyread.records import write_text

TABLES = ("fixed_size", "smallest", "tightness", "curve", "heads", "ct_noise", "epoch", "hardening", "growth", "gpu")
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"


def arguments() -> argparse.Namespace:
    """As stated on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--tables", default=",".join(TABLES), help="which, of " + ", ".join(TABLES))
    parser.add_argument("--data-root", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "benchmarks", help="networks and tables")
    parser.add_argument("--page", type=Path, help="what is written; docs/benchmarks.md, of a quick trial quick.md "
                        "in the folder")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs, one more to warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a trial at the smallest sizes; not for quoting")
    parser.add_argument("--record", action="store_true", help="later runs are held against this one")
    asked = parser.parse_args()
    unknown = [name for name in asked.tables.split(",") if name not in TABLES]
    if unknown:
        parser.error(f"no table '{unknown[0]}'; there are {', '.join(TABLES)}")
    if asked.rounds < 1 or asked.threads < 1:
        parser.error(f"--rounds and --threads are at least 1; got {asked.rounds} and {asked.threads}")
    if not asked.data_root.is_dir():
        parser.error(f"no folder {asked.data_root}: state with --data-root (make: DATA=) where the data sets are")
    if asked.quick and asked.record:
        parser.error("--quick is no measurement to record")
    asked.page = asked.page or (asked.folder / "quick" / "quick.md" if asked.quick else PAGE)
    return asked


def main() -> int:
    """Measures, writes the page, and reports what got worse (exit code 0: a ratio is not a test)."""
    asked = arguments()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")   # of the others
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setup = Setup(asked.data_root, asked.folder, asked.rounds, asked.threads, asked.quick, device)
    tables = asked.folder / "quick" if asked.quick else asked.folder
    for name in asked.tables.split(","):
        began = time.perf_counter()
        table: Table = importlib.import_module(f"benchmarks.{name}").measure(setup)
        table.write(tables, about(setup))
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    places = [tables / f"{name}.json" for name in TABLES]
    measured = [read_table(place) for place in places if place.exists()]
    ratios = {f"{table.key}: {name}": value for table, _ in measured for name, value in table.guarded.items()}
    recorded = read_recorded()
    lost = [*losses(ratios, recorded), *gone(ratios, recorded)] if recorded else None
    asked.page.parent.mkdir(parents=True, exist_ok=True)
    asked.page.write_text(page(measured, lost))
    for chart in (each for table, _ in measured for each in table.drawn):
        write_text(asked.page.parent / IMAGES / f"{chart.name}.svg", chart.svg)
    for line in lost or ():
        print(line, file=sys.stderr)
    if asked.record:
        record(ratios)
    print(asked.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
