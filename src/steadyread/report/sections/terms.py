"""How to read the terms of the page."""

from collections.abc import Iterator

from steadyread.report.items import Item, Terms
from steadyread.report.marks import italic
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.words.numbers import percent


@section("How to read the terms", of=Plain, order=840)
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
         "as there are patients on its smaller side."), *_folds(plain)))


def _folds(plain: Plain) -> tuple[tuple[str, str], ...]:
    """How the networks of several folds are told of."""
    folds = plain.summary["folds"]
    return () if folds == 1 else (("Folds", (
        f"The reads of the networks of {folds} folds are taken together, each image once for each network; a patient's "
        "images and their reads stay together in every interval. The AUC is the mean of theirs, and scores that sort "
        "reads are compared over all of them, which asks that the networks' logits be on like scales.")),)


def noise_terms(noise: Noise) -> Terms:
    """The words that the tables of a study of CT noise go by."""
    s = noise.summary
    over = "patients" if s["data"]["patients_known"] else "images, each taken as a patient of its own"
    allows = "" if s["zero_allows"] is None else (
        f" No flip in {s['trials']} draws still allows a SAR of {percent(s['zero_allows'])}.")
    return Terms((
        ("mAs", f"The dose of a scan that would have the noise that is "
         f"{italic('inserted' if noise.simulated else 'added')}. Lower dose, more noise: its power goes as 1/mAs, its "
         "sigma as 1/√mAs."),
        ("Flip", "The prediction under noise is not the one of the clean image, right or wrong."),
        ("SAN", "The share of images that flip at least once in K draws (or starts of a search). It grows with K: the "
         "flip rate of one draw does not."),
        ("SAR", f"Of one image, the share of the K draws that flip it; {italic('SAR5')} is the SAR that 5 % of the "
         f"images reach or exceed.{allows}"),
        ("Margin", "The logit of the clean prediction minus the other one; flipped where it is below 0."),
        ("Drift, jitter", "Mean of the margin under noise minus the clean margin, and its standard deviation, in "
         f"logits. Drift is told by predicted class and, signed, towards {noise.class_name(1)}."),
        ("P(flip)", "The chance that one draw of noise flips an image: Φ(−(margin + drift) / jitter). Its "
         f"{italic('critical mAs')} is the dose below which P(flip) exceeds a stated level."),
        ("±, intervals", "± is the standard deviation over the folds' networks, as in [B]: how much training varies. "
         f"Intervals are 95 % over {over}, resampled for all folds at once: how much another sample would. A dash "
         "stands where there are too few.")))


@section("How to read the terms", of=Sets, order=840)
def set_terms(sets: Sets) -> Iterator[Item]:
    """The words that the tables of several data sets go by."""
    if sets.each:
        yield Terms((
            ("Change", "The largest change of any one pixel, as a share of the range of valid values, so that sets of "
             "different units can be set side by side. An attack looks for the change within that size that hurts "
             "most."),
            ("Against the label", "Every image is pushed away from the truth. A read that is wrong before any change "
             "counts as flipped at size 0, so the accuracy goes to 0: this is the standard robust accuracy."),
            ("Against the prediction", "Every image is pushed away from what the network said of it, right or wrong. "
             "So wrong reads are pushed to right. This is what [A] did."),
            ("Smallest flip", "The smallest change found that flips the image. The true one may be smaller still, "
             "never larger."),
            ("Intervals", "95 %, over patients; below a figure in small print. None is given where there are too few "
             "patients. Statements hold one at a time: of twenty that are not so, one will look so.")))
