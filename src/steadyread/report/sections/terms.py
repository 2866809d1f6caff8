"""How to read the terms of the page."""

from collections.abc import Iterator

from steadyread.report.items import Item, Terms
from steadyread.report.marks import italic
from steadyread.report.plain import Plain
from steadyread.report.section import section


@section("How to read the terms", of=Plain, order=110)
def terms(plain: Plain) -> Iterator[Item]:
    """The words that the tables go by."""
    unit = plain.unit
    over = "patients" if plain.summary["data"]["patients_known"] else "images, each taken as a patient of its own"
    yield Terms((
        ("Change", "The largest change of any one pixel, as a share of the range of valid values "
         f"({plain.summary['range']:g} {unit or 'units'}){f' and in {unit}' if unit else ''}. An attack looks for the "
         "change within that size that hurts most."),
        ("Flip", f"The prediction is no longer the reference. {italic('Against the label')} the reference is the "
         "truth, and a read that is wrong before any change counts as flipped at size 0. "
         f"{italic('Against the prediction')} it is what the model said of the clean image, right or wrong."),
        ("Smallest flip", "The smallest change found that flips the image. The true one may be smaller still, never "
         "larger."),
        ("Margin", "The logit of the reference minus the best other logit; flipped where it is below 0."),
        ("Intervals", f"95 %, over {over}: shares by Clopper and Pearson at the effective number of independent "
         "images, all else by resampling patients. A dash stands where there are too few of them (below 10, or below "
         "30 where all resamples agree). An AUC of exactly 1 or 0 has the one-sided bound of as many independent pairs "
         "as there are patients on its smaller side.")))
