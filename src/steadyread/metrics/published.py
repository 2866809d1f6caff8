"""The numbers that paper [B] printed, to stand beside ours: other data, another network, another spectrum.

Shen et al. 2020, Phys Med Biol 65:245037, doi:10.1088/1361-6560/abc812, Tables 1 to 5; K = 50, ten folds, in %
where not said. Mean and standard deviation over the ten models. Of Table 5 the text says that the AUC rose, where
the table has 0.91 and then 0.90; after two rounds its 500 mAs (16.1 %) is above its 200 mAs (12.4 %). Both stand
here as printed.
"""

from typing import NamedTuple

DOI = "10.1088/1361-6560/abc812"
TRIALS, FOLDS = 50, 10


class Printed(NamedTuple):
    """Mean and standard deviation over the folds, as printed."""

    mean: float
    sd: float


DOSES = (10.0, 50.0, 100.0, 200.0, 500.0)
TABLE_1 = {     # shares, not %
    "train": {"auc": Printed(0.97, 0.004), "accuracy": Printed(0.97, 0.004), "sensitivity": Printed(0.98, 0.005),
              "specificity": Printed(0.94, 0.008)},
    "validation": {"auc": Printed(0.87, 0.084), "accuracy": Printed(0.84, 0.059),
                   "sensitivity": Printed(0.88, 0.062), "specificity": Printed(0.82, 0.098)},
    "test": {"auc": Printed(0.91, 0.008), "accuracy": Printed(0.85, 0.011), "sensitivity": Printed(0.90, 0.007),
             "specificity": Printed(0.77, 0.024)}}
TABLE_2 = {     # SAN, % of samples, by attack, part and dose
    ("random", "train"): (Printed(49.7, 4.9), Printed(24.8, 4.2), Printed(11.2, 4.1), Printed(3.0, 2.1),
                          Printed(0.9, 0.4)),
    ("random", "test"): (Printed(52.3, 2.9), Printed(29.1, 5.0), Printed(17.4, 4.3), Printed(9.6, 2.7),
                         Printed(4.5, 1.3)),
    ("optimised", "train"): (Printed(59.2, 6.3), Printed(34.7, 6.3), Printed(23.4, 6.6), Printed(13.6, 6.5),
                             Printed(6.6, 4.2)),
    ("optimised", "test"): (Printed(61.8, 5.5), Printed(44.4, 6.3), Printed(34.3, 7.5), Printed(25.4, 6.4),
                            Printed(19.3, 5.1))}
TABLE_3 = {     # SAN, % of samples, random noise at 100 mAs: (train, test)
    "original": (Printed(11.2, 4.1), Printed(17.4, 4.3)), "batch_norm": (Printed(10.6, 3.7), Printed(15.7, 4.4)),
    "dropout_0.1": (Printed(13.4, 4.8), Printed(27.4, 5.1)),
    "dropout_0.2": (Printed(10.2, 4.0), Printed(20.0, 4.5)),
    "deeper": (Printed(12.0, 5.2), Printed(23.2, 5.6)), "shallower": (Printed(9.1, 3.7), Printed(17.9, 4.2)),
    "wider": (Printed(9.6, 3.9), Printed(15.8, 3.6)), "narrower": (Printed(12.7, 4.7), Printed(28.5, 4.6)),
    "five_class": (Printed(26.2, 6.9), Printed(86.5, 15.3))}


def san_printed(attack: str, part: str, mas: float) -> Printed | None:
    """[B] Table 2 for "random" or "optimised", train or test, at a dose; None for one that it did not try."""
    row = TABLE_2.get((attack, part))
    return row[DOSES.index(mas)] if row is not None and mas in DOSES else None


def variant_printed(variant: str) -> tuple[Printed, Printed] | None:
    """[B] Table 3 for a variant, whatever joins its words; None for one that is not the paper's."""
    plain = "".join(letter for letter in variant.lower() if letter.isalnum())
    return next((row for name, row in TABLE_3.items()
                 if "".join(letter for letter in name if letter.isalnum()) == plain), None)
