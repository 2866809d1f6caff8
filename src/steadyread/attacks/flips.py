"""What a search for smallest flips returns, with what the search itself saw that makes its sizes doubtful."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from steadyread.attacks.blind import QUERIES
from steadyread.findings import Finding
from steadyread.types import Flags, Images, Labels, Logits, Values
from steadyread.units import unit_word

_SHOWN = 12   # images that a doubt names


@dataclass(frozen=True, eq=False, repr=False)
class SmallestFlip:
    """One value an image: `size` is the largest absolute change of the returned image, in native units;
    0 where the image is flipped to begin with, inf (and the clean image) where no flip was found.

    `zero_gradients` and `broken_gradients` are the shares of the image's gradients that were 0 in every pixel, and
    that had NaN or infinite ones. `within_rounding`: float32 rounds the margin by 1 % or more of it, or the image
    flips at a size smaller by 0.1 % or more, but by no more than may be rounding. `unrepeatable`: the returned
    image got another answer when it was read once more. `stated`: what cannot well be as it was stated (see
    `Classifier.doubts`). `doubts` puts these into words, and printing shows them.
    """

    size: Values
    images: Images
    forwards: Labels
    backwards: Labels
    margin: Values
    logits: Logits
    zero_gradients: Values
    broken_gradients: Values
    within_rounding: Flags
    unrepeatable: Flags
    stated: tuple[Finding, ...] = ()
    unit: str = ""

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records."""
        return {"found_size": self.size, "flips": torch.isfinite(self.size).long(),
                "trials": torch.ones_like(self.forwards), "logits": self.logits, "margin": self.margin,
                "forwards": self.forwards, "backwards": self.backwards}

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """What the search saw, at no further pass, that speaks against its sizes; empty where it saw nothing.

        `rows` are the first images concerned, by their place. The checks of an assessment look further.
        """
        undecided, searched = self.margin.isnan(), ~self.margin.isnan() & (self.size > 0)
        seen = (
            ("repeatable", self.unrepeatable, "got another answer when the very image that flips was read again: "
             "the model is random, or reads an image by its company, and its flips say nothing"),
            ("zero gradients", searched & (self.zero_gradients > 0.5), "had a gradient of 0 in every pixel in most "
             f"steps ({_share(self.zero_gradients, searched)} of all), or none that reaches them: the search is "
             "blind there. Sizes are those of Square at falling radii (up to "
             f"{int(self.forwards.max()) if len(self.forwards) else QUERIES} queries): weak upper bounds"),
            ("broken gradients", searched & (self.broken_gradients > 0), "had NaN or infinite pixels in the "
             f"gradient ({_share(self.broken_gradients, searched)} of all), which the search takes for 0"),
            ("undecided", undecided, "have a logit of NaN or +inf, or no two finite ones: neither flipped "
             "nor steady"),
            ("rounding", self.within_rounding, "have a margin that float32 rounds by 1 % or more, or flip at a "
             "smaller size, but by no more than that: sizes are too large. Take large offsets off the logits"),
        )
        return (*self.stated, *(Finding(check, "warning", f"{int(flags.sum())} of {len(flags)} images {words}",
                                        float(flags.float().mean()), _places(flags))
                                for check, flags, words in seen if bool(flags.any())))

    def __repr__(self) -> str:
        flipped = torch.isfinite(self.size) & (self.size > 0)
        counts = ((int((self.size == 0).sum()), "wrong to begin with"), (int(flipped.sum()), "flipped"),
                  (int((torch.isinf(self.size) & ~self.margin.isnan()).sum()), "never flipped"),
                  (int(self.margin.isnan().sum()), "undecided"))
        reads = ", ".join(f"{count} {words}" for count, words in counts if count)
        median = f", median size {self._median(flipped)}" if bool(flipped.any()) else ""
        doubts = "".join(f"\n  in doubt: {doubt.message}" for doubt in self.doubts)
        return f"SmallestFlip({len(self.size)} images: {reads}{median}{doubts or '; no doubts'})"

    def _median(self, flipped: Flags) -> str:
        median = float(self.size[flipped].median())
        return f"{median:.4g} {unit_word(self.unit, median)}".rstrip()


def _share(values: Values, among: Flags) -> str:
    return f"{100 * float(values[among].mean()):.0f} %" if bool(among.any()) else "0 %"


def _places(flags: Flags) -> tuple[str, ...]:
    return tuple(str(place) for place in flags.nonzero()[:_SHOWN, 0].tolist())
