"""Which findings leave a run without a valid result."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from steadyread.findings import VALIDITY
from steadyread.metrics.plan import part_of

Finding = Mapping[str, Any]


def errors_of(findings: Iterable[Finding], table: pa.Table) -> list[Finding]:
    """The errors that bear on the images that are judged: all but those that name others alone.

    A finding names images, patients, or groups of either joined by " = "; one without names is of the whole.
    """
    part = part_of(table)
    judged = table if part is None else table.filter(pc.equal(table["part"], part))
    names = {str(name) for column in ("case_id", "patient_id") for name in pc.unique(judged[column]).to_pylist()}
    return [each for each in findings if each["severity"] == "error" and
            (not each.get("rows") or any({row, *row.split(" = ")} & names for row in each["rows"]))]


def invalidating(findings: Iterable[Finding], table: pa.Table) -> list[Finding]:
    """The findings by which no number of a run means what it says: `errors_of`, and what else did not pass of the topic
    `VALIDITY`, such as a network that is no better than one class."""
    known = list(findings)
    errors = errors_of(known, table)
    return [*errors, *(each for each in known if each.get("topic") == VALIDITY and each["severity"] == "warning")]
