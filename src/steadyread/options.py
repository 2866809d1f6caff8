"""Commands made of their flags; what one was given as settings of a study, and messages about keys in the flags'
words."""

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import typer

from steadyread import flags
from steadyread.errors import UsageError
from steadyread.files import refuse_absent_network
from steadyread.flags import Flag
from steadyread.manual import Command
from steadyread.names import folder_name

# The flags that stand for a key of a study, for messages; those of `harden` first.
FLAGS: Mapping[str, tuple[str, ...]] = {
    "data.path": (flags.TEST_DATA.name, flags.DATA_PATH.name), "data.train": (flags.DATA_PATH.name,),
    "noise.reference_mas": (flags.REFERENCE_MAS.name,),
    **{flag.key: (flag.name,) for flag in vars(flags).values()
       if isinstance(flag, Flag) and "." in flag.key and flag.key not in ("data.path", "data.train")}}


@dataclass(frozen=True)
class Given:
    """The flags of a command with what was typed for each, by their words."""

    flags: tuple[Flag, ...]
    typed: Mapping[str, Any]

    def __getitem__(self, flag: Flag) -> Any:
        """What was given for a flag of the command; None for one that it does not have."""
        return flag.value(self.typed.get(flag.word)) if flag in self.flags else None

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of a study that were given, as `study.keyed` takes them; "." in a key is "__"."""
        given = {flag.key: flag.value(self.typed[flag.word]) for flag in self.flags if flag.key}
        return {key.replace(".", "__"): value for key, value in given.items()
                if value is not None and value is not False and value not in ([], (), {})}


def in_flags(message: str, known: Collection[str]) -> str:
    """A message that names keys of a study, with those flags in their place that the command knows.

    What a card beside the weights, or a network's file, states is not what the user typed: its keys stay.
    """
    if "the card beside the weights" in message or "the network's file" in message:
        return message

    def flag(match: re.Match[str]) -> str:
        own = [name for name in FLAGS[match.group(1)] if name in known]
        return own[0] + " " * bool(match.group(2)) if own else match.group(0)

    keys = "|".join(re.escape(key) for key in FLAGS)
    return re.sub(rf"(?<![\w.\['\"-])({keys})(?![\w-]|\.\w)( = )?", flag, message)


def flags_of(command: Any, argv: Sequence[str] | None) -> set[str]:
    """The flags of the command, for messages that name a key; none where keys are the words of who reads them."""
    argv = sys.argv[1:] if argv is None else argv
    for name in argv:
        command = getattr(command, "commands", {}).get(name, command)
    if command.name == "run" or any(word.split("=")[0] == "--study" for word in argv):
        return set()
    return {flag for parameter in command.params for flag in parameter.opts}


def named(given: Given) -> dict[str, Any]:
    """A name that tells one assessment from another, for the folder under runs/.

    Raises:
        UsageError: neither a study nor weights.
    """
    study, data, weights = (given[flag] for flag in (flags.STUDY, flags.DATA_PATH, flags.WEIGHTS))
    if weights is None and study is None and given[flags.MODEL]:
        refuse_absent_network(given[flags.MODEL])
        from steadyread.study import keyed, read_study

        weights = read_study(None, keyed(model__name=given[flags.MODEL])).model.weights
    if study is None and weights is None:
        raise UsageError("assess needs a trained network: give --weights FILE (and --model, --bounds, --output "
                         "unless the file was written by `steadyread train`); `steadyread demo` trains one first")
    if study is not None:
        return {}
    of = Path(data).resolve().stem if data else "synthetic"
    look = "-quick" if given[flags.QUICK] else ""
    return {"name": folder_name(f"assess-{of}-{Path(weights or '').resolve().stem}{look}")}


def named_by_data(work: str, data: str | None) -> str:
    """The name of a run of a command on some data."""
    return f"{work}-{folder_name(Path(data).resolve().stem)}" if data else work


def command(of: typer.Typer, panel: str, *known: Flag
            ) -> Callable[[Callable[[Given], None]], Callable[[Given], None]]:
    """Makes a function a command with these flags: its docstring is the help (see `manual`), what was typed its
    argument."""
    def made(work: Callable[[Given], None]) -> Callable[[Given], None]:
        def call(**typed: Any) -> None:
            work(Given(known, typed))

        parameters = [(flag.word, *flag.parameter()) for flag in known]
        call.__signature__ = Signature([   # type: ignore[attr-defined]
            Parameter(word, Parameter.KEYWORD_ONLY, annotation=annotation, default=Parameter.empty if default is ...
                      else default) for word, annotation, default in parameters])
        call.__annotations__ = {word: annotation for word, annotation, _ in parameters}
        of.command(work.__name__, cls=Command, help=work.__doc__, rich_help_panel=panel)(call)
        return work

    return made


def say(given: Given, found: Mapping[str, Any], lines: str) -> None:
    """Prints a result, in the lines of that name in `console`, or as one JSON object."""
    from steadyread import console

    console.say(found, given[flags.JSON], getattr(console, lines))
