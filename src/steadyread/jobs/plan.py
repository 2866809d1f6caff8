"""What a study comes to: its cells, each one network, where each of them writes, and which come after which.

Everything that varies is a value of a column of the records: data set, network, stage and hardening, fold. A plain
run is one set, one network, one fold, stage plain.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from steadyread.errors import UsageError
from steadyread.files import EQUAL, HARDENED, JOBS, SEEDS
from steadyread.metrics.reads import ORIGINAL
from steadyread.store import Cell, data_of
from steadyread.study import Hardening, NoiseHardening, Study
from steadyread.study.noise_hardening import BEFORE
from steadyread.study.sections import Gates, Triage, Under

_APART = 1_000_003   # between the draws of two folds


@dataclass(frozen=True)
class Asked:
    """A hardening that a study states: the section that states it, whether it is that section's own rather than one
    that is compared with it, and how."""

    name: str
    under: Under
    main: bool
    how: Hardening | NoiseHardening

    def stage(self, study: Study) -> str:
        """The stage of the networks that it leaves."""
        return HARDENED if self.main and study.alone else self.name


def attack_seed(study: Study, cell: Cell) -> int:
    """The seed of a cell's attacks: another for every fold, the same for all variants, which are compared."""
    return study.seed + _APART * (cell.fold or 0)


def training_seed(study: Study, cell: Cell) -> int:
    """The seed of a cell's weights and training: another for every network of a study, so that they vary as trainings
    do; the study's own where there is one."""
    if study.alone:
        return study.seed
    key = f"{study.seed} {cell.network} {cell.fold or 0}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") >> 1


def place(study: Study, cell: Cell) -> Path:
    """Where a cell writes, below the folder of its data set: the one place that says so.

    A study of one network writes into that folder itself, hardened ones into hardened/ and hardened-NAME/. Of several
    networks, and under CT noise, they go to jobs/NETWORK/fold-K/ and hardened/NAME/fold-K/.
    """
    if study.alone:
        return Path() if not cell.hardened else Path(
            HARDENED if cell.stage == HARDENED else f"{HARDENED}-{cell.stage}")
    return Path(HARDENED, cell.stage, f"fold-{cell.fold or 0}") if cell.hardened else Path(
        JOBS, cell.network, f"fold-{cell.fold or 0}")


def folds_of(study: Study) -> Sequence[int | None]:
    """The folds; one that is None without cross-validation."""
    return range(study.split.folds) if study.split.folds else (None,)


def cells_of(study: Study) -> tuple[list[Cell], ...]:
    """The cells in three steps, each of which needs those before it alone: the plain networks; each section's own
    hardening; those that it is compared with, which go by its size or its cost."""
    folds = folds_of(study)
    plain = [Cell(network=network, fold=fold) for network in study.networks for fold in folds]
    hardened = list(hardenings_of(study))
    first = [cell for cell, asked in hardened if asked.main]
    then = [cell for cell, asked in hardened if not asked.main]
    if study.noise is not None and study.noise.hardening is not None:
        first.append(Cell(network=study.noise.hardening.variant, stage=BEFORE))
    return plain, *([replace(cell, fold=fold) for cell in cells for fold in folds] for cells in (first, then))


def hardenings_of(study: Study) -> Iterator[tuple[Cell, Asked]]:
    """Every hardening that the study states, with its cell on no fold; a section's own is called by its method."""
    for network, asked in _asked(study):
        yield Cell(network=network, stage=asked.stage(study)), asked


def _asked(study: Study) -> Iterator[tuple[str, Asked]]:
    """Every hardening that the study states, with the network that it begins with."""
    if study.hardening is not None:
        yield ORIGINAL, Asked(study.hardening.method, "hardening", True, study.hardening)
        yield from ((ORIGINAL, Asked(name, "hardening", False, other))
                    for name, other in study.hardening.compared.items())
    if study.noise is not None and study.noise.hardening is not None:
        own = study.noise.hardening.method
        yield from ((other.variant, Asked(name, "noise.hardening", name == own, other))
                    for name, other in study.noise.hardening.whole.items())


