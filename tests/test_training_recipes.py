"""Training recipes: on a linear network each loss is a closed form; what is attacked, and what is left alone."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.training.crafts import SignSteps
from steadyread.training.lessons import Lesson, Recipe
from steadyread.training.recipes import Adversarial, Clean, Trades, Unsupervised, divergence
from steadyread.types import Batch, Bounds

BOUNDS = Bounds(-1000.0, 400.0, "HU")
EPSILON, BETA = 11.2, 6.0
WHOLE = SignSteps(EPSILON, 8, 0.25)   # two epsilons of way: from any start in the ball to its far side
SHAPES = [(1, 9), (1, 4, 5), (2, 3, 4, 2)]
METHODS = [Adversarial(SignSteps(EPSILON)), Trades(SignSteps(EPSILON)), Unsupervised(SignSteps(EPSILON))]
IDS = ["pgd", "trades", "unsupervised"]


class Linear(nn.Module):
    """A linear network whose outputs are told: one value z, or the pair (0, z)."""

    def __init__(self, size: int, output: str) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(size, generator=chance) / 300)
        self.bias = nn.Parameter(torch.tensor(0.4))
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        z = images.flatten(1) @ self.weight + self.bias
        if self.output == "logits":
            return torch.stack([torch.zeros_like(z), z], 1)
        return z.sigmoid() if self.output == "probability" else z


def linear(shape: tuple[int, ...] = (1, 4, 5), output: str = "logit") -> Classifier:
    return Classifier(Linear(math.prod(shape), output).train(), BOUNDS, output)  # type: ignore[arg-type]


def lesson(n: int = 12, shape: tuple[int, ...] = (1, 4, 5), low: float = -900.0, high: float = 300.0, seed: int = 5,
           draws: int = 7) -> Lesson:
    chance = torch.Generator().manual_seed(seed)
    images = torch.rand(n, *shape, generator=chance) * (high - low) + low
    labels = torch.randint(0, 2, (n,), generator=chance)
    return Lesson(Batch(images, tuple(f"case {i}" for i in range(n)), BOUNDS), labels,
                  torch.Generator().manual_seed(draws))


def worst(module: Linear, images: Tensor, signs: Tensor) -> Tensor:
    """How far z moves at most in the direction of each image's sign, in the ball and inside the bounds, (n,)."""
    way = signs[:, None] * module.weight.detach().sign()
    room = torch.where(way > 0, BOUNDS.high - images.flatten(1), images.flatten(1) - BOUNDS.low).clamp(max=EPSILON)
    return signs * (room * module.weight.detach().abs()).sum(1)


def side(module: Linear, given: Lesson, many: int, draws: int = 7) -> Tensor:
    """On which side of the clean image each random start lies: 1 or -1."""
    drawn = torch.rand((many, *given.batch.images.shape[1:]), generator=torch.Generator().manual_seed(draws))
    return ((drawn.flatten(1) * 2 - 1) @ module.weight.detach()).sign()


def kl(own: Tensor, other: Tensor) -> Tensor:
    """Of two Bernoulli variables, from their logits, written out."""
    p, q = own.double().sigmoid(), other.double().sigmoid()
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


# closed forms

@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("output", ["logit", "logits", "probability"])
def test_adversarial_training_is_the_loss_of_the_worst_margin(shape: tuple[int, ...], output: str) -> None:
    """Half the batch at margin - epsilon * ||w||_1, the other half at its own margin."""
    network, given = linear(shape, output), lesson(shape=shape)
    loss = Adversarial(WHOLE)(network, given)
    signs = given.labels * 2.0 - 1
    margins = signs * (given.batch.images.flatten(1) @ network.module.weight + network.module.bias).detach()
    margins[:6] -= EPSILON * network.module.weight.detach().abs().sum()
    assert float(loss.detach()) == pytest.approx(float(functional.softplus(-margins).mean()), rel=1e-5)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_closed_form_holds_where_the_bounds_cut_the_ball(share: float) -> None:
    given = lesson(low=BOUNDS.low, high=BOUNDS.low + 15)
    network, many = linear(), round(12 * share)
    loss = Adversarial(WHOLE, share=share)(network, given)
    signs = given.labels * 2.0 - 1
    z = (given.batch.images.flatten(1) @ network.module.weight + network.module.bias).detach()
    z[:many] += worst(network.module, given.batch.images, -signs)[:many]
    assert float(loss.detach()) == pytest.approx(float(functional.softplus(-signs * z).mean()), rel=1e-5)


