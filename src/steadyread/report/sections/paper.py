"""How a study differs from the paper that it repeats, and where that paper disagrees with itself."""

from collections.abc import Iterator

from steadyread.metrics import published
from steadyread.metrics.reads import PAPER, PAPER_HU
from steadyread.report import forms
from steadyread.report.items import Item, Terms
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.sections.physics import size
from steadyread.report.sets import Sets
from steadyread.report.table import Column, table
from steadyread.words.numbers import counted


@section("How this differs from the paper", of=Noise, order=1120)
def paper(noise: Noise) -> Iterator[Item]:
    """[B] beside this study, point by point."""
    s = noise.summary
    spectrum = f"“{s['spectrum']['name']}”: {s['spectrum']['provenance']}" if s["spectrum"] else "not stored"
    both = "Both readings of its step (window units, HU) are run. " if {PAPER, PAPER_HU} <= set(s["attacks"]) else ""
    part = next((part for part in dict.fromkeys((noise.part, "train")) if part in noise.parts), None)
    yield Terms((
        ("Data", _data(noise)),
        ("Labels", "Ours go by the table's consensus rating, which behaves like the readers' most frequent rating; [B] "
         "takes the mean of the readers."),
        ("Network", _network(noise)),
        ("Spectrum", "[B] takes one measured by Dolly et al. 2016, whose numbers are not open. Ours is "
         f"{spectrum}."),
        ("Noise", "Power goes as 1/mAs; [B] says “linearly scaled”, which is right as inverse power only. Drawn with "
         "complex coefficients that belong to a real image, on a larger grid that is then cropped: the paper's formula "
         "read literally gives half the variance and images that mirror themselves."),
        ("Optimised", "[B] pools the mean modulus over all samples, which lets sigma grow by 1.128 and an image's "
         "noise depend on its neighbours, and climbs the squared difference of probabilities, whose gradient vanishes "
         f"where the network is sure. {both}Ours climbs the margin, each image alone, held to the spectrum slice by "
         "slice."),
        ("K", f"{published.TRIALS} in [B]. Here {noise.trials(part) if part else ''}."),
        ("Beyond it", "Intervals over patients, the flip rate of one draw, drift and jitter, critical doses, P(flip) "
         "checked by counting, plausibility of the noise, fragility by scanner and size.")))


def _data(noise: Noise) -> str:
    s = noise.summary
    parts = "".join(f", {s['parts'][part]['cases']} in {part}" for part in noise.parts)
    box = ((s["provenance"]["settings"].get("data") or {}).get("options") or {}).get("box_mm")
    of_mm = f", a box of {size(box)} mm" if box else ""
    split = ", split by patient (the paper splits nodules)" if s["data"]["patients_known"] else ""
    return (f"[B]: 1226 nodules of LIDC-IDRI (431 malignant, 795 benign), cubes of 32 mm. Here: {s['data']['name']}"
            f"{parts}{of_mm}{split}. The folds share training cases and, as in [B], one test part: ± over them is of "
            "the networks, not of other test nodules.")


def _network(noise: Noise) -> str:
    s = noise.summary
    parameters = f", {s['model']['parameters']:,} parameters" if "parameters" in s["model"] else ""
    scale = f", scale “{s['scale']}”" if s["scale"] else ""
    return ("[B]: four convolutions of 64 to 512 features, four dense layers, sigmoid, squared error, ten folds. Here: "
            f"{s['model']['name']}{parameters}, {counted(len(s['folds']), 'fold')}{scale}.")


@section("Where the paper's own figures disagree", of=Sets, order=2080)
def slips(sets: Sets) -> Iterator[Item]:
    """What [A] printed, and what follows from its own tables."""
    if sets.printed:
        yield table([Column("Figure", forms.WRAPPED), Column("Printed", forms.COUNT),
                     Column("Follows from its figures", forms.TEXT)],
                    [(slip["where"], slip["printed"], slip["follows"]) for slip in sets.summary["paper"]["slips"]],
                    tone="snug", above="What it printed, and what follows from its own tables or its code instead. The "
                    "tables above quote its tables.")
