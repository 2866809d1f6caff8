"""What a person sees at a terminal: help by panels, words that are never parted, colour and links only where they are
shown."""

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from steadyread import flags
from steadyread.cli import app
from steadyread.flags import Flag
from steadyread.manual import PANELS, examples_of, summary_of
from steadyread.options import Given
from steadyread.terminal import Bar, Bars, Command, Place, Rows, Screen, Words, lines, screen_of

WHOLE: Any = typer.main.get_command(app)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\")
WIDTHS = (40, 60, 80, 120)


def commands(group: Any = WHOLE, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    for word, command in group.commands.items():
        yield from commands(command, f"{word} ") if hasattr(command, "commands") else ((f"{name}{word}", command),)


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_short_summary_and_two_examples_that_can_be_typed(name: str) -> None:
    text = COMMANDS[name].help
    assert len(summary_of(text)) <= 50
    examples = examples_of(text)
    assert len(examples) == 2
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "steadyread"
        assert " ".join(words).startswith(name)
        context = COMMANDS[name].make_context(name, words[len(name.split()):])
        known = tuple(flag for flag in vars(flags).values() if isinstance(flag, Flag) and flag.word in context.params)
        assert Given(known, context.params).settings is not None


def test_commands_stand_in_panels() -> None:
    panels = [command.rich_help_panel for command in WHOLE.commands.values()]
    assert len(set(panels)) == 3
    by = {panel: [name for name, each in WHOLE.commands.items() if each.rich_help_panel == panel] for panel in panels}
    assert next(iter(by.values())) == ["demo", "check", "assess", "run"]
    assert all(flag.panelled in PANELS for flag in vars(flags).values() if isinstance(flag, Flag))


def at_terminal(columns: int, *argv: str, **environ: str) -> str:
    """What a command writes to a terminal of so many columns."""
    code = f"import sys; from steadyread.cli import main; sys.exit(main({list(argv)!r}))"
    leader, follower = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=follower, stderr=follower, env={
        **os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", **environ})
    os.close(follower)
    written = b""
    while True:
        try:
            read = os.read(leader, 65536)
        except OSError:      # Linux's end of a terminal
            break
        if not read:
            break
        written += read
    os.close(leader)
    assert process.wait() == 0
    return written.decode().replace("\r\n", "\n")


def test_help_is_coloured_at_a_terminal_alone_and_as_wide_as_it() -> None:
    told = at_terminal(44, "assess", "--help")
    assert "\x1b[1mNetwork\x1b[0m" in told
    assert max(len(ESCAPES.sub("", line)) for line in told.splitlines()) <= 44
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b[" not in at_terminal(80, "assess", "--help", **environ)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_a_help_is_parted(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyread.manual._screen", lambda: Screen(width))
    path = name.split()
    context = typer.Context(WHOLE, info_name="steadyread") if len(path) == 1 else typer.Context(
        WHOLE.commands[path[0]], info_name=f"steadyread {path[0]}")
    command = COMMANDS[name]
    text = command.get_help(typer.Context(command, parent=context, info_name=path[-1]))
    words = set(text.split())
    for param in command.params:
        assert set((param.help or "").split()) <= words
    assert all(len(line) <= width for line in text.splitlines() if " " in line.strip())


PIECES = (Words("Half of the correct reads flip by a change of 6.8 HU (0.0049 of the range) or less, in 17 patients.",
                "bold"),
          Words("near duplicates: 2 images occur twice", "doubt", "!"),
          Bars((Bar("unattacked", 0.867, "86.7 %  (79.1 to 92.3 %)"), Bar("1.4 HU", 0.5, "50.0 %"))),
          Rows((("case", "label", "read", "with noise", "map"),
                ("nodule-17", "1", "1 (0.93)", "0 (0.41)", "Grad-CAM"))),
          Place("Report", "runs/demo/report.html"), Command("Next", "steadyread harden runs/demo --method trades"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("signs", [True, False])
def test_pieces_keep_within_the_screen_and_part_no_word(width: int, signs: bool) -> None:
    text = list(lines(PIECES, Screen(width, signs=signs)))
    assert max(map(len, text)) <= width
    assert signs or all(line.isascii() for line in text)
    words = set(" ".join(text).split())
    for piece in PIECES:
        if isinstance(piece, Words):
            assert set(piece.text.split()) <= words
    assert "6.8 HU" in " ".join(text)
    assert not any(line.endswith(" 6.8") for line in text)


def test_where_no_terminal_is_no_line_is_broken_and_nothing_coloured(tmp_path: Path) -> None:
    told = list(lines((*PIECES, Place("Report", str(tmp_path / "a b.html"))), screen_of(io.StringIO())))
    assert told[0] == PIECES[0].text     # type: ignore[union-attr]
    assert told[-1] == f"Report: {tmp_path}/a b.html"
    assert "\x1b" not in "".join(told)


def test_a_path_is_a_link_whose_address_no_name_can_break(tmp_path: Path) -> None:
    (link,) = lines([Place("Report", str(tmp_path / "a\x1b]8;;evil\x07.html"))], Screen(200, links=True))
    assert link.startswith(f"Report: \x1b]8;;file://{tmp_path}/a%1B%5D8%3B%3Bevil%07.html\x1b\\")
    assert ESCAPES.sub("", link) == f"Report: {tmp_path}/a\\x1b]8;;evil\\x07.html"


def test_a_command_over_several_lines_can_be_copied() -> None:
    text = "steadyread harden runs/demo --method trades --epsilon '2.8 HU' --out elsewhere"
    told = list(lines([Command("Next", text)], Screen(40)))
    assert len(told) > 1
    assert shlex.split("".join(f"{line}\n" for line in told).removeprefix("Next: ").replace("\\\n", "")
                       ) == shlex.split(text)
