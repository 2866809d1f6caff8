"""How a network is taught to stand CT noise: the one place where its settings and their defaults stand."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from steadyread.errors import UsageError
from steadyread.metrics.reads import CT_NOISE
from steadyread.registry import METHODS
from steadyread.threats import CTNoise
from steadyread.training.lessons import Recipe
from steadyread.training.perturbed import Hunt, Kind
from steadyread.training.settings import TrainingSettings

# Of each round where neither epochs nor a budget are stated: [B] section 2.6, and of the other methods.
_EPOCHS, _OTHERWISE = {"adaptive": 10}, 40


@dataclass(frozen=True, kw_only=True)
class NoiseHardeningSettings:
    """How a network is taught to stand CT noise.

    Args:
        method: `adaptive` is [B]'s Algorithm 2 (doi:10.1088/1361-6560/abc812): in each round every training image
            is attacked by noise, what changed its read joins the training set with its true label, and the network
            is fine-tuned. `fresh` attacks a share of every batch anew, against the network as it is then. `augment`
            draws noise at random for a share of every batch. `pgd` changes pixels by at most `epsilon` instead.
            `clean` is the control: as much further training without noise.
        noise: spectrum, domain and mode.
        mas: the doses that are taught. `judged_mas` is the one at which epochs are compared.
        kind: of the noise that `adaptive` searches, see `training.perturbed.Hunt`; `window_hu` is for [B]'s.
        rounds, starts: of `adaptive`; starts are attacks on each image at each dose in a round.
        epochs: of each round. None: what `budget` affords, else [B]'s 10 for `adaptive` and 40 for the others.
        steps: gradients of an attack: on one image in a hunt (20 where None; of [B]'s 10), or in a batch (5; 7 for
            `pgd`).
        share: of each batch, that is attacked; all methods but `adaptive` and `clean`.
        epsilon: of `pgd`, native units.
        auc_cost: how much validation AUC an epoch should have lost at most, against the network that the hardening
            began with.
        auc_stop: how much a round of `adaptive` may lose; it is not kept, and the last, where it loses more.
        budget: images through the network, forwards and backwards counted one each, that searching and training
            may cost in all rounds together; what judges the epochs is not counted.
        judged: at most so many validation images are attacked after an epoch, drawn by class.
        training: batch, optimiser and so on. Its epochs, patience and judged_by play no part.
    """

    noise: CTNoise
    mas: tuple[float, ...]
    method: str = "adaptive"
    step: ClassVar[float] = 0.25     # of PGD, as a share of epsilon
    judged_mas: float = 100.0
    kind: Kind = "rings"
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    rounds: int = 2
    starts: int = 1
    epochs: int | None = None
    steps: int | None = None
    share: float = 0.5
    epsilon: float | None = None
    auc_cost: float = 0.01
    auc_stop: float = 0.05
    budget: int | None = None
    judged: int = 256
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        METHODS.named(self.method, "method", METHODS.against(CT_NOISE))
        if (self.method == "pgd") != (self.epsilon is not None):
            raise UsageError("epsilon is stated for method 'pgd', and for it alone; got "
                             f"{self.epsilon} for '{self.method}'")
        above = {name: getattr(self, name) for name in (
            "judged_mas", "rounds", "starts", "epochs", "steps", "share", "budget", "judged")}
        for name, value in (*above.items(), *(("mas", dose) for dose in self.mas)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} must be above 0; got {value}")
        if not self.mas or self.share > 1 or not 0 <= self.auc_cost <= self.auc_stop < 1:
            raise UsageError("mas must be a dose at least, share at most 1, auc_cost at least 0 and at most "
                             f"auc_stop, which is below 1; got {self.mas}, {self.share}, {self.auc_cost} and "
                             f"{self.auc_stop}")

    def told(self) -> dict[str, Any]:
        """As plain values."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        return held | {"noise": repr(self.noise), "training": asdict(self.training)}

    @property
    def rounds_held(self) -> int:
        """The rounds: one for every method but `adaptive`."""
        return self.rounds if self.method == "adaptive" else 1

    @property
    def recipe(self) -> Recipe:
        """How a batch is taught."""
        recipe: Recipe = METHODS[self.method].make(self, self.epsilon)
        return recipe

    @property
    def passes_an_image(self) -> float:
        """Through the network forwards and backwards, to teach one image once."""
        return 2.0 + 2.0 * self.share * getattr(getattr(self.recipe, "craft", None), "steps", 0)

    def hunt(self, seed: int) -> Hunt:
        """How the training images are searched in a round."""
        stated: dict[str, Any] = {} if self.steps is None else {"steps": self.steps}
        return Hunt(self.noise, self.mas, self.kind, self.starts, window_hu=self.window_hu, seed=seed, **stated)

    def epochs_for(self, taught: int, spent: int) -> int:
        """Of a round with so many images to teach, in which searching has cost so many passes."""
        if self.epochs is not None or self.budget is None:
            return self.epochs or _EPOCHS.get(self.method, _OTHERWISE)
        return max(1, round((self.budget / self.rounds_held - spent) / (self.passes_an_image * taught)))