def test_trades_is_the_clean_loss_and_beta_times_the_divergence_with_gradients_through_both() -> None:
    network, given = linear(), lesson()
    loss = Trades(WHOLE, BETA)(network, given)
    loss.backward()
    z = (given.batch.images.flatten(1) @ network.module.weight + network.module.bias).detach()
    away = z[:6] + worst(network.module, given.batch.images[:6], side(network.module, given, 6))
    clean = functional.binary_cross_entropy_with_logits(z, given.labels.float())
    assert float(loss.detach()) == pytest.approx(float(clean + BETA * kl(z[:6], away).mean()), rel=1e-4)
    p, q = z[:6].sigmoid(), away.sigmoid()
    through = (q - p) + p * (1 - p) * (z[:6] - away)
    by_bias = (z.sigmoid() - given.labels).mean() + BETA * through.mean()
    assert float(network.module.bias.grad) == pytest.approx(float(by_bias), rel=1e-3)


def test_unsupervised_holds_the_clean_prediction_and_needs_labels_of_the_clean_half_only() -> None:
    network, given = linear(), lesson()
    loss = Unsupervised(WHOLE, BETA)(network, given)
    loss.backward()
    z = (given.batch.images.flatten(1) @ network.module.weight + network.module.bias).detach()
    away = z[:6] + worst(network.module, given.batch.images[:6], side(network.module, given, 6))
    clean = functional.binary_cross_entropy_with_logits(z[6:], given.labels[6:].float())
    assert float(loss.detach()) == pytest.approx(float(clean + BETA * kl(z[:6], away).mean()), rel=1e-4)
    by_bias = (z[6:].sigmoid() - given.labels[6:]).mean() + BETA * (away.sigmoid() - z[:6].sigmoid()).mean()
    assert float(network.module.bias.grad) == pytest.approx(float(by_bias), rel=1e-3)


def test_the_squared_error_is_taught_where_asked() -> None:
    network, given = linear(), lesson()
    z = (given.batch.images.flatten(1) @ network.module.weight + network.module.bias).detach()
    expected = (z.sigmoid() - given.labels).square().mean()
    assert float(Clean("squared_error")(network, given).detach()) == pytest.approx(float(expected), rel=1e-5)
    z[:6] += worst(network.module, given.batch.images, 1 - given.labels * 2.0)[:6]
    expected = (z.sigmoid() - given.labels).square().mean()
    loss = Adversarial(WHOLE, loss="squared_error")(network, given)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_a_class_that_is_ruled_out_adds_nothing_to_the_divergence() -> None:
    logits = torch.randn(2, 5, 3)
    masked = torch.cat([logits, torch.full((2, 5, 1), -torch.inf)], 2).requires_grad_()
    found = divergence(masked[0].log_softmax(1).detach(), masked[1].log_softmax(1))
    torch.testing.assert_close(found, divergence(*logits.log_softmax(2)))
    gradient, = torch.autograd.grad(found.sum(), masked)
    assert torch.isfinite(gradient).all()


# what goes through the network

