"""The help of commands: what each does in a line, examples, its flags in panels.

A command's docstring is all of it: the first line is its summary, lines that begin with `steadyread` are examples,
paragraphs between are its description.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from typer.core import TyperCommand, TyperGroup

from steadyread.terminal import Screen, screen_of

PANELS = ("Arguments", "Options", "Images", "Preparation", "Network", "Attacks", "Hardening", "Training", "Results",
          "Run")     # in the order of a help
_EXAMPLE = "steadyread "
_USUAL = 80
_LEFT = 28           # columns of names, at most
_BESIDE = 60         # columns from which descriptions stand beside names


def summary_of(text: str) -> str:
    """The first line of a docstring."""
    return text.strip().partition("\n")[0]


def examples_of(text: str) -> list[str]:
    """The commands that a docstring shows."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith(_EXAMPLE)]


def paragraphs_of(text: str) -> list[str]:
    """What a docstring says besides its summary and its examples."""
    others = (line.strip() for line in text.strip().splitlines()[1:] if not line.strip().startswith(_EXAMPLE))
    return [" ".join(lines) for there, lines in groupby(others, bool) if there]


class Command(TyperCommand):
    """A command, whose flags know their panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help."""
        formatter.write("\n".join(_of_command(self, ctx, _screen())))


class Group(TyperGroup):
    """Commands in panels."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help."""
        formatter.write("\n".join(_of_group(self, ctx, _screen())))


def _screen() -> Screen:
    screen = screen_of(sys.stdout)
    return screen if screen.width is not None else Screen(_USUAL)


def _of_command(command: Any, ctx: Any, screen: Screen) -> Iterator[str]:
    yield from _head(command, ctx, screen)
    examples = examples_of(command.help or "")
    if examples:
        yield from ("", screen.toned("Examples", "bold"))
        for example in examples:
            yield from screen.wrapped(example, "  ", "      ")
    yield from _flags(command, ctx, screen)


def _of_group(group: Any, ctx: Any, screen: Screen) -> Iterator[str]:
    yield from _head(group, ctx, screen)
    commands = [group.get_command(ctx, name) for name in group.list_commands(ctx)]
    for panel in dict.fromkeys(command.rich_help_panel for command in commands):
        rows = [(command.name, summary_of(command.help or "")) for command in commands
                if command.rich_help_panel == panel]
        yield from _panel(str(panel or "Commands"), rows, screen, max(len(command.name) for command in commands))
    yield from _flags(group, ctx, screen)
    if group.epilog:
        yield from ("", *screen.wrapped(group.epilog))


def _head(command: Any, ctx: Any, screen: Screen) -> Iterator[str]:
    takes = [param.metavar for param in command.get_params(ctx) if param.param_type_name == "argument"]
    takes += ["COMMAND"] if isinstance(command, Group) else []
    yield from screen.wrapped(" ".join([ctx.command_path, *takes, "[FLAGS]"]), "Usage: ")
    text = command.help or ""
    yield from ("", *(screen.toned(line, "bold") for line in screen.wrapped(summary_of(text))))
    for paragraph in paragraphs_of(text):
        yield from ("", *screen.wrapped(paragraph))


def _flags(command: Any, ctx: Any, screen: Screen) -> Iterator[str]:
    rows: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        argument = param.param_type_name == "argument"
        takes = "" if argument or param.is_flag else f" {param.metavar}"
        name = param.metavar if argument else f"{', '.join(param.opts)}{takes}"
        panel = getattr(param, "rich_help_panel", None) or PANELS[-1]
        rows.setdefault(panel, []).append((name.strip("[]"), param.help or ""))
    widest = max(len(name) for several in rows.values() for name, _ in several)
    for panel in sorted(rows, key=PANELS.index):
        yield from _panel(panel, rows[panel], screen, widest)


def _panel(title: str, rows: Sequence[tuple[str, str]], screen: Screen, widest: int) -> Iterator[str]:
    """A title, and names with their descriptions: beside them where there is room, else below."""
    column = min(widest, _LEFT) + 4
    roomy = (screen.width or _USUAL) >= _BESIDE
    yield from ("", screen.toned(title, "bold"))
    for name, text in rows:
        first = f"  {name}".ljust(column)
        if roomy and len(first) == column:
            line, *others = screen.wrapped(text, first)
            yield screen.toned(first, "steady") + line[column:]
        else:
            yield screen.toned(f"  {name}", "steady")
            others = screen.wrapped(text, " " * (column if roomy else 6))
        yield from others
