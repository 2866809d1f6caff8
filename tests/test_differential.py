"""Beside foolbox and ART: the same attack on the same network flips the same images and moves the same pixels."""

import warnings

import numpy as np
import pytest
import torch

from steadyread.attacks.recipe import attack
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.search import Search, climb
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.classifier import Classifier
from steadyread.threats import Linf
from test_attacks_invariants import predictions_of, small_net

EPSILON, STEPS = 0.03, 10


def unit_setting(n=24):
    """A network on [0, 1], images, and their predictions: what the other libraries expect."""
    module = small_net()
    classifier = Classifier(module, (0.0, 1.0), "logits")
    images = torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(5))
    return module, classifier, images, predictions_of(classifier, images)


def plain_pgd(classifier, images, reference):
    """Our search with all that is ours switched off: cross-entropy, no stop, steps from the image itself."""
    batch = classifier.batch(images)
    search = Search(STEPS, 0.25, random_start=False, stop_at_flip=False, loss="cross_entropy")
    size = torch.full((len(images),), EPSILON)
    return climb(classifier, batch, reference, Linf(EPSILON), search, size, 0)


def pgd_of(art, starts):
    """ART's PGD on the network of `unit_setting`, from so many random starts or from the image itself."""
    evasion, make = art
    model = make(unit_setting()[0], torch.nn.CrossEntropyLoss(), (1, 12, 12), 2, clip_values=(0, 1), device_type="cpu")
    return evasion.ProjectedGradientDescent(model, eps=EPSILON, eps_step=0.25 * EPSILON, max_iter=STEPS,
                                            num_random_init=starts, verbose=False)


@pytest.fixture
def foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("foolbox", reason="foolbox is not installed (the extra 'compare')")


@pytest.fixture
def art():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("art", reason="ART is not installed (the extra 'compare')")
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier
    return evasion, PyTorchClassifier


@pytest.mark.filterwarnings("ignore")
def test_fgsm_moves_the_same_pixels_as_foolbox(foolbox):
    module, classifier, images, reference = unit_setting()
    model = foolbox.PyTorchModel(module, bounds=(0, 1))
    fast = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    theirs = fast(model, images, reference, epsilons=EPSILON)[1]
    ours = attack(classifier, images, reference, fgsm(EPSILON, loss="cross_entropy"))
    moved = ours.flipped  # where nothing flips, ours returns the iterate of the lowest margin
    assert moved.any()
    assert torch.allclose(ours.images[moved], theirs[moved], atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_pgd_flips_at_least_what_foolbox_flips(foolbox):
    module, classifier, images, reference = unit_setting()
    model = foolbox.PyTorchModel(module, bounds=(0, 1))
    search = foolbox.attacks.LinfPGD(abs_stepsize=0.25 * EPSILON, steps=STEPS, random_start=False)
    theirs = search(model, images, reference, epsilons=EPSILON)[2]
    ours = plain_pgd(classifier, images, reference)
    assert not (theirs & ~ours.flipped).any()
    assert 0 < int(ours.flipped.sum()) < len(images)


@pytest.mark.filterwarnings("ignore")
def test_pgd_flips_at_least_what_art_flips(art):
    _, classifier, images, reference = unit_setting()
    search = pgd_of(art, starts=0)
    theirs = torch.from_numpy(search.generate(images.numpy(), reference.numpy()))
    flipped = predictions_of(classifier, theirs) != reference
    assert not (flipped & ~plain_pgd(classifier, images, reference).flipped).any()


@pytest.mark.filterwarnings("ignore")
def test_pgd_from_five_random_starts_flips_at_least_as_many_as_art(art):
    """As it is used: the margin is climbed, every iterate counts, and an image leaves at its first flip."""
    _, classifier, images, reference = unit_setting()
    search = pgd_of(art, starts=5)
    np.random.seed(0)  # noqa: NPY002
    theirs = predictions_of(classifier, torch.from_numpy(search.generate(images.numpy()))) != reference
    ours = attack(classifier, images, reference, pgd(EPSILON, STEPS, 0.25, restarts=5)).flipped
    assert 0 < int(theirs.sum()) <= int(ours.sum()) < len(images)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_smallest_flips_are_not_beaten_by_fmn_of_many_more_steps(foolbox):
    module, classifier, images, reference = unit_setting()
    model = foolbox.PyTorchModel(module, bounds=(0, 1))
    _, theirs, found = foolbox.attacks.LInfFMNAttack(steps=300)(model, images, reference, epsilons=None)
    size = torch.where(found, (theirs - images).flatten(1).abs().amax(1), torch.inf)
    ratio = smallest_flip(classifier, images, reference).size / size
    assert ratio.median() < 1.01
    assert ratio.quantile(0.9) < 1.03
