"""The network and the images of a run, opened again where they are at hand: what is asked of them is asked anew."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steadyread import records
from steadyread.assessment import SMALLEST_FLIP, Attack, model_digest, name_of
from steadyread.attacks.random_noise import sizes_at
from steadyread.cases import Cases, collate
from steadyread.classifier import Classifier
from steadyread.errors import Doubt, InputRefused, SteadyreadError
from steadyread.files import MODEL, SETTINGS
from steadyread.jobs.attacks import attacks_on, noise_of
from steadyread.jobs.cards import refuse_unnamed
from steadyread.jobs.job import study_of
from steadyread.jobs.material import Listed, Material, listed
from steadyread.jobs.networks import loaded, placed
from steadyread.jobs.pictures import said_along
from steadyread.jobs.plan import attack_seed
from steadyread.jobs.ready import ready_for
from steadyread.metrics.plan import section
from steadyread.store import Cell
from steadyread.study import Study
from steadyread.study.reading import reread
from steadyread.threats.spectrum import SpectrumWarning
from steadyread.types import Batch

_AS_RECORDED = 0.02     # logits; other versions and processors round otherwise, another network reads otherwise
_HELD = 8               # cases whose flips are kept
Logits = NDArray[np.floating[Any]]


@dataclass(eq=False)
class AtHand:
    """What is at hand of one cell of the run of a data set in the folder `place`: opened when it is first asked for, by
    one thread at a time.

    `trusted` is the name of a network that is not built in, as the user repeated it.
    """

    place: Path
    cell: Cell
    trusted: str | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _problem: SteadyreadError | None = None
    _moved: dict[str, "Moved"] = field(default_factory=dict)

    @property
    def absent(self) -> str:
        """Why nothing can be asked, "" where it can; opens what is there.

        A line for a person: what fails here is not at hand, and what is stored is shown.
        """
        try:
            with self._opened():
                return ""
        except SteadyreadError as problem:
            return str(problem)

    def flip(self, case_id: str, recorded: Logits) -> "Moved":
        """The image of a case with the change that flips its read, found by the search that the run made, with its
        seed. `recorded` are the logits (k,) that the run kept of it.

        Raises:
            InputRefused: the network or the image is not that which was assessed, or nothing is at hand.
        """
        with self._opened():
            if case_id not in self._moved:
                while len(self._moved) >= _HELD:
                    self._moved.pop(next(iter(self._moved)))
                self._moved[case_id] = self._searched(self._image(case_id, recorded))
            return self._moved[case_id]

    def redraw(self, case_id: str, recorded: Logits, draw: int, mas: Sequence[float] = ()) -> "Moved":
        """The image of a case with a draw of the study's CT noise, at these doses or at the study's own: the first draw
        is the first by which the run tried it.

        Raises:
            InputRefused, UsageError: as `flip`, or a dose that is none.
        """
        with self._opened():
            batch, noise = self._image(case_id, recorded), noise_of(self._study)
            doses = tuple(float(dose) for dose in mas) or tuple(sorted(map(float, self._study.ct_noise.mas)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SpectrumWarning)      # the study's own report says it
                drawn = noise.start(batch, torch.ones(1, device=batch.images.device), self._seed, draw)
                return Moved(batch, drawn, doses, tuple(sizes_at(noise, doses, batch)[0].tolist()))

    def spacing(self, case_id: str) -> list[float] | None:
        """The spacing of a case's pixels in mm, an axis each; None where it is unknown, or the case not opened yet."""
        moved = self._moved.get(case_id)
        known = moved.batch.spacing_mm[0] if moved is not None and moved.batch.spacing_mm else None
        return None if known is None else [float(side) for side in known]

    def said(self, moved: "Moved", sizes: Sequence[float], clipped: bool = True) -> NDArray[np.float64]:
        """What the network says (k, classes) of an image moved by so much of its change, within bounds if `clipped`."""
        with self._opened():
            along = torch.tensor(sizes, dtype=torch.float64)[None]
            said: NDArray[np.float64] = said_along(self._classifier, moved.batch, moved.change, along, clipped)[0]
            return said

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Within, everything is open and nobody else works with it.

        Raises:
            InputRefused, UsageError: it is not at hand; the first reason stays the reason.
        """
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", Doubt)      # of single images there is no evidence
            if self._problem is not None:
                raise self._problem
            try:
                _ = self._classifier
            except SteadyreadError as problem:
                self._problem = problem
                raise
            except OSError as problem:
                self._problem = InputRefused(str(problem))
                raise self._problem from problem
            yield

    @cached_property
    def _study(self) -> Study:
        """The study that the run was made by."""
        path = self.place / SETTINGS
        stated = records.read_object(path)
        if stated is None:
            raise InputRefused(f"{path}, which says where network and images are, is not there: the run was made in "
                               "Python")
        refuse_unnamed(stated, self.place, self.trusted)
        return reread(stated, str(path))

    @cached_property
    def _listed(self) -> Listed:
        return listed(study_of(self._study, self.cell))

    @cached_property
    def _places(self) -> dict[str, int]:
        """The place of each case among the images."""
        return {row.id: place for place, row in enumerate(self._images.rows)}

    @cached_property
    def _images(self) -> Cases:
        return self._listed.labelled

    @cached_property
    def _first(self) -> Material:
        return self._listed.first

    @cached_property
    def _classifier(self) -> Classifier:
        """The network that was assessed, and no other."""
        own, given = self.cell.folder / MODEL, self._study.model.weights
        if not own.is_file() and (given is None or self.cell.hardened):
            raise InputRefused(f"{own} is not there: the network is not at hand")
        network = placed(loaded(self._first, own if own.is_file() else given, self._study.seed), self._study)
        known = section(self.cell.plan, "model").get("sha256")
        if known != model_digest(network.module):
            raise InputRefused(f"the network in {own if own.is_file() else given} is another one than was assessed")
        return network

    @cached_property
    def _attacks(self) -> list[Attack]:
        tried = attacks_on(self._study, self.cell, self._first)
        return list(tried.get("test", ()))

    @property
    def _seed(self) -> int:
        return attack_seed(self._study, self.cell)

    def _searched(self, batch: Batch) -> "Moved":
        attack = next((each for each in self._attacks if name_of(each) == SMALLEST_FLIP), None)
        if attack is None:
            raise InputRefused("the run searched for no smallest flips")
        found: Any = attack(self._classifier, batch, self._classifier.examine(batch.images).argmax(1), self._seed)
        size = float(found.size[0])
        known = 0 < size < np.inf
        return Moved(batch, (found.images - batch.images) / (size if known else 1.0), (1.0,), (size if known else 0.0,))

    def _image(self, case_id: str, recorded: Logits) -> Batch:
        """The image of a case as the network sees it, which reads it as it did."""
        batch = self._classifier.batch(collate([self._case(case_id)[0]], self._classifier.valid)[0])
        self._refuse_another(self._classifier.examine(batch.images)[0].cpu().numpy(), recorded)
        return batch

    def _case(self, case_id: str) -> Cases:
        """One case, prepared as the network sees it."""
        place = self._places.get(case_id)
        if place is None:
            raise InputRefused(f"{self._images.name} no longer holds this image")
        return ready_for(self._listed.study, self._listed.asked, self._images.pick([place]))[2]

    def _refuse_another(self, logits: Logits, recorded: Logits) -> None:
        known = np.isfinite(recorded)
        if len(logits) != len(recorded) or not np.allclose(logits[known], recorded[known], _AS_RECORDED, _AS_RECORDED):
            raise InputRefused("the image that is there now is not the one that was assessed: the network reads it "
                               "otherwise")


@dataclass(frozen=True, eq=False)
class Moved:
    """The image of a case (1, c, *space) and a change of it at a size of 1; `at` are the stops on its way (times the
    flip, or doses) with the size in native units at each."""

    batch: Batch
    change: Tensor
    at: tuple[float, ...]
    sizes: tuple[float, ...]
