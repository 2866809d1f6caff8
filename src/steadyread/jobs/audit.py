"""What a data set holds that would spoil a study, without one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steadyread import records
from steadyread.cases import audit, glance, open_cases, split
from steadyread.cases.row import NOTHING
from steadyread.files import FINDINGS
from steadyread.names import folder_name
from steadyread.progress import Progress, quiet


def audit_data(path: str | Path, layout: str | None = None, seed: int = 0, out: str | Path | None = None,
               options: Mapping[str, object] = NOTHING, progress: Progress = quiet) -> dict[str, Any]:
    """The audit of a data set's raw rows as plain values, written to findings.json in `out` (runs/audit-<name>).

    `refused` says what `--strict` refuses: "" where no finding is an error and no file is missing. `options` are
    those of the layout's reader.
    """
    cases = open_cases(path, layout, every_row=True, **options)
    seen = glance(cases, progress)
    found = audit(split(cases, seed, seen=seen), progress=progress, seen=seen)
    errors = [one.check for one in found if one.severity == "error"]
    missing = f"{len(cases.missing)} rows have no file, the first: {cases.missing[0]}" if cases.missing else ""
    folder = Path(out) if out is not None else Path("runs") / f"audit-{folder_name(Path(path).resolve().stem)}"
    plain = [one.as_json() for one in found]
    records.write_json(folder / FINDINGS, plain)
    return {"data": cases.name, "images": len(cases), "findings": plain, "file": str(folder / FINDINGS),
            "refused": missing or (f"errors: {', '.join(errors)}" if errors else "")}