def hardening_of(study: Study, cell: Cell) -> Asked:
    """How a cell is hardened; `before` is the network as it is.

    Raises:
        UsageError: the study states no such hardening.
    """
    if cell.stage == BEFORE:
        return Asked(BEFORE, "noise.hardening", False, NoiseHardening(method="none"))
    for other, asked in hardenings_of(study):
        if other.stage == cell.stage:
            return asked
    raise UsageError(f"the study has no hardening '{cell.stage}'; state one")


@dataclass(frozen=True)
class Branch:
    """One data set of a plan, at its own conditions or at the equal ones: its study, and where it writes.

    `name` is "" where the study is of one data set. `repeat` counts the further seeds from which its network is trained
    and hardened, of which nothing is kept but what tells the gain.
    """

    name: str
    equal: bool
    study: Study
    folder: Path
    repeat: int = 0

    @property
    def data(self) -> str:
        """What it is called: the value of its cells' column."""
        return ", ".join(filter(None, (data_of(self.name, self.equal), f"seed {self.study.seed}" * bool(self.repeat))))

    def __str__(self) -> str:
        return self.data


def branches_of(study: Study, folder: Path) -> list[Branch]:
    """The data sets of a study in its folder, each before its further seeds; those at equal conditions after the
    others."""
    if not study.sets:
        return [*_with_repeats(Branch("", False, study, folder))]
    return [*(branch for name, own in study.sets.items()
              for branch in _with_repeats(Branch(name, False, own, folder / name))),
            *(Branch(name, True, own, folder / name / EQUAL) for name, own in study.equal.items())]


def _with_repeats(branch: Branch) -> Iterator[Branch]:
    yield branch
    for number in range(1, 1 if branch.study.quick else branch.study.seeds):
        yield replace(branch, study=repeated(branch.study, number), folder=branch.folder / SEEDS / f"seed-{number}",
                      repeat=number)


def repeated(study: Study, number: int) -> Study:
    """The study once more with another seed, on the same split: its own hardening alone, judged by smallest flips."""
    hardening = study.hardening and study.hardening.model_copy(update={"compare": {}})
    split = study.split if study.split.seed is not None else study.split.model_copy(update={"seed": study.seed})
    attacks = study.attacks.model_copy(update={"use": (), "epsilons": (), "against": "label"})
    return study.model_copy(update={"seed": study.seed + number, "seeds": 1, "split": split, "hardening": hardening,
                                    "attacks": attacks, "triage": Triage(), "gates": Gates(), "track": ()})


@dataclass(frozen=True)
class Job:
    """One cell of a branch to be carried out."""

    branch: Branch
    cell: Cell

    @property
    def study(self) -> Study:
        """That of its data set, as it was asked."""
        return self.branch.study

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return self.cell.folder

    def folder_of(self, cell: Cell) -> Path:
        """Where another cell of the same data set writes."""
        return self.branch.folder / place(self.study, cell)

    @property
    def named(self) -> str:
        """What its network is called."""
        name = f"hardening {hardening_of(self.study, self.cell).name}" if self.cell.hardened else self.cell.network
        return name if self.cell.fold is None else f"{name}, fold {self.cell.fold}"

    def __str__(self) -> str:
        own = "" if self.study.alone and not self.cell.hardened else self.named
        return ", ".join(filter(None, (self.branch.data, own)))


def jobs_of(branches: Sequence[Branch]) -> list[list[Job]]:
    """The jobs of all data sets, step by step; steps without jobs are left out."""
    steps = [[Job(branch, replace(cell, folder=branch.folder / place(branch.study, cell), data=branch.data))
              for branch in branches for cell in cells_of(branch.study)[step]] for step in range(3)]
    return [step for step in steps if step]
