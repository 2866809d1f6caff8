"""Where the data are, where everything goes, and how long may be measured."""

from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True)
class Setup:
    """`quick` asks for the smallest sizes at which a table still comes out whole: a trial, not a measurement."""

    data_root: Path
    folder: Path
    rounds: int = 5
    threads: int = 1
    quick: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def of(self, whole: int, quick: int) -> int:
        """The one number or the other."""
        return quick if self.quick else whole
