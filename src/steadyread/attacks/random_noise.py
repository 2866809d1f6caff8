"""Reads under random CT noise: paper [B]'s random attack, and each image's margins at every dose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from steadyread.attacks.headlines import of_flips
from steadyread.attacks.improbability import deviations_towards_flip
from steadyread.classifier import Classifier, margin_of
from steadyread.errors import UsageError
from steadyread.threats import CTNoise
from steadyread.threats.plausible import plausibility
from steadyread.types import Batch, Images, Labels, Logits, Values

DOSES = (10.0, 50.0, 100.0, 200.0, 500.0)   # mAs, paper [B]
_MODULUS = 2 / torch.pi ** 0.5              # mean modulus below root mean square: what [B] eq. 5 adds to sigma
_AT_ONCE = {"cpu": 64, "cuda": 1024}         # noisy images that go through the network together (measured on a CPU)


@dataclass(frozen=True, eq=False)
class Noisy:
    """One draw of noise on every image at every dose, n images x d doses.

    `noise` (n, 1, *space) is the draw at a size of 1 HU; at dose j it is `sizes[:, j]` times that.
    """

    noise: Images
    images: Float[Tensor, "n d c *space"]
    logits: Float[Tensor, "n d k"]
    margin: Float[Tensor, "n d"]


def noisy_reads(classifier: Classifier, batch: Batch, reference: Labels, noise: CTNoise,
                sizes: Float[Tensor, "n d"], draws: Sequence[int], seed: int) -> Iterator[Noisy]:
    """The images under noise, draw by draw; the draws are common to all doses, so doses differ by size alone."""
    doses = sizes.shape[1]
    step = max(1, _AT_ONCE.get(batch.images.device.type, 64) // doses)
    ones = torch.ones(len(batch), device=batch.images.device)
    for draw in draws:
        with torch.no_grad():
            made = noise.start(batch, ones, seed, draw)
            images = batch.images[:, None] + made[:, None] * sizes.reshape(*sizes.shape, *[1] * (made.ndim - 1))
            logits = torch.cat([classifier.logits(part.flatten(0, 1)) for part in torch.split(images, step)])
            margin = margin_of(logits, reference.repeat_interleave(doses))
        yield Noisy(made, images, logits.reshape(len(batch), doses, -1), margin.reshape(len(batch), doses))


@dataclass(frozen=True)
class RandomCTNoise:
    """K draws of CT noise on every image at every dose, as an attack of several sizes (mAs).

    SAN and SAR of paper [B], section 2.2.1, doi:10.1088/1361-6560/abc812, with drift and jitter of the margin.
    Deviation: the draws are common to the doses, where [B] draws anew at each; each dose by itself is the same.
    """

    threat: CTNoise
    mas: tuple[float, ...] = DOSES
    draws: int = 50
    inflated: bool = False

    def __post_init__(self) -> None:
        if self.draws < 1 or not self.mas or len(set(self.mas)) < len(self.mas):
            raise UsageError(f"random noise needs draws of at least 1 and doses that differ; got {self.draws} "
                             f"draws at {', '.join(f'{mas:g}' for mas in self.mas) or 'no dose'} mAs")

    @property
    def name(self) -> str:
        """As it stands in the records."""
        return "inflated_ct_noise" if self.inflated else "random_ct_noise"

    @property
    def size(self) -> tuple[float, ...]:
        """The doses, in mAs."""
        return self.mas

    def __call__(self, classifier: Classifier, batch: Batch, reference: Labels, seed: int = 0
                 ) -> tuple["UnderNoise", ...]:
        """What the draws came to, one entry a dose."""
        more = _MODULUS if self.inflated else 1.0      # than noise of the dose has
        sizes = sizes_at(self.threat, self.mas, batch) * more
        worst: Noisy | None = None
        margins: list[Tensor] = []
        likely: dict[str, Values] = {}
        with classifier.frozen():
            clean = margin_of(classifier.logits(batch.images), reference)
            for found in noisy_reads(classifier, batch, reference, self.threat, sizes, range(self.draws), seed):
                worst = found if worst is None else _worse(worst, found)
                margins.append(found.margin)
                if not likely:
                    alone = (found.noise * more, found.noise.new_ones(len(batch)))
                    likely = {**self._likeness(batch, found.noise), "deviations": deviations_towards_flip(
                        classifier, batch, reference, self.threat, alone)}
        assert worst is not None  # at least one draw
        every = torch.stack(margins, dim=2)
        return tuple(_at_dose(worst, every[:, at], clean, likely, sizes[:, at], at) for at in range(len(self.mas)))

    def _likeness(self, batch: Batch, noise: Images) -> Mapping[str, Values]:
        """The figures of noises of 1 HU; of the rings only where the images' own grid is the noise's."""
        if self.threat.domain == "native":
            known = batch.spacing_mm or (None,) * len(batch)
            each = [plausibility(noise[place:place + 1], spacing or 1.0) for place, spacing in enumerate(known)]
            return {name: torch.cat([told[name] for told in each]) for name in each[0]}
        return self.threat.likeness(batch, noise, noise.new_ones(len(batch)))


@dataclass(frozen=True, eq=False, repr=False)
class UnderNoise:
    """What K draws at one dose came to; `images` are those of the lowest margin.

    `likely` has the figures of the first draw: one noise, as for the attacks that return one.
    """

    images: Images
    logits: Logits
    margin: Values
    margins: Float[Tensor, "n draws"]
    clean: Values
    likely: Mapping[str, Values]

    def columns(self) -> Mapping[str, Tensor]:
        """What goes into the records; `drift` and `jitter` are of the reference's margin, in logits."""
        n, draws = self.margins.shape
        counted = torch.full((n,), draws, device=self.margin.device)
        return {"trials": counted, "flips": (self.margins < 0).sum(1), "logits": self.logits, "margin": self.margin,
                "found_size": torch.full_like(self.margin, torch.nan), "drift": self.margins.mean(1) - self.clean,
                "jitter": self.margins.std(1) if draws > 1 else torch.full_like(self.margin, torch.nan),
                "forwards": counted, "backwards": torch.zeros_like(counted), **self.likely}

    def __repr__(self) -> str:
        return of_flips(self, (self.margins < 0).any(1))


