"""One case of a network as the page's block of data has it, made anew where network and images are at hand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from steadyread import records
from steadyread.errors import InputRefused, SteadyreadError
from steadyread.files import EXPLAINED, SEEN_ARRAYS
from steadyread.metrics.plan import bounds_of, section, threshold_of
from steadyread.metrics.seeing_reads import method_name
from steadyread.pictured import Whole, in_steps
from steadyread.report.case_data import CaseData, Pixels, Walk, axis_of, packed, windows_of
from steadyread.viewer.rows import Rows
from steadyread.viewer.shown import Network

STOPS = tuple(np.round(np.linspace(0, 2, 81), 4).tolist())     # times the flip, where the network is asked
Pictures = tuple[Pixels, Walk | None]
_MOST = 255


def block_of(rows: Rows, table: pa.Table, pictures: Pictures | None = None) -> dict[str, Any]:
    """The block of some cases; of one with its pictures, where there are any."""
    plan, classes = rows.cell.plan, tuple(rows.classes)
    bounds, (pixels, walk) = bounds_of(plan), pictures if pictures is not None else (None, None)
    fold = -1 if rows.cell.fold is None else rows.cell.fold
    return CaseData(
        axis_of(rows.dose, bounds), classes, bounds, table["case"].to_pylist(), table["patient"].to_pylist(),
        _classes(table["truth"], classes), _classes(table["read"], classes), _numbers(table["sure"]),
        _numbers(table["flip"]), np.full(len(table), fold), np.full(len(table), -1 if pixels is None else 0),
        len(table), len(pc.unique(table["patient"])), windows_of(bounds, None if pixels is None else pixels.image),
        pixels, walk, threshold_of(plan), set=rows.cell.data,
        synthetic=section(plan, "data").get("synthetic") is True,
        patients_known=section(plan, "data").get("patients_known") is True).as_json()


def steadiness(rows: Rows, table: pa.Table) -> tuple[float, float]:
    """The flip of the middle case, and that of the one at the edge of the steadiest tenth."""
    known = _numbers(table["flip"]) if table.num_rows else np.zeros(0)
    known = np.sort(known[np.isfinite(known)])
    if not len(known):
        return 0.0, 0.0
    return float(known[len(known) // 2]), float(known[int((0.1 if rows.dose else 0.9) * (len(known) - 1))])


def pictures(network: Network, row: Mapping[str, Any], draw: int = 0) -> tuple[Pictures | None, str]:
    """The pictures of a case, stored or made now, and a line for a person: where they are from, or why there are none.
    Under CT noise `draw` is that of another redraw, which is always made now."""
    stored = None if draw else network.stored.pictures(row)
    if stored is not None and stored[1] is not None:
        return stored, ""
    if reason := network.hand.absent:
        return stored, f"The network cannot be asked: {network.shared.text(reason)}"
    try:
        return _made(network, row, draw), "Found now, by the search of the run." if not network.rows.dose else ""
    except SteadyreadError as problem:
        return stored, f"The network cannot be asked: {network.shared.text(str(problem))}"


def asked(network: Network, row: Mapping[str, Any], size: float, draw: int = 0) -> list[float]:
    """The probabilities of a case at a size of its change, or at a dose.

    Raises:
        SteadyreadError: the network cannot be asked.
    """
    if reason := network.hand.absent:
        raise InputRefused(network.shared.text(reason))
    recorded = np.asarray(row["logits"], np.float64)
    if network.rows.dose:
        moved = network.hand.redraw(row["case_id"], recorded, draw, (size,))
        said = network.hand.said(moved, moved.sizes, clipped=False)
    else:
        said = network.hand.said(network.hand.flip(row["case_id"], recorded), (size,))
    return [float(value) for value in said[0]]


def _made(network: Network, row: Mapping[str, Any], draw: int) -> Pictures:
    recorded, dose = np.asarray(row["logits"], np.float64), network.rows.dose
    hand = network.hand
    moved = hand.redraw(row["case_id"], recorded, draw) if dose else hand.flip(row["case_id"], recorded)
    change, step = in_steps(moved.change.cpu().numpy())
    sizes = moved.sizes if dose else tuple(stop * moved.sizes[0] for stop in STOPS)
    walk = Walk(moved.at if dose else STOPS, hand.said(moved, sizes, clipped=not dose)[None])
    scale = step[:, None] * np.array(moved.sizes)[None] if dose else None
    return Pixels(Whole.of(moved.batch.images.cpu().numpy(), moved.batch.bounds), change, scale), walk


def attention_of(network: Network, case_id: str) -> dict[str, Any]:
    """The maps of what the network looks at in the clean image, by method, as whole numbers to 255 of their largest;
    none where none are stored."""
    cell = network.rows.cell
    for folder in (cell.folder, network.place / EXPLAINED / f"fold-{cell.fold or 0}"):
        if not (folder / SEEN_ARRAYS).is_file():
            continue
        stored = records.read_npz(folder / SEEN_ARRAYS)
        at = np.flatnonzero(stored.get("case_id", np.zeros(0, str)).astype(str) == case_id)
        names = [name for name in stored if name.startswith("map_") and name.endswith("_clean")]
        if len(at) and names:
            return {"shape": list(stored[names[0]].shape[1:]), "methods": {
                method_name(name.removeprefix("map_").removesuffix("_clean")): _whole(stored[name][at[0]])
                for name in names}}
    return {}


def _whole(values: NDArray[Any]) -> str:
    known = np.nan_to_num(np.asarray(values, np.float64)).clip(min=0)
    return packed(np.rint(known / (known.max() or 1.0) * _MOST).astype(np.uint8))


def _classes(names: pa.ChunkedArray, classes: tuple[str, ...]) -> NDArray[np.int64]:
    found = pc.fill_null(pc.index_in(names, value_set=pa.array(classes)), -1)
    return np.asarray(found.to_numpy(), np.int64)


def _numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(values.to_numpy(), np.float64)
