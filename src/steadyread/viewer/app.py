"""The viewer's pages and answers, as Starlette serves them. Whoever asks has passed the `Guard`."""

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steadyread.ending import understood
from steadyread.errors import SteadyreadError, Unforeseen, UsageError
from steadyread.metrics.plan import bounds_of
from steadyread.report.case_data import axis_of
from steadyread.units import unit_word
from steadyread.viewer import blocks
from steadyread.viewer.marks import LONGEST_NOTE, LONGEST_READER, WORDS, Mark
from steadyread.viewer.page import files, page
from steadyread.viewer.questions import HIDDEN, Question, plain
from steadyread.viewer.rows import PATIENCE
from steadyread.viewer.shown import MOST_BESIDE, Network, Shown

Asked = Mapping[str, Any]
_AT_FIRST = 0.3     # seconds, in which a small run is read whole


def application(shown: Shown) -> Starlette:
    """The viewer of these runs."""
    static = files()

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in static:
            return Response("no such file", 404, media_type="text/plain")
        return Response(static[name].content, media_type=static[name].kind)

    answers: dict[str, Callable[[Shown, Asked], dict[str, Any]]] = {
        "state": state, "rows": rows, "points": points, "case": case, "ask": ask, "attention": attention, "mark": mark}
    return Starlette(routes=[
        Route("/", lambda _: Response(page(shown), media_type="text/html")), Route("/static/{name}", file),
        Route("/marks.csv", lambda _: Response(shown.exported(), media_type="text/csv", headers={
            "content-disposition": 'attachment; filename="marks.csv"'})),
        *(Route(f"/{name}", _answering(partial(answer, shown)), methods=["POST"]) for name, answer in answers.items())])


def state(shown: Shown, asked: Asked) -> dict[str, Any]:
    """What is shown: the networks, and who looks at them."""
    return {"reader": shown.reader, "words": list(WORDS), "start": list(shown.start),
            "longest": {"note": LONGEST_NOTE, "reader": LONGEST_READER},
            "networks": [{"title": each.title, "run": each.run.name, "classes": each.rows.classes,
                          "writable": each.marks.writable,
                          "axis": asdict(axis_of(each.rows.dose, bounds_of(each.rows.cell.plan))),
                          "expected": each.rows.expected} for each in shown.networks]}


def rows(shown: Shown, asked: Asked) -> dict[str, Any]:
    """Rows, as a question asks for them. With `more_than`, waits for more rows than those."""
    places = _places(shown, asked)
    more = asked.get("more_than")
    shown.network(places[0]).rows.read(*((more, PATIENCE) if isinstance(more, int) else (2**53, _AT_FIRST)))
    reads = [shown.network(at).rows.read() for at in places]
    if "place" in asked or "case" in asked:
        return _one(shown, asked, places)
    table, wanted, passing = shown.answer(_question(asked), places, _reader(shown, asked))
    columns = shown.columns(places, table)
    return {**_seen(table), "places": wanted, "columns": [asdict(each) for each in columns], "passing": passing,
            "read": 0 if reads[0].table is None else reads[0].table.num_rows,
            "whole": all(each.whole for each in reads),
            "problem": "; ".join(each.problem for each in reads if each.problem)}


def case(shown: Shown, asked: Asked) -> dict[str, Any]:
    """One case of one network as a block, and a line on its pictures."""
    network, table = _case(shown, asked)
    pictures, said = blocks.pictures(network, _known(table), _whole(asked, "draw"))
    return {"block": blocks.block_of(network.rows, table, pictures), "said": said,
            "spacing": network.spacing(_known(table))}


def ask(shown: Shown, asked: Asked) -> dict[str, Any]:
    """What the network says of a case at a size of its change (native units) or a dose, asked now."""
    network, table = _case(shown, asked)
    return {"probability": blocks.asked(network, _known(table), _size(asked, network), _whole(asked, "draw"))}


def _size(asked: Asked, network: Network) -> float:
    """The dose that is asked about, or the size of a change, which no image has beyond the range of its values."""
    size = asked.get("size")
    if not isinstance(size, int | float) or not 0 <= size < math.inf:
        raise UsageError("size is a number, 0 or more")
    bounds = bounds_of(network.rows.cell.plan)
    if not network.rows.dose and size > bounds.range:
        unit = unit_word(bounds.unit, 2)
        raise UsageError(" ".join(filter(None, (f"a change is of at most {bounds.range:g}", unit)))
                         + f", the whole range of valid values; got {size:g}: ask for less")
    return float(size)