class Deep(nn.Module):
    """A network with all that must not be touched, which notes what it reads while in training mode."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                                     nn.Dropout(0.5), nn.Linear(80, 3))
        self.taught: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.taught.append(images.detach().clone())
        read: Tensor = self.net(images)
        return read


def deep() -> Classifier:
    return Classifier(Deep().train(), BOUNDS, "logits", normalise=(-300.0, 700.0))


def native(images: Tensor) -> Tensor:
    return images * 700.0 - 300.0


@pytest.mark.parametrize("method", METHODS, ids=IDS)
@pytest.mark.parametrize(("n", "attacked"), [(12, 6), (13, 7), (2, 1)])
def test_half_of_each_batch_is_attacked_inside_ball_and_bounds_and_the_rest_is_clean(
        method: Recipe, n: int, attacked: int) -> None:
    network, given = deep(), lesson(n, low=BOUNDS.low, high=BOUNDS.low + 20)
    method(network, given)
    (taught,) = [native(images) for images in network.module.taught]
    change = (taught[:attacked] - given.batch.images[:attacked]).flatten(1).abs().amax(1)
    assert bool((change <= EPSILON + 1e-3).all())
    assert bool((change > EPSILON / 4).all())
    assert float(taught.min()) >= BOUNDS.low - 1e-3
    rest = given.batch.images if isinstance(method, Trades) else given.batch.images[attacked:]
    assert torch.allclose(taught[attacked:], rest, atol=1e-3)


@pytest.mark.parametrize(("method", "looks"), list(zip(METHODS, (0, 1, 1), strict=True)), ids=IDS)
def test_an_attack_costs_its_steps_and_nothing_is_read_twice(method: Recipe, looks: int) -> None:
    network, given = deep(), lesson(20)
    method(network, given)
    taught = 30 if isinstance(method, Trades) else 20
    assert network.passes.forwards == 10 * (7 + looks) + taught
    assert network.passes.backwards == 10 * 7


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_attack_leaves_mode_parameters_statistics_and_random_state_alone(method: Recipe) -> None:
    network, given = deep(), lesson()
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    craft = SignSteps(EPSILON)
    craft(network, given.batch, lambda logits: -logits[:, 0], given.generator)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    assert network.module.taught == []
    assert network.module.training
    assert all(part.training for part in network.module.modules())
    loss = method(network, given)
    norm = network.module.net[1]
    assert int(norm.num_batches_tracked) == 1   # by the taught batch alone
    features = network.module.net[0](network.module.taught[0]).detach()
    assert torch.allclose(norm.running_mean, 0.1 * features.mean((0, 2, 3)), atol=1e-5)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.module.parameters())
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.module.parameters())


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_draws_come_from_the_lessons_generator_alone(method: Recipe) -> None:
    def loss(draws: int) -> float:
        torch.manual_seed(1)   # of dropout, in the taught batch
        return float(method(deep(), lesson(draws=draws)).detach())

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


def test_labels_of_the_attacked_half_never_matter_without_supervision() -> None:
    def gradients(given: Lesson) -> list[Tensor]:
        network = deep()
        torch.manual_seed(1)
        Unsupervised(SignSteps(EPSILON))(network, given).backward()
        return [parameter.grad for parameter in network.module.parameters() if parameter.grad is not None]

    given, other = lesson(), lesson()
    other.labels[:6] = 1 - other.labels[:6]
    assert all(torch.equal(a, b) for a, b in zip(gradients(given), gradients(other), strict=True))
    other.labels[6:] = 1 - other.labels[6:]
    assert not all(torch.equal(a, b) for a, b in zip(gradients(given), gradients(other), strict=True))


def test_the_crafted_images_raise_what_is_climbed_more_than_random_ones() -> None:
    def climbed(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, torch.zeros(12, dtype=torch.int64), reduction="none")

    network, given = deep(), lesson()
    crafted = SignSteps(EPSILON)(network, given.batch, climbed, given.generator)
    random = given.batch.images + (torch.rand_like(given.batch.images) * 2 - 1) * EPSILON
    with network.frozen(), torch.no_grad():
        reached, chance = (climbed(network.logits(images)) for images in (crafted, random))
    assert bool((reached > chance).all())


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"epsilon": math.nan}, {"steps": 0}, {"step": -0.25}])
def test_attacks_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} must be above 0"):
        SignSteps(**({"epsilon": EPSILON} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 1.5, -0.1])
def test_shares_outside_the_batch_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share must be above 0 and at most 1"):
        Adversarial(SignSteps(EPSILON), share=share)(linear(), lesson())
