"""The numbers that paper [A] printed, to stand beside ours: its own data, networks and attacks, not ours.

Joel et al. 2022, JCO Clin Cancer Inform 6:e2100170, doi:10.1200/CCI.21.00170: Tables 1 and 2 and the text of its
results. In % where not said; sizes are shares of the range [0, 1]. Its attacks push away from the *prediction* (its
library's default where no labels are given), so wrong reads are pushed to right and no column falls below 100 minus
its baseline.
"""

import math
from typing import NamedTuple

DOI = "10.1200/CCI.21.00170"
SIZES = (0.001, 0.002, 0.004, 0.006)
ATTACKS = ("fgsm", "pgd", "bim")     # in the order of Table 1
HARDENED_AT = 0.002                  # the size at which its text tells the gain of adversarial training, by PGD
WITHHELD = 0.2                       # of the test images, in Table 2


class Column(NamedTuple):
    """A data set's column of Table 1. `accuracy` has a row an attack of `ATTACKS`, a value a size of `SIZES`."""

    title: str
    medical: bool
    classes: int
    baseline: float
    accuracy: tuple[tuple[float, ...], ...]

    def at(self, attack: str, of_range: float) -> float | None:
        """The accuracy printed under an attack at a size; None for one that Table 1 does not have."""
        place = next((place for place, size in enumerate(SIZES) if math.isclose(size, of_range, rel_tol=1e-4)),
                     None)
        return self.accuracy[ATTACKS.index(attack)][place] if attack in ATTACKS and place is not None else None

    @property
    def floor(self) -> float:
        """100 minus the baseline: where an attack away from the prediction must stop with two classes."""
        return 100 - self.baseline

    @property
    def lowest(self) -> float:
        """The smallest accuracy of the column."""
        return min(min(row) for row in self.accuracy)

    @property
    def above(self) -> float | None:
        """How far above its floor the column stops, in points; None for more than two classes, which have none."""
        return round(self.lowest - self.floor, 2) + 0.0 if self.classes == 2 else None


class Withheld(NamedTuple):
    """A row of Table 2: accuracy of all test images, of those kept, its change, and the threshold of its note."""

    everyone: float
    kept: float
    change: float
    threshold: float


class Gain(NamedTuple):
    """Adversarial training in the text: PGD accuracy before and after at `HARDENED_AT`, and the gain as printed."""

    before: float
    after: float
    printed: float


class Slip(NamedTuple):
    """A figure of the paper's text that its own tables (or its code) contradict."""

    where: str
    printed: str
    follows: str


TABLE_1 = {
    "lung_ct": Column("CT", True, 2, 75.41, (
        (51.98, 34.62, 31.12, 31.59), (41.84, 26.92, 25.64, 25.64), (44.99, 27.74, 25.87, 25.76))),
    "mammography": Column("Mammogram", True, 2, 76.43, (
        (46.96, 30.00, 24.46, 23.93), (45.36, 27.68, 23.93, 23.57), (46.07, 28.57, 23.93, 23.57))),
    "brain_mri": Column("MRI", True, 2, 93.64, (
        (77.27, 56.36, 43.03, 40.38), (61.36, 24.32, 6.36, 6.36), (64.24, 29.02, 6.44, 6.36))),
    "mnist": Column("MNIST", False, 10, 99.13, (
        (99.05, 99.05, 99.04, 98.96), (99.06, 99.05, 99.01, 98.92), (99.06, 99.05, 99.01, 98.93))),
    "cifar_10": Column("CIFAR-10", False, 10, 86.13, (
        (85.32, 82.39, 74.29, 65.27), (85.29, 81.93, 71.90, 59.98), (85.32, 82.06, 72.84, 62.28)))}
TABLE_2 = {"lung_ct": Withheld(75.41, 81.31, 5.90, 0.0003), "mammography": Withheld(76.43, 80.13, 3.70, 0.00025),
           "brain_mri": Withheld(93.64, 98.82, 5.18, 0.0006)}
GAINS = {"lung_ct": Gain(26.9, 67.7, 42.9), "mammography": Gain(27.7, 63.4, 35.7),
         "brain_mri": Gain(24.3, 87.2, 73.2)}
# From the baseline under PGD at `HARDENED_AT`, as its text has it.
_FALLS = {"lung_ct": -48.5, "mammography": -48.8, "brain_mri": -61.8, "mnist": -0.05, "cifar_10": -4.2}


def column_of(name: str) -> Column | None:
    """The paper's column for a data set's name, whatever joins or capitalises its words; None for any other set."""
    return TABLE_1.get(key_of(name))


def key_of(name: str) -> str:
    """A data set's name as the keys of the tables here have it."""
    return "_".join(name.lower().replace("-", " ").replace("_", " ").split())


def slips() -> list[Slip]:
    """Where the text of [A] contradicts its own figures, worked out from them; and one that only its code shows."""
    found = []
    for name, fall in _FALLS.items():
        column = TABLE_1[name]
        printed = column.at("pgd", HARDENED_AT)
        true = (printed if printed is not None else math.nan) - column.baseline
        if abs(true - fall) > _rounding(fall):
            found.append(Slip(f"{column.title}: fall from the baseline under PGD at {HARDENED_AT:g}",
                              _signed(fall), f"{printed:.2f} − {column.baseline:.2f} = {_signed(round(true, 2))}"))
    for name, gain in GAINS.items():
        true = gain.after - gain.before
        if abs(true - gain.printed) > 2 * _rounding(gain.printed):
            found.append(Slip(f"{TABLE_1[name].title}: gain by adversarial training", _signed(gain.printed),
                              f"{gain.after:g} − {gain.before:g} = {_signed(round(true, 1))}"))
    found.append(Slip("CT: threshold of the smallest flip in triage (Table 2)",
                      f"{TABLE_2['lung_ct'].threshold:g}", "0.0007 in its public code"))
    return found


def _rounding(printed: float) -> float:
    """Half a unit of the last printed digit, and a little for the arithmetic."""
    return 0.51 * float(10.0 ** -len(f"{printed:g}".partition(".")[2]))


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "−")
