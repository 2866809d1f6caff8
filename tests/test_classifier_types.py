"""What has one meaning is taken: any type of number, container or function. Else one line says what to do."""

import threading
import warnings
from collections import namedtuple
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from steadyread import Classifier, apgd, attack, pgd, smallest_flip
from steadyread.errors import Doubt, InputRefused, UsageError
from steadyread.types import Bounds

N = 8
WEIGHT = torch.cat([torch.ones(N, N // 2), -torch.ones(N, N // 2)], dim=1).flatten() * 20 / N**2


class Halves(nn.Module):
    """Reads the mean of the left half against that of the right, with something done before and after."""

    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.last = nn.Linear(N * N, 2)
        with torch.no_grad():
            self.last.weight.copy_(torch.stack([WEIGHT, -WEIGHT]))
            self.last.bias.zero_()
        self.before, self.after = before, after

    def forward(self, images):
        return self.after(self.last(self.before(images).flatten(1)))


def some(n=12, seed=0):
    """Pictures of 0 to 1 whose left half is brighter, or darker, by no more than 0.1."""
    draw = torch.Generator().manual_seed(seed)
    images = 0.4 + 0.2 * torch.rand(n, 1, N, N, generator=draw)
    images[..., : N // 2] += 0.1 * (torch.arange(n) % 2 * 2 - 1)[:, None, None, None]
    return images


IMAGES = some()
REFERENCE = Halves()(IMAGES).argmax(1)
PLAIN = smallest_flip(Classifier(Halves(), (0, 1), "logits"), IMAGES, REFERENCE).size


def subtract(images):
    images -= 0.5
    return images


@dataclass
class Answer:
    logits: torch.Tensor
    features: torch.Tensor


Named = namedtuple("Named", "scores")


@pytest.mark.parametrize("module", [
    Halves(before=lambda x: x.double().float(), after=lambda z: z.double()), Halves().double(),
    Halves(before=subtract), Halves(after=lambda z: (z,)), Halves(after=lambda z: {"logits": z}),
    Halves(after=lambda z: {"logits": z, "features": z.new_zeros(len(z), 5)}),
    Halves(after=lambda z: Answer(z, z.new_zeros(len(z), 5))), Halves(after=lambda z: z[:, :, None, None]),
    Halves(after=lambda z: z.squeeze()), partial(lambda net, images: net(images), Halves())])
def test_a_network_of_one_meaning_gives_the_plain_networks_sizes(module):
    before = IMAGES.clone()
    found = smallest_flip(Classifier(module, (0, 1), "logits"), IMAGES, REFERENCE)
    assert torch.allclose(found.size, PLAIN, rtol=1e-3)
    assert found.logits.dtype == torch.float32
    assert torch.equal(IMAGES, before)
    assert attack(Classifier(module, (0, 1), "logits"), IMAGES, REFERENCE, pgd(0.2)).flipped.all()


@pytest.mark.parametrize(("kind", "bits"), [(torch.float16, 11), (torch.bfloat16, 8)])
def test_half_precision_is_found_to_within_its_own_grain(kind, bits):
    classifier = Classifier(Halves().to(kind), (0, 1), "logits")
    found = smallest_flip(classifier, IMAGES, REFERENCE)
    assert found.size.dtype == found.images.dtype == torch.float32
    assert classifier.dtype == kind
    assert torch.allclose(found.size, PLAIN, atol=4 * 2.0**-bits)


def test_a_functions_own_networks_are_left_as_they_were_and_are_where_it_works():
    net = Halves().double().train()

    def scores(images):
        assert not net.training
        return net(images)

    classifier = Classifier(scores, (0, 1), "logits")
    assert classifier.dtype == torch.float64
    assert torch.allclose(smallest_flip(classifier, IMAGES, REFERENCE).size, PLAIN, rtol=1e-3)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize(("after", "words"), [
    (lambda z: z.T, r"one row per image; it returned \(2, 12\) for 12 images: turn it"),
    (lambda z: z[:3], r"one row per image; it returned \(3, 2\) for 12 images"),
    (lambda z: (z, z), r"a tuple with 2 \(of the shapes \(12, 2\), \(12, 2\)\)"), (lambda z: None, "a NoneType"),
    (lambda z: z.argmax(1), "a network of one value is 'logit'"),
    (lambda z: z[:, :, None].expand(-1, -1, 3), r"the model returned \(12, 2, 3\)"),
    (lambda z: torch.complex(z, z), "complex")])
def test_an_output_of_no_one_meaning_is_refused_in_one_line(after, words):
    with pytest.raises(InputRefused, match=words) as refused:
        smallest_flip(Classifier(Halves(after=after), (0, 1), "logits"), IMAGES, REFERENCE)
    assert "\n" not in str(refused.value)


def test_columns_for_images_are_seen_where_there_are_as_many_images_as_classes():
    turned = Classifier(Halves(after=lambda z: z.T), (0, 1), "logits")
    with pytest.raises(InputRefused, match="row per image"):
        smallest_flip(turned, IMAGES[:2], REFERENCE[:2])
    assert smallest_flip(Classifier(Halves(), (0, 1), "logits"), IMAGES[:2], REFERENCE[:2]).size.shape == (2,)


@pytest.mark.parametrize("images", [
    IMAGES.double(), IMAGES.numpy(), IMAGES.numpy().astype(">f4"), list(IMAGES), IMAGES.tolist(),
    IMAGES.clone().requires_grad_(True)])
def test_images_as_people_hold_them(images):
    found = smallest_flip(Classifier(Halves(), (0, 1), "logits"), images, REFERENCE)
    assert torch.allclose(found.size, PLAIN, rtol=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64, torch.uint8])
def test_stored_pixels_of_whole_numbers(kind):
    stored = (IMAGES * 255).round()
    images = stored.to(kind) if isinstance(kind, torch.dtype) else stored.numpy().astype(kind)
    classifier = Classifier(Halves(), (0, 255), "logits", normalise="unit")
    assert torch.allclose(smallest_flip(classifier, images, REFERENCE).size,
                          smallest_flip(classifier, stored, REFERENCE).size)


@pytest.mark.parametrize("reference", [REFERENCE.numpy(), REFERENCE[:, None], REFERENCE.float(), REFERENCE.bool()])
def test_labels_as_people_hold_them(reference):
    found = smallest_flip(Classifier(Halves(), (0, 1), "logits"), IMAGES, reference)
    assert torch.allclose(found.size, PLAIN)


@pytest.mark.parametrize(("images", "reference", "words"), [
    (IMAGES, REFERENCE + 0.5, "no whole number"),
    (IMAGES, torch.eye(2)[REFERENCE], r"got \(12, 2\); of a row of scores per image give \.argmax\(1\)"),
    (IMAGES, ["benign"] * 12, "must be a tensor, an array or a list of numbers"),
    ([IMAGES[0], IMAGES[1, :, :4]], REFERENCE, r"all have one shape; got \(1, 4, 8\) and \(1, 8, 8\)"),
    ([np.zeros((3, 8, 8)), np.zeros((1, 8, 8))], REFERENCE, "all have one shape.*all as grey or all as colour"),
    ("images/", REFERENCE, "must be a tensor, an array or a list"), (None, REFERENCE, "got NoneType"),
    (IMAGES[:, 0, 0], REFERENCE, r"shape \(n, channels, \*space\)")])
def test_images_and_labels_that_are_refused(images, reference, words):
    with pytest.raises(InputRefused, match=words) as refused:
        smallest_flip(Classifier(Halves(), (0, 1), "logits"), images, reference)
    assert "\n" not in str(refused.value)


def test_keys_are_one_text_per_image():
    classifier = Classifier(Halves(), (0, 1), "logits")
    names = [f"case-{place}" for place in range(12)]
    assert classifier.batch(IMAGES, names).keys == tuple(names)
    with pytest.raises(UsageError, match="one text per image"):
        classifier.batch(IMAGES, "case")


MEAN, SD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize("normalise", [
    (MEAN, SD), np.array([MEAN, SD]), torch.tensor([MEAN, SD]),
    (torch.tensor(MEAN)[:, None, None], torch.tensor(SD)[:, None, None]), MEAN + SD, "imagenet"])
def test_normalise_as_people_write_it(normalise):
    images = torch.rand(2, 3, 4, 4)
    seen = Classifier(nn.Flatten(), (0, 1), "logits", normalise=normalise).normalised(images)
    assert torch.allclose(seen, (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SD)[:, None, None])


@pytest.mark.parametrize(("word", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1), ("none", -1000, 400),
                                                   ((-300, 700), -1, 1), ([[-300.0], [700.0]], -1, 1)])
def test_normalise_by_a_word_is_of_the_bounds(word, low, high):
    ends = torch.tensor([-1000.0, 400.0]).reshape(1, 1, 2)
    seen = Classifier(nn.Flatten(), Bounds(-1000, 400, "HU"), "logits", normalise=word).normalised(ends)
    assert seen.flatten().tolist() == pytest.approx([low, high])


@pytest.mark.parametrize(("normalise", "words"), [
    ("units", "normalise is one of none, unit, symmetric, imagenet, caffe"), ((0.5, 0.0), "deviations above 0"),
    ((0.5, float("nan")), "deviations above 0"), ((MEAN, SD[:2]), "3 means and 2"), (0.5, "each a number"),
    ({"mean": MEAN, "std": SD}, "each a number")])
def test_a_normalise_that_is_refused(normalise, words):
    with pytest.raises(UsageError, match=words):
        Classifier(nn.Flatten(), (0, 1), "logits", normalise=normalise)


def test_a_normalise_that_changes_its_input_leaves_the_images_alone():
    before = IMAGES.clone()
    classifier = Classifier(Halves(), (0, 1), "logits", normalise=lambda images: images.sub_(0.5))
    assert torch.allclose(smallest_flip(classifier, IMAGES, REFERENCE).size, PLAIN, rtol=1e-3)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize(("module", "words"), [
    (Halves, r"the class Halves: make a network of it, Halves\(\.\.\.\)"), ("vgg16", "got str"),
    (None, "got NoneType")])
def test_what_is_no_module_is_refused(module, words):
    with pytest.raises(UsageError, match=words):
        Classifier(module, (0, 1), "logits")


# heads that cannot be as stated

def warned(module, output, images=IMAGES, reference=REFERENCE):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smallest_flip(Classifier(module, (0, 1), output), images, reference)
    return [str(each.message) for each in caught if each.category is Doubt]


SIGMOID = Halves(after=lambda z: (z[:, 1:] - z[:, :1]).sigmoid())


@pytest.mark.parametrize(("module", "output", "words"), [
    (SIGMOID, "logit", "state it as 'probability'"),
    (Halves(after=lambda z: z.softmax(1)), "logits", "state it as 'probabilities'"),
    (Halves(after=lambda z: (0.01 * z[:, 1:]).sigmoid()[:, 0].clone()), "logit", "last step is a sigmoid"),   # near 0.5
    (Halves(after=lambda z: (3 * z + 1).sigmoid()), "logits", "give the layer before the sigmoids"),
    (Halves(after=lambda z: z.softmax(1).half()), "logits", "state it as 'probabilities'"),
    (Halves(after=lambda z: (100 * z.softmax(1)).round() / 100), "logits", "state it as 'probabilities'"),
    (Halves(after=lambda z: nn.functional.logsigmoid(z[:, 1] - z[:, 0])), "logit", "exp(output) as 'probability'"),
    (Halves(after=lambda z: (9000 * z).softmax(1)), "probabilities", "too saturated to attack")])
def test_a_probability_stated_as_a_logit_is_doubted_once(module, output, words):
    said = warned(module, output)
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize(("module", "output"), [
    (Halves(), "logits"), (SIGMOID, "probability"), (Halves(after=lambda z: z.softmax(1)), "probabilities"),
    (Halves(after=lambda z: z.log_softmax(1)), "logits"), (Halves(after=lambda z: z[:, 1:] - z[:, :1]), "logit"),
    (Halves(after=lambda z: 0.1 * z[:, 1] + 0.5), "logit"),              # healthy, weak and all of class 1
    (Halves(after=lambda z: z[:, 1] - 200), "logit"), (Halves(after=lambda z: 0.01 * z[:, 1] - 0.2), "logit"),
    (Halves(after=lambda z: z * 0 + torch.tensor([1.0, 0.0])), "logits"),   # constant
    (Halves(after=lambda z: nn.functional.one_hot(z.argmax(1), 2).float() + 0 * z), "logits")])
def test_a_head_that_is_as_stated_is_not_doubted(module, output):
    assert warned(module, output) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("output", ["logit", "logits"])
def test_untrained_networks_are_not_doubted(seed, output):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(N * N, 16), nn.ReLU(), nn.Linear(16, 1 if output == "logit" else 3))
    with torch.no_grad():
        reference = net(IMAGES).argmax(1) if output == "logits" else (net(IMAGES)[:, 0] > 0).long()
    assert warned(net, output, reference=reference) == []


# bounds and normalise

UNIT = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
GREY, HU = (255 * UNIT).round(), 1200 * UNIT - 900
TORCHVISION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def doubted(images, bounds, normalise=None):
    network = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = Classifier(network, bounds, "logits", normalise)
        classifier.batch(images)   # before any attack
    assert [str(each.message) for each in caught] == [doubt.message for doubt in classifier.doubts]
    found = smallest_flip(classifier, images, torch.zeros(len(images), dtype=torch.long))
    assert found.doubts[:len(caught)] == classifier.doubts
    return [doubt.check for doubt in classifier.doubts]


@pytest.mark.parametrize(("images", "bounds", "normalise", "check"), [
    (UNIT, (0, 255), None, "bounds"), (GREY, (0, 65535), None, "bounds"), (16 * GREY, (0, 65535), "unit", "bounds"),
    (GREY, (0, 255), (0.485, 0.229), "normalise"), (GREY.repeat(1, 3, 1, 1), (0, 255), TORCHVISION, "normalise"),
    (HU, (-1000, 400), (0.485, 0.229), "normalise"), (UNIT, (0, 1), (123.7, 58.4), "normalise"),
    (UNIT, (0, 1), lambda images: images / 255, "normalise")])
def test_bounds_and_constants_of_other_images_are_doubted_before_any_attack(images, bounds, normalise, check):
    assert doubted(images, bounds, normalise) == [check]


@pytest.mark.parametrize(("images", "bounds", "normalise"), [
    (UNIT[:4], (0, 255), None), (GREY[:4], (0, 255), (0.485, 0.229)), (HU, (-1000, 400), None),
    (8 * UNIT - 4, (-100, 100), None), (GREY, (0, 255), "imagenet"), (GREY, (0, 255), (123.7, 58.4)),
    (GREY, (0, 255), (123.7, 1)), (GREY, (0, 255), lambda images: images / 255),
    (GREY, (0, 255), lambda images: images - images.mean()), (UNIT, (0, 1), (0.485, 1 / 255)),
    (HU, (-1000, 400), lambda images: (images.clamp(-160, 240) + 160) / 400)])
def test_bounds_and_constants_that_may_be_are_not_doubted(images, bounds, normalise):
    assert doubted(images, bounds, normalise) == []


def test_a_network_that_ends_the_program_or_nests_tensors_in_lists_is_refused():
    def ending(images):
        raise SystemExit(3)

    nested = Halves(after=lambda z: [[z]])
    for network, words in ((ending, "ended the program"), (nested, "must return one tensor")):
        with pytest.raises(InputRefused, match=words):
            smallest_flip(Classifier(network, (0, 1), "logits"), IMAGES, REFERENCE)


@pytest.mark.parametrize("made", [lambda: nn.LazyLinear(2), lambda: nn.Linear(64, 2, device="meta")])
def test_a_network_without_values_is_refused_by_name(made):
    with pytest.raises(InputRefused, match=r"the network's '1\.weight'"):
        Classifier(nn.Sequential(nn.Flatten(), made()), (0, 1), "logits")


# threads

@pytest.mark.parametrize("share", ["classifier", "module", "part"])
def test_threads_that_share_a_network_get_its_sizes_and_leave_it_as_it_was(share):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    first = Classifier(net.train(), (0, 1), "logits")
    with first.frozen(), torch.no_grad():
        reference = net(IMAGES).argmax(1)
    alone = smallest_flip(first, IMAGES, reference).size
    other = {"classifier": lambda: first, "module": lambda: Classifier(net, (0, 1), "logits"),
             "part": lambda: Classifier(nn.Sequential(net), (0, 1), "logits")}[share]
    sizes = [None] * 6

    def work(place):
        sizes[place] = smallest_flip(other(), IMAGES, reference).size

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(sizes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(size, alone) for size in sizes)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net[0].weight.is_contiguous()


@pytest.mark.parametrize(("images", "bounds", "message"), [
    (IMAGES.where(torch.arange(12)[:, None, None, None] != 2, torch.nan), (0, 1), "image '2' has NaN"),
    (IMAGES.where(torch.arange(12)[:, None, None, None] != 3, 7.0), (0, 1), "image '3' has pixels from 7 to 7")])
def test_an_image_without_a_name_is_named_by_its_place(images, bounds, message):
    with pytest.raises(InputRefused, match=message):
        smallest_flip(Classifier(Halves(), bounds, "logits"), images, REFERENCE)


@pytest.mark.parametrize(("recipe", "got"), [(pgd, "pgd"), (5.6, "5.6"), (None, "None")])
def test_an_attack_without_its_size_is_refused_with_what_to_write(recipe, got):
    with pytest.raises(UsageError, match=rf"such as pgd\(5\.6\); got {got}"):
        attack(Classifier(Halves(), (0, 1), "logits"), IMAGES, REFERENCE, recipe)


@pytest.mark.parametrize("size", ["5 HU", None, "nan", [1.0, 2.0], float("nan"), -1])
@pytest.mark.parametrize("made", [pgd, apgd])
def test_a_size_that_is_no_number_is_refused(made, size):
    with pytest.raises(UsageError, match="epsilon must be a number of at least 0, in native units; got "):
        made(size)


@pytest.mark.parametrize("bounds", [("0", "255"), (None, 1), (0, torch.ones(2)), (1, 0), (0, float("nan"))])
def test_bounds_that_are_no_numbers_are_refused(bounds):
    with pytest.raises(UsageError, match="bounds must be LOW,HIGH with LOW below HIGH; got "):
        Bounds(*bounds)


def test_probabilities_are_of_logits_and_refuse_images():
    classifier = Classifier(Halves(), (0, 1), "logits")
    assert torch.equal(classifier.probabilities(classifier.logits(IMAGES)).argmax(1), REFERENCE)
    with pytest.raises(UsageError, match=r"takes what logits\(images\) returns, \(n, classes\); got the shape"):
        classifier.probabilities(IMAGES)
