"""What noise can do that is looked for: how many reads it changes, whether it still looks like noise, and whether a
longer search would find more."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadyread.metrics.reads import OPTIMISED, PAPER, PAPER_HU, PLAUSIBLE, POOLED, RANDOM, RINGS
from steadyread.report import forms
from steadyread.report.items import Figure, Heading, Item, Terms, Text, grid
from steadyread.report.marks import italic
from steadyread.report.noise import Noise
from steadyread.report.section import section
from steadyread.report.table import Column, Form, Row, begun, table
from steadyread.words.noise import noise_name, noise_said
from steadyread.words.numbers import percent

STEPS = {
    "paper_gap": "[B]'s optimised noise as printed, minus random noise",
    "variance": "of this, what 27 % more variance does to random noise",
    "printed_rms": "what the printed rms adds to [B]'s search",
    "pooled_search": "what [B]'s search does at the right rms, power pooled over a block of images",
    "paper_hu_gap": "the gap where the step of 1 is read in HU",
    "own_rings": "ours, rings, minus random noise",
    "own_plausible": "ours, plausible, minus random noise",
    "piled_up": "rings minus plausible: what only implausible noise does"}
_BEGIN = ("paper_gap", "own_rings")
_MEASURES = (("sigma_hu", "σ realised, HU", 1, 1), ("largest_local_sigma_hu", "Largest local σ, HU", 1, 1),
             ("flipped_sigma", "Flipped images: σ / nominal", 1, 2), ("ring_error", "Ring error, %", 100, 2),
             ("kurtosis", "Excess kurtosis", 1, 2), ("z_correlation", "Correlation along z", 1, 2),
             ("deviations", "SDs towards the flip", 1, 1))


@section("Optimised noise", of=Noise, order=620)
def optimised_noise(noise: Noise) -> Iterator[Item]:
    """[B] Table 2, optimised noise; what the gap to random noise is made of."""
    s = noise.summary
    tables = [item for part in dict.fromkeys((noise.part, "train")) if part in noise.parts
              for item in _changed(noise, part)]
    if not tables:
        yield Text("No optimised noise was tried.")
        return
    yield Text(f"Noise of the same spectrum and dose, but searched for so that it changes the read: what noise "
               f"{italic('can')} do, not what it will.")
    yield Terms(tuple((noise_name(attack), f"{noise_said(attack)}.") for attack in s["attacks"]
                      if noise_said(attack) and attack != RANDOM))
    yield from tables
    yield from _steps(noise)
    yield Heading("Does it still look like noise?")
    yield from _plausible(noise)
    yield Heading("Would a longer search find more?")
    yield from _converged(noise)
    yield grid(*(Figure(f"sar_{attack.removesuffix('_ct_noise')}_{part}")
                 for attack in (RINGS, PLAUSIBLE, PAPER, POOLED, PAPER_HU) for part in ("train", "test")))


def _changed(noise: Noise, part: str) -> Iterator[Item]:
    """SAN of every attack by dose; nothing where no optimised noise was tried."""
    attacks = noise.attacks(part)
    doses = sorted({row["mas"] for row in noise.summary["rows"] if row["part"] == part and row["attack"] in OPTIMISED})
    if doses:
        san = [(mas, *((noise.row(attack, mas, part) or {}).get("san") for attack in attacks)) for mas in doses]
        columns = [Column("mAs", forms.DOSE), *(Column(noise_name(attack), forms.mean_sd()) for attack in attacks)]
        yield table(columns, san, tone="snug",
                    above=f"SAN in {part}, %: mean ± SD over folds. K: {noise.trials(part)}.")


def _steps(noise: Noise) -> Iterator[Item]:
    doses = noise.summary["decomposition"]
    names = [name for name in STEPS if any(name in dose["steps"] for dose in doses)]
    if not names:
        return
    trials = list(dict.fromkeys(dose["trials"] for dose in doses))
    at = f"K = {trials[0]}" if len(trials) == 1 else "; ".join(f"{dose['mas']:g} mAs: K = {dose['trials']}"
                                                               for dose in doses)
    yield Heading("What the gap between random and optimised noise is made of")
    yield table([Column(f"Points of SAN, {noise.part}", Form(str, tone="said")),
                 *(Column(f"{dose['mas']:g} mAs", forms.signed_stacked()) for dose in doses)],
                [Row((STEPS[name], *(dose["steps"].get(name) for dose in doses)), name in _BEGIN) for name in names],
                tone="snug", above=(f"Differences of SAN in points, at one K for all attacks of a dose ({at}; where an "
                                    "attack made more, SAN is what that many of its own would give), over the same "
                                    "resampled patients."),
                note="Ours counts a flip on any iterate of a start, [B]'s only that of its last noise. [B]'s power is "
                "pooled over blocks of up to 64 images of one part; in the paper, over all samples.")


def _plausible(noise: Noise) -> Iterator[Item]:
    rows = [row for row in noise.summary["plausibility"] if row["mas"] == noise.summary["stated_mas"]]
    if not rows:
        yield Text(f"The noise at {noise.dose} was not measured.")
        return
    slices = "" if any(row["z_correlation"] for row in rows) else (
        "These are single slices: there is no correlation along z. ")
    columns = [Column("Noise", forms.TEXT),
               *(Column(title, _spread(scale, decimals)) for _, title, scale, decimals in _MEASURES),
               Column("Forwards", forms.only(1, 1)), Column("Gradients", forms.only(1, 1))]
    yield table(columns, [(noise_name(row["attack"]), *(row[name] for name, *_ in _MEASURES), row["forwards"],
                           row["backwards"]) for row in rows], tone="snug", above=(
        f"At {noise.dose}, one noise per read (random: the first draw; the others: the worst start): median over the "
        f"reads, 95th percentile beside it. {italic('Flipped images')}: σ of the noise in the images that flipped, "
        "over the nominal σ; above 1, they hold power taken from the others. Ring power alone does not make "
        "noise plausible: it can be piled up on the nodule."), note=(
        f"Forwards and gradients are means per image, over all its draws or starts. {slices}A dash: not measured, or "
        "no image flipped."))
    yield grid(Figure("plausibility"), tone="figures wide")


def _spread(scale: float, decimals: int) -> Form:
    def of(name: str) -> Any:
        return lambda spread: forms.number(spread[name] if spread else None, scale, decimals)

    return Form(of("median"), beside=of("high"), beside_title="95th")


def _converged(noise: Noise) -> Iterator[Item]:
    attacks = noise.summary["convergence"]
    if not attacks:
        yield Text("Whether more gradients would find more flips was not checked.")
        return
    yield from (Text(_worst(attack)) for attack in attacks if attack["worst"])
    columns = [Column("Noise", forms.TEXT), Column("mAs", forms.DOSE), Column("Images", forms.COUNT),
               Column("Flips", forms.COUNT), Column("Flips of the longer search", forms.COUNT),
               Column("Of those found, %", forms.share())]
    yield table(columns, begun([(noise_name(attack["attack"]), row["mas"], row["images"], row["flips"],
                                 row["flips_more"], row["found"]) for attack in attacks for row in attack["rows"]]),
                tone="snug", note="All folds together, each image once per fold. Target: 95 % or more at every dose.")


def _worst(attack: Mapping[str, Any]) -> str:
    row = attack["worst"]
    return (f"{noise_name(attack['attack'])}: at {row['mas']:g} mAs, the worst dose, the search finds "
            f"{percent(row['found'].value)} (95 %: {forms.interval(row['found'])}) of the {row['flips_more']} flips "
            f"that {row['gradients_more']:g} gradients per image find, with at most {row['gradients']:g}.")
