"""The figures of a hardening: [A] Fig. 3, the flips before and after, the training, and other sizes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steadyread.figures import AttackPoints
from steadyread.figures.hardening import Side, before_and_after, flip_scatter
from steadyread.figures.hardening_training import by_training_size
from steadyread.metrics import Reads
from steadyread.metrics.hardening import pair_of_networks
from steadyread.metrics.plan import exact_up_to
from steadyread.metrics.robustness import accuracy_under_attack, robust_curve
from steadyread.metrics.summary import thinned
from steadyread.report.drawings import Drawing, training_drawing
from steadyread.report.hardened import trained_sizes
from steadyread.report.hardening_stored import Hardened
from steadyread.report.stored import Assessed
from steadyread.units import number_of
from steadyread.words.numbers import attack_name, show_size_json

_STEPS = 300     # of a drawn curve


def hardening_drawings(plain: Assessed, hardened: Sequence[Hardened], told: Mapping[str, Any]) -> list[Drawing]:
    """What there is to draw of `told` (`hardening_summary`): at least one epoch, one comparison, or two sizes."""
    made = []
    main, found = hardened[0].assessed, told["compared"]
    if main is not None and found is not None:
        made += [Drawing("before_after", before_and_after(*sides(plain, main, found["against"]), plain.bounds,
                                                          _native(told["epsilon"]), found["against"]),
                         "Accuracy by the size of the change before and after hardening ([A] Fig. 3), each network "
                         "attacked anew. Bands: 95 % at each size."),
                 Drawing("flips_before_after",
                         flip_scatter(np.asarray(found["flips"]["before"]), np.asarray(found["flips"]["after"]),
                                      plain.bounds),
                         "The smallest flip of each image that both networks read right. Above the diagonal it "
                         "takes a larger change after hardening; never: no flip found.")]
    if told["training"].get("epochs"):
        made.append(training_drawing("hardening", told["training"], plain.bounds))
    sizes = trained_sizes(told)
    if len(sizes) > 1:
        robust = next(row["merged"] for row in found["sizes"] if row["size"] == told["at"])
        figure = by_training_size(sizes, found["clean"]["before"], robust["before"], plain.bounds)
        made.append(Drawing("training_sizes", figure,
                            "By the size of change in PGD training: accuracy on clean images, and under changes of "
                            f"at most {show_size_json(told['at'])}. Dotted: before hardening. Hollow: failed."))
    return made


def sides(before: Assessed, after: Assessed, against: str = "label") -> tuple[Side, Side]:
    """Both networks on the images and attacks that they share, each curve as far as both were searched."""
    pair = pair_of_networks(before.reads, after.reads)
    limit = min(exact_up_to(side.run.plan, reads, against)
                for side, reads in ((before, pair.before), (after, pair.after)))
    first, second = (_side(reads, against, limit) for reads in (pair.before, pair.after))
    return first, second


def _side(reads: Reads, against: str, limit: float) -> Side:
    rows = [row for row in accuracy_under_attack(reads, against) if row["accuracy"].value is not None]
    points = [AttackPoints(attack_name(name), [row["size"] for row in rows if row["attack"] == name],
                           [row["accuracy"].value for row in rows if row["attack"] == name])
              for name in dict.fromkeys(row["attack"] for row in rows)]
    return Side(thinned(robust_curve(reads, against).until(limit), _STEPS), points)


def _native(size: Mapping[str, Any] | None) -> float | None:
    return number_of(size) if size else None