def _one(shown: Shown, asked: Asked, places: Sequence[int]) -> dict[str, Any]:
    """The row at a place, or of the case that is called so; none where there is no such row."""
    table, place = shown.table(places, _reader(shown, asked)), asked.get("place")
    if "case" in asked:
        shown.network(places[0]).rows.read(2**53)      # all, as far as that takes no longer than patience does
        table = shown.table(places, _reader(shown, asked))
        place = pc.index(table["case"], str(asked["case"])).as_py()
    there = isinstance(place, int) and 0 <= place < table.num_rows
    row = table.slice(place, 1) if there else table.slice(0, 0)
    return {**_seen(row), "places": [place] if there else [],
            "columns": [asdict(each) for each in shown.columns(places, row)]}


def _seen(table: pa.Table) -> dict[str, Any]:
    return {"rows": plain(table.select([name for name in table.column_names if name not in HIDDEN]))}


def points(shown: Shown, asked: Asked) -> dict[str, Any]:
    """Cases spread over all, as the scatter takes them, and which of them pass."""
    places = _places(shown, asked)
    table, spread, passing = shown.sample(_question(asked), places, _reader(shown, asked))
    middle, top = blocks.steadiness(shown.network(places[0]).rows, shown.table(places, _reader(shown, asked)))
    return {"block": blocks.block_of(shown.network(places[0]).rows, table), "places": spread, "passing": passing,
            "middle": middle, "top": top}


def attention(shown: Shown, asked: Asked) -> dict[str, Any]:
    """What the network looks at in a case, where that is stored."""
    network, table = _case(shown, asked)
    return blocks.attention_of(network, _known(table)["case_id"])


def mark(shown: Shown, asked: Asked) -> dict[str, Any]:
    """Keeps a mark of a reader on a case."""
    network, table = _case(shown, asked)
    word, note = asked.get("word", ""), asked.get("note", "")
    if not isinstance(word, str) or not isinstance(note, str):
        raise UsageError("a mark's word and note are texts")
    kept = network.marks.put(Mark(_known(table)["case_id"], network.name, _reader(shown, asked), word, note))
    return {"word": kept.word, "note": kept.note, "at": kept.at, "reader": kept.reader}


def _question(asked: Asked) -> Question:
    return Question.of({key: value for key, value in asked.items() if key in Question.__dataclass_fields__})


def _known(table: pa.Table) -> Mapping[str, Any]:
    row: Mapping[str, Any] = table.to_pylist()[0]
    return row


def _case(shown: Shown, asked: Asked) -> tuple[Network, pa.Table]:
    """The network that is asked, and the row of a case: at a place among its own rows, or among those of the
    network `of`."""
    network = shown.network(asked.get("network"))
    first = shown.network(asked["of"]) if "of" in asked else None
    return network, shown.row(network, asked.get("place"), None if first is network else first)


def _whole(asked: Asked, name: str) -> int:
    value = asked.get(name, 0)
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise UsageError(f"{name} is a whole number, 0 or more")
    return value


def _reader(shown: Shown, asked: Asked) -> str:
    return str(asked.get("reader") or shown.reader)


def _places(shown: Shown, asked: Asked) -> list[int]:
    places = asked.get("networks", [0])
    if not isinstance(places, list) or not 0 < len(places) <= MOST_BESIDE or len(set(map(str, places))) < len(places):
        raise UsageError(f"networks are 1 to {MOST_BESIDE} different numbers")
    for at in places:
        shown.network(at)
    return places


def _answering(answer: Callable[[Asked], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """An answer as JSON, made in a thread; what is refused is said in a line, with the status of it."""
    async def answered(request: Request) -> Response:
        text, status = await to_thread.run_sync(_tried, answer, await request.body())
        return Response(text, status, media_type="application/json")

    return answered


def _tried(answer: Callable[[Asked], dict[str, Any]], body: bytes) -> tuple[str, int]:
    try:
        asked = json.loads(body)
        if not isinstance(asked, dict):
            raise UsageError("a question is one JSON object")
    except (ValueError, RecursionError) as problem:
        return _problem(f"a question is JSON ({problem})"), 400
    except UsageError as problem:
        return _problem(str(problem)), 400
    try:
        return json.dumps(answer(asked), allow_nan=False, separators=(",", ":")), 200
    except SteadyreadError as problem:
        return _problem(str(problem)), 400 if isinstance(problem, UsageError) else 409
    except Exception as problem:      # the server goes on
        known = understood(problem)
        return _problem(str(known)), 500 if isinstance(known, Unforeseen) else 409


def _problem(words: str) -> str:
    return json.dumps({"problem": words})
