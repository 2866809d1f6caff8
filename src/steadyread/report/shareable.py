"""What may leave the house: reports name no case, no patient and no folder of the machine, unless asked to.

Stored files are read, and summaries leave their computation, through here, before anything of them is drawn or
shown. The records themselves keep their ids: what is computed goes by the order of those.
"""

import base64
import csv
import hmac
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from steadyread import records
from steadyread.errors import InputRefused
from steadyread.files import CASES, HARDENED, JOBS, SALT, SETTINGS, regular_file

if TYPE_CHECKING:
    from steadyread.cases import Row

CASE, PATIENT = "C", "P"
IN_REPORT = ("case_in_report", "patient_in_report")
_IDS = {"case_id": CASE, "patient_id": PATIENT}
_OF_PATIENTS = ("patients", "dominant patient")       # checks whose rows are patients
_SENTENCES = ("message", "failed", "reason", "why")
_SHORT = 5          # letters, below which a number in a sentence is a number, not an id
_NAMED = r"(?:(?<=: )|(?<=, )|(?<== )|(?<=as ))"   # where a finding names its rows
_ABSOLUTE = re.compile(r"[/~]|[A-Za-z]:[/\\]|\\\\")
_PATH = re.compile(r"(?<![\w./:-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\",;:()]+[/\\])+([^\s/\\'\",;:()]*)")
_PICTURE = re.compile(r"[^\s'\",;:()=]+\.(?:png|jpe?g|tiff?|bmp|gif|p[gpnb]m|dcm|nii(?:\.gz)?|npy|mh[ad])(?!\w)",
                      re.IGNORECASE)


