"""A run as a model card of Hugging Face's: its numbers as `model-index` in YAML, above the page's first lines.

The tables are those of `huggingface_hub.EvalResult`; intervals, which it knows none of, stand in each metric's `args`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from steadyread.metrics.plan import section
from steadyread.metrics.reads import CT_NOISE, ORIGINAL
from steadyread.names import folder_name
from steadyread.report.networks import Network, Networks
from steadyread.report.page import Page
from steadyread.report.shareable import Shareable
from steadyread.store import PLAIN
from steadyread.words.numbers import attack_name

MODEL_CARD = "model-card.md"
_TYPES = {"AUC": "roc_auc", "brier": "brier_score"}     # by which their hub knows them
_KEPT = ("threat", "attack", "against", "level", "unit", "n")
_TASK = {"type": "image-classification", "name": "Image classification"}


def model_card(networks: Networks, page: Page, shared: Shareable) -> str:
    """The card: front matter, and the head of the page in Markdown."""
    index = {"model-index": list(_models(networks, shared))}
    return "\n".join(["---", *_yaml(index), "---", "", replace(page, sections=()).markdown()])


def _models(networks: Networks, shared: Shareable) -> Iterator[dict[str, Any]]:
    """Each network and stage with its results on every data set."""
    named: dict[str, list[dict[str, Any]]] = {}
    for network in networks.networks:
        results = named.setdefault(shared.text(_title(network)), [])
        metrics = [_metric(row) for row in (number.row({}) for number in network.numbers) if _said(row)]
        if metrics:
            results.append({"task": _TASK, "dataset": _data(network, shared), "metrics": metrics})
    yield from ({"name": name, "results": results} for name, results in named.items() if results)


def _title(network: Network) -> str:
    name = str(section(network.cell.plan, "model").get("name") or "network")
    own = "" if network.cell.network == ORIGINAL else network.cell.network
    return ", ".join(filter(None, (name, own, "" if network.stage == PLAIN else network.stage)))


def _data(network: Network, shared: Shareable) -> dict[str, Any]:
    name = shared.text(network.where["set"]) or "images"
    return {"type": folder_name(name).replace(" ", "-").lower(), "name": name, "split": network.part}


def _said(row: Mapping[str, Any]) -> bool:
    """Whether a number is one of the network's results: measured, and against the labels where it was under attack."""
    measured = row["value"] is not None and math.isfinite(row["value"]) and row["n"]
    return bool(measured) and (row["against"] != "prediction" or row["threat"] == CT_NOISE)


def _metric(row: Mapping[str, Any]) -> dict[str, Any]:
    words = str(row["measure"]).replace("_", " ")
    under = f" under {attack_name(row['attack'])}" if row["attack"] not in ("", "all") else ""
    level = f" at {row['level']:.4g} {row['unit']}".rstrip() if row["level"] is not None else ""
    known = {key: row[key] for key in _KEPT if row[key] not in (None, "")}
    interval = {"low": row["low"], "high": row["high"], "interval": "95 % over patients"} if (
        row["low"] is not None and row["high"] is not None) else {}
    return {"type": _TYPES.get(row["measure"], row["measure"]), "name": f"{words}{under}{level}", "value": row["value"],
            "args": interval | known}


def _yaml(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Tables, lists of tables and plain values as block YAML; text and numbers as JSON has them, which is YAML."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(inner, f"{indent}  ")
        elif isinstance(inner, Sequence) and not isinstance(inner, str):
            yield f"{indent}{key}:"
            for each in inner:
                first, *others = _yaml(each, f"{indent}  ")
                yield from (f"{indent}- {first.lstrip()}", *others)
        else:
            yield f"{indent}{key}: {_plain(inner)}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}" if math.isfinite(value) else f"{'-' * (value < 0)}.inf"
        mantissa, exponent, power = text.partition("e")
        return f"{mantissa}.0e{power}" if exponent and "." not in mantissa else text     # else YAML 1.1 reads text
    return json.dumps(value)
