"""The house rules that no linter holds: ceilings, floors, lazy torch, the public names, sources of attacks."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import steadyread
from steadyread.registry import ATTACKS, METHODS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "steadyread"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400
FLOORS = {
    8: ("workflows",),
    7: ("assessed", "viewer", "comparing", "frames", "networks", "cli", "console", "ending", "manual", "noise_commands",
        "options", "flags", "result", "starting", "views", "__main__"),
    6: ("study", "jobs", "noise_measure", "noise_show", "noise_explain", "stored"),
    5: ("report",),
    4: ("assessment", "gates", "interop", "set_aside", "suitability", "training", "checks", "picturing"),
    3: ("attacks", "charts", "explain"),
    2: ("threats", "classifier", "cases", "words", "store"),
    1: ("types", "units", "errors", "extras", "names", "files", "heads", "limits", "locks", "convolutions", "findings",
        "pictured", "progress", "terminal", "folder_lock", "records", "metrics", "models", "registry", "whole_files",
        "workers", "_version"),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# Rooms that count, draw or say: torch is never imported with them.
WITHOUT_TORCH = ("metrics", "metrics.summary", "metrics.noise_summary", "words.plain", "words.sets",
                 "words.hardening", "gates", "charts", "report", "report.noise", "report.sets",
                 "records", "units", "errors", "files", "findings", "folder_lock", "progress", "console", "stored",
                 "cli")


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


NAMES = {_name(path) for path in MODULES}


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text("utf-8"))))


def _imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, those inside functions and for types among them."""
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("steadyread"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("steadyread"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in NAMES else str(node.module)


def test_every_module_is_short() -> None:
    lengths = {_name(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_room_has_a_floor() -> None:
    rooms = {_room(_name(path)) for path in MODULES} - {""}
    assert rooms == set(FLOOR)


def test_imports_lead_downwards() -> None:
    upward = [(_name(path), module) for path in MODULES if _room(_name(path)) for module in _imports(path)
              if _room(module) and FLOOR[_room(module)] > FLOOR[_room(_name(path))]]
    assert upward == []


def test_no_circles_between_modules() -> None:
    graph = {_name(path): {module for module in _imports(path) if module != _name(path)} for path in MODULES}
    graph["steadyread"] = set()   # the package's own names are imported lazily
    left = dict(graph)
    while left:
        free = [module for module, needs in left.items() if not needs & left.keys()]
        assert free, f"these import each other in a circle: {sorted(left)}"
        for module in free:
            del left[module]


def test_importing_the_counting_half_leaves_torch_alone() -> None:
    imports = "; ".join(f"import steadyread.{module}" for module in WITHOUT_TORCH)
    told = "import sys, json; print(json.dumps([name for name in ('torch', 'jaxtyping') if name in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", f"{imports}; {told}"], capture_output=True, text=True, check=True)
    assert "torch" not in json.loads(found.stdout)


def test_public_names_are_exact() -> None:
    assert set(steadyread.__all__) == {
        "Assessment", "Bounds", "CTNoise", "Cases", "Classifier", "Linf", "Spectrum", "SteadyreadError", "__version__",
        "apgd", "assess", "attack", "audit", "bim", "check", "compare", "fgsm", "flip_probability",
        "harden", "load_classifier",
        "open_cases", "open_run",
        "optimised_ct_noise", "pgd", "random_ct_noise", "rare_flip_probability", "run", "smallest_flip", "triage"}
    for name in steadyread.__all__:
        assert getattr(steadyread, name) is not None
        assert name in dir(steadyread)
    with pytest.raises(AttributeError, match="no attribute 'atack'"):
        _ = steadyread.atack


def test_every_attack_and_hardening_names_its_source() -> None:
    for maker in (*ATTACKS.values(), *METHODS.values()):
        assert maker.doi.startswith("10.") or maker is METHODS["clean"], maker.name
        assert maker.make.__doc__, maker.name


def test_input_is_never_asserted() -> None:
    """`assert` is for what cannot happen (narrowing a type), never for what a user brings."""
    for path in MODULES:
        asserts = [node for node in _nodes(path) if isinstance(node, ast.Assert)]
        narrowing = [node for node in asserts if isinstance(node.test, ast.Call) or (
            isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.IsNot))]
        assert narrowing == asserts, f"{_name(path)}: an assert that narrows no type (isinstance, is not None)"


def test_constraints_are_exact_and_name_no_place() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert "torch==2.13.0" in lines
    for line in lines:
        name, equals, version = line.partition("==")
        assert all((name, equals, version)), line
        assert not any(mark in line for mark in ("/", "@", "+", ":")), line