@dataclass(frozen=True)
class Shareable:
    """The pseudonyms of a run: C-... of a case, P-... of a patient, made of the id and the run's secret (salt.txt).

    They tell nothing of the ids, nor of their order, and stay the same while the run goes on. `known` are the ids,
    with their kind, that are looked for in sentences; `kept` are words that are none (classes), `folders` what the
    study states. Without a `secret` everything is shown as it is.
    """

    secret: bytes = b""
    known: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, show_ids: bool = False) -> "Shareable":
        """For the run in a folder; a network's own folder within a run has the pseudonyms of that run."""
        if show_ids:
            return cls()
        if folder.resolve().parent.parent.name == JOBS:
            folder = folder.resolve().parents[2]
        around = folder.parent
        if folder.name.split("-")[0] == HARDENED and (records.has_records(around) or (around / CASES).exists()):
            folder = around
        places = [place for place in (folder, *sorted(folder.glob(f"{JOBS}/*/*"))) if records.has_records(place)]
        lines: Sequence[Mapping[str, Any]] = read_cases(folder / CASES)
        if not lines:    # a run of an earlier version
            tables = [records.read(place).select(list(_IDS)) for place in places]
            lines = [line for table in tables for line in table.group_by(list(_IDS)).aggregate([]).to_pylist()]
        known = {str(line[name]): kind for name, kind in reversed(_IDS.items()) for line in lines if line.get(name)}
        plan = records.read_object(places[0] / records.PLAN) if places else None
        data = (plan or {}).get("data")
        stated = {str(path) for text in _texts((plan, records.read_object(folder / SETTINGS)))
                  if _ABSOLUTE.match(text) for path in (PurePath(text), PurePath(text).parent) if path.name}
        return cls(secret_of(folder) if places or lines else secrets.token_bytes(),
                   known, tuple(_texts(data.get("classes"))) if isinstance(data, Mapping) else (),
                   tuple(sorted(stated, key=len, reverse=True)))

    def case(self, name: str) -> str:
        """A case's pseudonym."""
        return self._of(CASE, name)

    def patient(self, name: str) -> str:
        """A patient's pseudonym."""
        return self._of(PATIENT, name)

    def _of(self, kind: str, name: str) -> str:
        if not self.secret or not name:
            return name
        told = hmac.digest(self.secret, f"{kind} {name}".encode(errors="backslashreplace"), "sha256")
        return f"{kind}-{base64.b32encode(told)[:8].decode()}"

    def text(self, text: str, rows: Mapping[str, str] | None = None) -> str:
        """A setting, a path or a sentence: ids by their pseudonyms, files without their folders.

        `rows` are ids that it is about, with their kind.
        """
        if not self.secret:
            return text
        own = rows or {}
        held = {name: kind for name, kind in {**self.known, **own}.items() if name and name in text}
        if held:
            named = sorted(held, key=len, reverse=True)
            plain = [name for name in named if len(name) >= _SHORT or (len(name) > 1 and not name.isdecimal())]
            kept = [word for word in self.kept if any(name in word for name in named)]
            brief = rf"(?<=patient ){_either(named)}|{_NAMED}{_either(name for name in named if name in own)}"
            text = re.sub(rf"(?<!\w)(?:({_either(kept)})|{_either(plain)}|{brief})(?!\w)",
                          lambda found: found[1] or self._of(held[found[0]], found[0]), text)
        for path in self.folders:
            text = text.replace(f"{path}/", "").replace(path, PurePath(path).name)
        return _PATH.sub(lambda found: found[1] or "a folder", text)

    def sentence(self, text: str, rows: Mapping[str, str] | None = None) -> str:
        """The same of a sentence, in which no other picture is named either."""
        return _PICTURE.sub("a picture", self.text(text, rows)) if self.secret else text

    def finding(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """A stored finding; its rows are ids, groups of them with " = " between, or sentences."""
        kind = PATIENT if told.get("check") in _OF_PATIENTS else None
        rows = [str(row).split(" = ") for row in told.get("rows") or ()]
        own = {one: kind or self.known.get(one, CASE) for row in rows for one in row if ": " not in one}
        names = [[self._of(own[one], one) if one in own else self.sentence(one) for one in row] for row in rows]
        message = self.sentence(str(told.get("message", "")), own)
        return {**told, "message": message, "rows": list(map(" = ".join, names))}

    def tree(self, value: Any, key: str = "") -> Any:
        """Plain values: ids under `case_id` and `patient_id`, paths, and sentences. All else is settings."""
        if not self.secret:
            return value
        if isinstance(value, Mapping):
            if key == "samples" and "flips" in value:    # by dose and case, in no order of the ids
                value = {**value, "flips": {
                    dose: dict(sorted((self.case(name), flips) for name, flips in held.items()))
                    for dose, held in value["flips"].items()}}
            return {name: self.tree(held, str(name)) for name, held in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.tree(held, key) for held in value)
        return self._setting(value, key) if isinstance(value, str) else value

    def _setting(self, value: str, key: str) -> str:
        if key in _IDS:
            return self._of(_IDS[key], value)
        if key in _SENTENCES:
            return self.sentence(value)
        if _ABSOLUTE.match(value):
            return self.text((PurePath(value) if value[0] in "/~" else PureWindowsPath(value)).name or value)
        return self.text(value) if key == "exclude" or "/" in value or "\\" in value else value


AS_IT_IS = Shareable()


def secret_of(folder: Path) -> bytes:
    """The secret of a run, made where it has none yet."""
    path = folder / SALT
    held = regular_file(path).read_bytes().strip() if path.exists() else b""
    if not held:
        held = secrets.token_hex().encode()
        records.write_text(path, f"{held.decode()}\n")
    return held


def write_cases(folder: Path, rows: Iterable["Row"]) -> None:
    """The key of a run's reports, for its owner: its cases with everything that their reader knows of them."""
    rows, shared = list(rows), Shareable(secret_of(folder))
    names = list(dict.fromkeys(key for row in rows for key in row.extras))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_IDS, *IN_REPORT, "label", *names])
    for row in rows:
        writer.writerow([row.id, row.patient, shared.case(row.id), shared.patient(row.patient),
                         "" if row.label is None else row.label, *(row.extras.get(name, "") for name in names)])
    records.write_text(folder / CASES, text.getvalue())


def read_cases(path: Path) -> list[dict[str, str]]:
    """The cases of a run by its cases.csv; none where there is no such file.

    Raises:
        InputRefused: no readable table, or one without case ids.
    """
    if not path.exists():
        return []
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputRefused(f"{path} is not a readable table ({problem}): remove it or run the study "
                           "again") from problem
    if lines and "case_id" not in lines[0]:
        raise InputRefused(f"{path} has no column case_id: remove it or run the study again")
    return [{str(name): value for name, value in line.items() if name is not None and value is not None}
            for line in lines]


def _either(names: Iterable[str]) -> str:
    return "(?:" + ("|".join(map(re.escape, names)) or "(?!)") + ")"


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for held in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(held)
