"""Registries: names once and in their order, the nearest named, plug-ins once, a broken one left out in one line."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from steadyread import registry
from steadyread.errors import Doubt, UsageError
from steadyread.registry import Makers, Registry


@dataclass(frozen=True)
class Thing:
    name: str
    order: float = 0


def plugged(patch: pytest.MonkeyPatch, *values: str) -> None:
    """As if installed packages had these entry points."""
    patch.setattr(registry, "_entries", lambda: tuple(EntryPoint(f"plug {value}", value, "steadyread")
                                                      for value in values))


def test_things_stand_in_their_order_and_once() -> None:
    things: Registry[Thing] = Registry("thing")
    things.add(Thing("late", 2))
    things.add(Thing("b", 1))
    things.add(Thing("a", 1))
    assert list(things) == ["a", "b", "late"]
    assert things["late"].order == 2
    with pytest.raises(UsageError, match="there is a thing 'a' already"):
        things.add(Thing("a"))
    with pytest.raises(UsageError, match=r"^here: no thing 'lat': did you mean 'late'\?$"):
        things.named("lat", "here")
    with pytest.raises(UsageError, match="here: no thing 'xyz'; known are a, b, late"):
        things.named("xyz", "here")


def test_a_name_that_is_not_there_is_printed_as_written() -> None:
    makers = Makers("attack")

    @makers.register("Theirs!", doi="10.1/x")
    def theirs(epsilon: float, steps: int = 1) -> None:
        """Nothing."""

    assert makers.title("theirs") == "Theirs!"
    assert makers.title("of_another") == "of another"
    assert makers["theirs"].arguments == ["epsilon", "steps"]


def test_a_broken_plug_in_is_left_out_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_plug.py").write_text('raise ImportError("no\\nsuch thing")\n')
    (tmp_path / "sound_plug.py").write_text("from steadyread import registry\nregistry.plug_ins()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugged(monkeypatch, "broken_plug", "sound_plug", "absent_plug")
    with pytest.warns(Doubt) as told:
        registry.plug_ins()
    assert [str(each.message) for each in told] == [
        "the plug-in 'plug broken_plug' cannot be used: ImportError: no such thing",
        "the plug-in 'plug absent_plug' cannot be used: ModuleNotFoundError: No module named 'absent_plug'"]
    assert "sound_plug" in sys.modules
    registry.plug_ins()     # each is tried once


def test_titles_are_told_without_torch() -> None:
    asked = ("import sys; from steadyread.words.numbers import attack_name; from steadyread.words.hardening import "
             "method_name; print(attack_name('apgd'), method_name('trades'), 'torch' in sys.modules)")
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["APGD", "TRADES", "False"]
