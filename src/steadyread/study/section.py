"""What every section of a study file shares: frozen, no unknown keys, sizes with their unit."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from steadyread.errors import UsageError
from steadyread.registry import nearest
from steadyread.units import RANGE, Bounds, size_in_native, unit_of

Settings = dict[str, Any]


def _size(text: object) -> object:
    """A size with a unit; which unit the images have is known only when they are read."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(text)
    if isinstance(text, str):
        unit = unit_of(text)
        size_in_native(text, Bounds(0, 1, "" if unit == RANGE else unit))
    return text


def _file_name(text: object) -> object:
    """Any name that a file can have, in UTF-8 or not, which a plain string of pydantic's refuses."""
    if not isinstance(text, str):
        raise ValueError("expected text")
    return text


Size = Annotated[str, BeforeValidator(_size)]
FileName = Annotated[str, PlainValidator(_file_name)]
Positive = Annotated[int, Field(gt=0)]
MOST = 1_000_000      # of draws, steps, images and the like: more is a slip, and would fill the memory
LEAST_MAS, MOST_MAS = 1e-3, 1e5
Count = Annotated[int, Field(gt=0, le=MOST)]


def is_dose(value: object) -> bool:
    """Whether a value is a number of mAs that a scan can have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and LEAST_MAS <= value <= MOST_MAS


def _dose(value: object) -> object:
    """Refuses what pydantic would turn into a dose, and doses at which noise is nothing or everything."""
    if isinstance(value, bool) or (isinstance(value, int | float) and value > 0 and not is_dose(value)
                                   and value < float("inf")):
        raise ValueError(f"expected a dose of {LEAST_MAS:g} to {MOST_MAS:g} mAs")
    return value


Dose = Annotated[float, BeforeValidator(_dose), Field(gt=0)]
Pair = tuple[float, float]
OneOrEach = Positive | tuple[Positive, ...]


class Section(BaseModel):
    """A table of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_WORDS = {"int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
          "float_type": "a number", "float_parsing": "a number", "bool_type": "true or false",
          "bool_parsing": "true or false", "string_type": "text", "tuple_type": "a list", "dict_type": "a table",
          "model_type": "a table", "missing": "one more value"}
# Names that pydantic gives the forms that a value may have: no keys of the user's.
_INNER = re.compile(r".*\[.*|(constrained|function|lax|json|literal|is-instance)\b.*|int|float|str|bool")


def in_words(problem: ValidationError) -> str:
    """The first complaint of pydantic, where it is and in plain words."""
    places = [[str(part) for part in one["loc"] if not _INNER.fullmatch(str(part))] for one in problem.errors()]
    first = places[0]
    at = max((at for at, place in enumerate(places) if place[:len(first)] == first), key=lambda at: len(places[at]))
    error = problem.errors()[at]
    value, told = error["input"], " ".join(error["msg"].removeprefix("Value error, ").split())
    if error["type"] in _WORDS:
        told = f"expected {_WORDS[error['type']]}"
    if error["type"] == "tuple_type" and isinstance(value, str | int | float):
        told += f", such as [{json.dumps(value)}]"
    return f"{'.'.join(places[at])}: {told[0].lower()}{told[1:]}; got {repr(value)[:200]}"


def refuse_unknown(stated: Mapping[str, Any], known: Sequence[str], before: str) -> None:
    for key in stated:
        if key not in known:
            raise UsageError(f"unknown key '{before}{key}'{nearest(key, known)}")


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """`above` over `below`, tables merged, everything else replaced."""
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        merged[key] = laid_over(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return merged


S = TypeVar("S", bound=Section)


def compared_with(section: type[S], own: Mapping[str, Any], compare: Mapping[str, Settings], where: str
                  ) -> dict[str, S]:
    """Further sections by name: what each states laid over `own`.

    Raises:
        UsageError: a value that cannot be, with its place below `where`.
    """
    found = {}
    for name, stated in compare.items():
        try:
            found[name] = section.model_validate(laid_over(own, stated))
        except ValidationError as problem:
            raise UsageError(f"{where}.{name}.{in_words(problem)}") from problem
    return found
