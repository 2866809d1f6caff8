"""Whether something got slower or looser than it was: this run's ratios beside the recorded ones."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
LOSS = 0.15   # of a ratio, from which it is reported


def losses(found: Mapping[str, float], recorded: Mapping[str, float], loss: float = LOSS) -> Iterator[str]:
    """A line for every ratio that is more than `loss` above the recorded one, the worst first."""
    worse = {name: value / recorded[name] - 1 for name, value in found.items()
             if recorded.get(name, 0) > 0 and value > recorded[name] * (1 + loss)}
    for name, by in sorted(worse.items(), key=lambda pair: -pair[1]):
        yield f"{name}: {found[name]:.3g}, recorded {recorded[name]:.3g}: {by:.0%} lost"


def gone(found: Mapping[str, float], recorded: Mapping[str, float]) -> Iterator[str]:
    """Recorded ratios of the tables measured that this run does not have: a row that failed, or another name."""
    tables = {name.split(":")[0] for name in found}
    yield from (f"{name}: recorded, not measured" for name in recorded
                if name not in found and name.split(":")[0] in tables)


def read_recorded(path: Path = RECORDED) -> dict[str, float]:
    """The recorded ratios, none where there is no record yet."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def record(found: Mapping[str, float], path: Path = RECORDED) -> None:
    """Lays this run's ratios over the recorded ones."""
    path.write_text(json.dumps(dict(sorted((read_recorded(path) | dict(found)).items())), indent=1) + "\n")