def random_ct_noise(noise: CTNoise, mas: Sequence[float] = DOSES, draws: int = 50) -> RandomCTNoise:
    """Random CT noise at several doses: K draws each. doi:10.1088/1361-6560/abc812, section 2.2.1."""
    return RandomCTNoise(noise, tuple(float(dose) for dose in mas), draws)


def sizes_at(noise: CTNoise, mas: Sequence[float], batch: Batch) -> Float[Tensor, "n d"]:
    """The noise's sigma in HU on each image's grid at each dose, (n, d).

    Raises:
        UsageError: no dose.
    """
    if isinstance(mas, int | float) or not len(mas):
        raise UsageError(f"mas takes doses, such as [10, 100]; got {mas!r}")
    return torch.stack([noise.size_of(float(dose), batch) for dose in mas], dim=1)


def _worse(one: Noisy, other: Noisy) -> Noisy:
    """Image by image and dose by dose that of the lower margin; where one is undecided, the other."""
    other_is = (other.margin < one.margin) | one.margin.isnan()
    at = other_is.nonzero(as_tuple=True)
    for name in ("images", "logits", "margin"):
        getattr(one, name)[at] = getattr(other, name)[at]
    return one


def _at_dose(worst: Noisy, margins: Tensor, clean: Values, likely: Mapping[str, Values], sizes: Values,
             at: int) -> UnderNoise:
    in_hu = {name: values * sizes if name.endswith("_hu") else values for name, values in likely.items()}
    return UnderNoise(worst.images[:, at], worst.logits[:, at], worst.margin[:, at], margins, clean, in_hu)
