"""A numbered rule: what is looked at, before any attack or after the search, what it is called and what to do."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from steadyread.checks.evidence import Evidence
from steadyread.checks.sample import Sample
from steadyread.findings import Finding
from steadyread.registry import LAST, Registry

Look = Callable[[Evidence], Finding]
SampleLook = Callable[[Sample], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule by its `name`, which its findings have.

    Args:
        code: its number, SR and three digits of ours; "" for one that has none.
        look: what it says of what it is shown: of a `Sample` where it is `before` any attack, else of `Evidence`.
        remedy: what to do where it fires.
        needs: what it cannot do without, in words, for a rule that said nothing.
        stated: it looks for something that was misstated of a given network, which one that was trained in the same
            run cannot have.
        gradient: it looks at attacks that climb one, and is left out for a network that has none.
        quick: it takes so few passes that a first look has time for it.
    """

    name: str
    order: float
    look: Callable[[Any], Any]
    before: bool
    code: str = ""
    remedy: str = ""
    needs: str = ""
    stated: bool = False
    gradient: bool = False
    quick: bool = False

    def findings(self, shown: Sample | Evidence) -> Iterator[Finding]:
        """What it says, with its number, and with the remedy where it fires."""
        answer = self.look(shown)
        for finding in (answer,) if isinstance(answer, Finding) else answer:
            fires = finding.severity in ("error", "warning")
            yield replace(finding, code=self.code, remedy=finding.remedy or self.remedy if fires else "")


RULES: Registry[Rule] = Registry("rule", "steadyread.checks")


def rule(code: str, name: str, *, remedy: str, needs: str = "", stated: bool = True, late: bool = False
         ) -> Callable[[SampleLook], SampleLook]:
    """Registers a function as a rule that looks at a network's reads before any attack; see `Rule`. What takes many
    passes comes `late`, when the quick ones have spoken."""
    def registered(look: SampleLook) -> SampleLook:
        digits = "".join(letter for letter in code if letter.isdigit())
        RULES.add(Rule(name, float(digits or LAST) + (LAST if late else 0), look, True, code, remedy, needs, stated))
        return look

    return registered


def check(*, order: float = LAST, gradient: bool, code: str = "", name: str = "", quick: bool = False
          ) -> Callable[[Look], Look]:
    """Registers a function as a rule that looks at what the search found, under its own name or `name`."""
    def registered(look: Look) -> Look:
        RULES.add(Rule(name or look.__name__, order, look, False, code, gradient=gradient, quick=quick))
        return look

    return registered
