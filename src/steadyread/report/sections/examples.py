"""Images before and after the smallest change that flips them."""

from collections.abc import Iterator

from steadyread.figures.examples import Example, amplification, change, picture
from steadyread.report.items import Item, Picture, Strip, Strips, Text, within_room
from steadyread.report.marks import bold, code
from steadyread.report.plain import Plain
from steadyread.report.section import section
from steadyread.units import Bounds
from steadyread.words.numbers import attack_name, percent, show_native

_SHOWN = 9


@section("Examples", of=Plain, order=400)
def examples(plain: Plain) -> Iterator[Item]:
    """Clean image, change, attacked image, with what the network says."""
    shown = within_room(_strip(each, plain.bounds) for each in plain.run.examples[:_SHOWN])
    if not shown:
        yield Text("No example images were stored.")
        return
    made = f" {bold('SYNTHETIC images.')}" if plain.summary["synthetic"] else ""
    yield Text("Clean image, the change amplified (blue lower, white unchanged, red higher), attacked image. "
               f"Percentages are the model's own probabilities.{made}", "soft")
    yield Strips(tuple(shown))


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
