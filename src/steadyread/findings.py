"""A finding: what a check of the data or of the evaluation has to say, worst first in a report."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note", "ok"]
# Topics: of those that say whether the attacks are sound, and of those without which no number means what it says,
# however mild they are.
SOUNDNESS, VALIDITY = "soundness", "validity"
_OPTIONAL = ("topic", "networks", "code", "remedy")
_ORDER: tuple[Severity, ...] = ("error", "warning", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """One sentence for a reader, with the figure behind it and the rows that it names; `topic` where what is said of
    several findings goes by it, and `networks` names those that it is of, where there are several; `code` is the number
    of its rule, `remedy` what to do where it fires."""

    check: str
    severity: Severity
    message: str
    value: float | None = None
    rows: tuple[str, ...] = ()
    topic: str = ""
    networks: tuple[str, ...] = ()
    code: str = ""
    remedy: str = ""

    def as_json(self) -> dict[str, object]:
        """The finding as plain values; without a topic, networks, code and remedy where it has none."""
        return {name: value for name, value in asdict(self).items() if name not in _OPTIONAL or value}


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, notes, passed checks; in the order given within each."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


def by_severity(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of stored findings; one of a severity that is unknown stands among the errors."""
    known: dict[Any, int] = {severity: place for place, severity in enumerate(_ORDER)}
    return sorted(map(dict, findings), key=lambda finding: known.get(finding["severity"], 0))


def merged(by_network: Iterable[tuple[str, Iterable[Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    """The stored findings of several networks by their names, each once with the `networks` that it is of, the worst
    first. Those under no name are of all."""
    known: dict[tuple[str, str, str], dict[str, Any]] = {}
    for network, findings in by_network:
        for each in findings:
            kept = known.setdefault((each["check"], each["severity"], each["message"]), dict(each))
            if network:
                kept["networks"] = [*kept.get("networks", ()), network]
    return by_severity(known.values())


def titled(finding: Mapping[str, Any]) -> str:
    """What a stored finding is called: its rule's number, where it has one, and its check."""
    return f"{finding.get('code') or ''} {finding['check']}".lstrip()


def remedied(finding: Mapping[str, Any]) -> str:
    """What a stored finding says, and what to do where it knows."""
    message, remedy = str(finding["message"]), finding.get("remedy")
    return f"{message}. {remedy}" if remedy else message
