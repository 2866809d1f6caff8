"""What the numbers need of a run's plan: bounds, classes, the part that is judged."""

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from steadyread.errors import InputRefused
from steadyread.metrics.reads import Reads
from steadyread.units import Bounds

Plan = Mapping[str, object]
WITHHELD = 0.2
_LARGEST = re.compile(r"\blargest=([0-9.]+(?:[eE][+-]?[0-9]+)?)")


def section(plan: Plan, name: str) -> Mapping[str, object]:
    """A table of the plan, empty where there is none."""
    found = plan.get(name)
    return found if isinstance(found, Mapping) else {}


def share_to_withhold(plan: Plan) -> float:
    """The share of the reads that a human takes: what the study states, else a fifth as in [A]."""
    stated = section(section(plan, "study"), "triage").get("withhold")
    return float(stated) if isinstance(stated, int | float) else WITHHELD


def threshold_of(plan: Plan) -> float:
    """The probability above which the network says class 1; 0.5 where none is stated."""
    stated = section(plan, "model").get("threshold")
    return float(stated) if isinstance(stated, int | float) and 0 < stated < 1 else 0.5


def bounds_of(plan: Plan) -> Bounds:
    """The images' bounds with their unit.

    Raises:
        InputRefused: the plan states none.
    """
    data = section(plan, "data")
    stated = data.get("bounds")
    if not isinstance(stated, list | tuple) or [isinstance(end, int | float) for end in stated] != [True, True]:
        raise InputRefused(f"plan.json: data.bounds must be [low, high]; got {stated!r}")
    return Bounds(float(stated[0]), float(stated[1]), str(data.get("unit") or ""))


def class_names(plan: Plan, count: int) -> list[str]:
    """The classes' names, numbers where the plan has none."""
    stated = section(plan, "data").get("classes")
    names = [str(name) for name in stated] if isinstance(stated, Sequence) and not isinstance(stated, str) else []
    return names + [str(number) for number in range(len(names), count)]


def class_count(plan: Plan, reads: Reads) -> int:
    """How many classes there are: what the model has logits for, else what the plan names. At least 2."""
    stated = section(plan, "data").get("classes")
    named = len(stated) if isinstance(stated, Sequence) and not isinstance(stated, str) else 0
    return max(int(reads.logits.shape[2]), named, 2)


def part_of(table: pa.Table) -> str | None:
    """The part that is judged: the test part where there is one, else (None) all that was assessed."""
    return "test" if bool(pc.any(pc.equal(table["part"], "test")).as_py()) else None


def stages_of(table: pa.Table) -> list[str]:
    """The stages that were assessed, plain first: the first one is the one judged."""
    found = {str(stage) for stage in pc.unique(table["stage"]).to_pylist()}
    return sorted(found, key=lambda stage: (stage != "plain", stage))


def searched_up_to(plan: Plan) -> float | None:
    """The largest size of the search for the smallest flip, native units: the whole range unless stated.

    None where the plan has no such search.
    """
    texts = [text for text in attacks_of(plan) if text.startswith("smallest_flip")]
    stated = [float(match.group(1)) for match in map(_LARGEST.search, texts) if match]
    if not texts:
        return None
    return max(stated, default=bounds_of(plan).range)


def exact_up_to(plan: Plan, reads: Reads, against: str) -> float:
    """The size up to which every flip was searched for, native units: 0 without a search."""
    if reads.smallest_flip(against) is None:
        return 0.0
    stated = searched_up_to(plan)
    return float("inf") if stated is None else stated


def attacks_of(plan: Plan) -> list[str]:
    """The attacks with their settings, one line each, over all parts."""
    stated = plan.get("attacks")
    lists = list(stated.values()) if isinstance(stated, Mapping) else [stated]
    found = [str(text) for texts in lists if isinstance(texts, Sequence) and not isinstance(texts, str)
             for text in texts]
    return list(dict.fromkeys(found))
