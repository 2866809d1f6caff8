"""How the network was trained, where it was trained here."""

from collections.abc import Iterator

from steadyread.report.hardened import training_terms
from steadyread.report.items import Figure, Item, Terms, Text, grid
from steadyread.report.plain import Plain
from steadyread.report.section import section


@section("Training", of=Plain, order=700)
def training(plain: Plain) -> Iterator[Item]:
    """Its epochs, and which was kept."""
    found = plain.summary["training"]
    if not found or not found.get("epochs"):
        return
    if "method" in found:
        yield Terms(tuple(training_terms(found, plain.bounds)))
    else:
        seconds = f" in {found['seconds']:.0f} s" if found.get("seconds") is not None else ""
        kept = (f"; epoch {found['chosen_epoch']} was kept, the best on validation images"
                if found.get("chosen_epoch") is not None else "")
        first = "The first fold: " if plain.summary["folds"] > 1 else ""
        yield Text(f"{first}{len(found['epochs'])} epochs{seconds}{kept}.")
    yield grid(Figure("training"))
