"""Images before and after a change, or noise, that flips them."""

from collections.abc import Iterable, Iterator

from steadyread.charts.examples import Attacked, Example, NoiseExample
from steadyread.charts.pictures import amplification, change, picture
from steadyread.report.items import Item, Picture, Strip, Strips, Text, within_room
from steadyread.report.marks import bold, code
from steadyread.report.noise import Noise
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.report.sets import Sets
from steadyread.units import Bounds
from steadyread.words.noise import noise_name
from steadyread.words.numbers import attack_name, percent, show_native

_SHOWN = 9
_ROOM = 2_400_000     # letters of the images of several sets


@section("Examples", of=Plain, order=110)
def examples(plain: Plain) -> Iterator[Item]:
    """Clean image, change, attacked image, with what the network says."""
    yield from _shown((_strip(each, plain.bounds) for each in plain.run.examples[:_SHOWN]),
                      "Clean image, the change amplified (blue lower, white unchanged, red higher), attacked image. "
                      "Percentages are the model's own probabilities.", plain.summary["synthetic"])


@section("Examples", of=Noise, order=120)
def noise_examples(noise: Noise) -> Iterator[Item]:
    """[B] Fig. 6: clean image, noise, noisy image, with the probability that the network gives."""
    low, high = (f"{end:g}".replace("-", "−") for end in noise.window)
    yield from _shown((_noise_strip(each, noise.window) for each in noise.examples[:_SHOWN]),
                      f"Clean image, the noise alone, noisy image: the middle axial slice, {low} to {high} HU from "
                      f"black to white, with the probability of {noise.class_name(1)}.", noise.summary["synthetic"])


@section("What it looks like", of=Sets, order=110)
def attacked_images(sets: Sets) -> Iterator[Item]:
    """[A] Fig. 1: one or two images of each set, clean and under each attack."""
    strips = within_room((_attacked(shown, each.title, plain.bounds)
                          for each, plain in sets.stored.assessed.values() for shown in each.attacked), _ROOM)
    if strips:
        yield Text("One or two test images of each set, clean and under each attack, all of one size ([A] Fig. 1): "
                   "twice the change that flips that image, so that it is well past its flip. Percentages are the "
                   "network's own probabilities of the class it names; in colour where that class differs from that of "
                   "the clean image.", "soft")
        yield Strips(tuple(strips), "shots")
    elif sets.each:
        yield Text("No attacked images were stored.")


def _attacked(shown: Attacked, title: str, bounds: Bounds) -> Strip:
    clean = shown.says(shown.attacks.index("clean") if "clean" in shown.attacks else 0)[0]
    pictures = []
    for place, attack in enumerate(shown.attacks):
        says, probability = shown.says(place)
        name = attack_name(attack)
        pictures.append(Picture.of(picture(shown.images[place], bounds), f"{name} image of {title}", says,
                                   _percent(probability), tone="flipped" if says != clean else "", name=name))
    return Strip(tuple(pictures), f"{title}, {code(shown.case_id)}, label {shown.label}. Changed by at most "
                 f"{show_native(shown.size, bounds)}.")


def _shown(strips: Iterable[Strip], words: str, synthetic: bool) -> Iterator[Item]:
    shown = within_room(strips)
    if shown:
        yield Text(f"{words} {bold('SYNTHETIC images.')}" if synthetic else words, "soft")
        yield Strips(tuple(shown))
    else:
        yield Text("No example images were stored.")


def _strip(example: Example, bounds: Bounds) -> Strip:
    before, after = example.says(example.clean_probabilities), example.says(example.adversarial_probabilities)
    factor = f"{amplification(example.clean, example.adversarial, bounds.range):g}"
    flipped = "" if before[0] != after[0] else ": not flipped"
    return Strip((
        Picture.of(picture(example.clean, bounds), "clean image", before[0], _percent(before[1])),
        Picture.of(change(example.clean, example.adversarial, bounds), f"change, amplified {factor} times",
                   below=f"change × {factor}"),
        Picture.of(picture(example.adversarial, bounds), "attacked image", after[0], _percent(after[1]))),
        f"{code(example.case_id)}, {example.label}. {attack_name(example.attack)}, "
        f"{show_native(example.size, bounds)}{flipped}.")


def _percent(probability: float | None) -> str:
    return "" if probability is None else percent(probability)


def _noise_strip(example: NoiseExample, window: tuple[float, float]) -> Strip:
    clean, noise, noisy = example.pictures(window)
    return Strip((
        Picture.of(clean, "clean image", percent(example.clean_probability)),
        Picture.of(noise, "the noise alone", below=f"noise, ±{example.noise_window_hu:g} HU"),
        Picture.of(noisy, "noisy image", percent(example.noisy_probability))),
        f"{code(example.case_id)}, {example.label}. {noise_name(example.attack)}, {example.mas:g} mAs; fold "
        f"{example.fold}.")
