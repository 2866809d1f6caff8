"""What leaves the house: the text of pages and summaries names no patient, and no folder of the machine.

Figures are drawn before, and still show case ids.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import pyarrow as pa

_SHORT = 5          # letters, below which a number in a sentence is a number, not a patient
_PATH = re.compile(r"(?<![\w./:-])/(?:[^\s/'\",;:()]+/)+([^\s/'\",;:()]*)")


@dataclass(frozen=True)
class Shareable:
    """Pseudonyms for the `patients` of a run: P1, P2, ... in the order of their ids, as everything is computed.

    The records and triage.csv of a run keep the ids; they are its user's own.
    """

    patients: tuple[str, ...]

    @classmethod
    def of(cls, tables: Iterable[pa.Table], known: bool) -> "Shareable":
        """For the patients of these records; none where each image counts as its own."""
        ids = {patient for table in tables for patient in table["patient_id"].unique().to_pylist()} if known else ()
        return cls(tuple(sorted(patient for patient in ids if patient)))

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Each patient's pseudonym."""
        digits = len(str(len(self.patients)))
        return {patient: f"P{place:0{digits}d}" for place, patient in enumerate(self.patients, start=1)}

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        told = sorted((patient for patient in self.patients if patient), key=len, reverse=True)
        if not told:
            return None
        plain = "|".join(re.escape(patient) for patient in told
                         if len(patient) >= _SHORT or (len(patient) > 1 and not patient.isdecimal()))
        after = "|".join(re.escape(patient) for patient in told)
        return re.compile(rf"(?<![\w])({plain or '(?!)'})(?![\w])|(?<=patient )({after})(?![\w])")

    def text(self, text: str) -> str:
        """A sentence, an id or a path: patients by their pseudonyms, files by their names alone."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: self.names[match.group(1) or match.group(2)], text)
        return _PATH.sub(lambda match: match.group(1) or "a folder", text)

    def tree(self, value: Any, key: str = "") -> Any:
        """The same of every text in plain values; what stands under `patient_id` is a patient in any case."""
        if isinstance(value, Mapping):
            return {name: self.tree(held, str(name)) for name, held in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.tree(held, key) for held in value)
        if not isinstance(value, str):
            return value
        if key == "patient_id":
            return self.names.get(value, value)
        if value.startswith(("/", "~")) and PurePath(value).name:
            return PurePath(value).name
        return self.text(value)
