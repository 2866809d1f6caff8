"""Does the same image get the same answer: again, alone, in double precision, and as the network was trained?"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample, reading
from steadyread.classifier import Passes, margin_of, prediction_of
from steadyread.findings import SOUNDNESS, Finding
from steadyread.types import Images, Labels, Logits

_ROUNDING = 2.0**-22  # of the highest logits, by which margins may differ when an image is read again
_DIFFER, _LOST = 1e-3, 0.02      # of the margins' size: by which a read may differ; by which in single precision
_AGAIN, _LOOKED = 8, 16


@rule("SR501", "repeatable", stated=False, remedy="Take the randomness out of evaluation: dropout by nn.Dropout and "
      "eval(), not by functions that always drop.")
def repeatable(sample: Sample) -> Iterator[Finding]:
    """The same images must get the same answer again: else flips are the model's own doing."""
    images, reference = _decided(sample)
    if len(images):
        with sample.classifier.frozen() as classifier, torch.no_grad():
            whole, again = classifier.logits(images), classifier.logits(images)
        apart = _apart(whole, again, reference)
        yield Finding("repeatable", "error" if apart > _DIFFER else "ok",
                      f"the same images, read again, get margins that differ by {apart:.1g} of their size"
                      + (": the model is random (dropout while evaluating?), and its flips say nothing"
                         if apart > _DIFFER else ""), apart, topic=SOUNDNESS)


@rule("SR502", "company", stated=False, remedy="Give a network that reads each image by itself: batch norm in "
      "evaluation mode, no statistics over the batch.")
def company(sample: Sample) -> Iterator[Finding]:
    """An image must get the same answer alone and among others."""
    images, reference = _decided(sample)
    if len(images) > 1:
        with sample.classifier.frozen() as classifier, torch.no_grad():
            whole = classifier.logits(images)
            alone = torch.cat([classifier.logits(image[None]) for image in images])
        apart = _apart(whole, alone, reference)
        yield Finding("company", "error" if apart > _DIFFER else "ok",
                      f"the same images, alone and in a batch, get margins that differ by {apart:.1g} of their size"
                      + (": the model reads an image by its company (batch norm while evaluating?), and its flips say "
                         "nothing" if apart > _DIFFER else ""), apart, topic=SOUNDNESS)


@rule("SR503", "mode", late=True, needs="batch norm in a network in torch, and labels", remedy="Its running statistics "
      "are not those of its training: give a checkpoint that was saved with them, or let images of the training run "
      "through it in training mode.")
def mode(sample: Sample) -> Iterator[Finding]:
    """Whether the images read better in training mode: then the running statistics are stale."""
    norms = [part for part in sample.classifier.module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms or len(sample.few) < 2:
        return
    best = sample.better({"by the batch's own statistics (training mode)": lambda: _training(sample, norms)})
    if best is not None:
        yield best.finding("mode", "training mode")


@rule("SR504", "precision", late=True, needs="a network in torch that can be copied", remedy="Give the network in "
      "float32: in less, and where values lose their digits, small changes are not resolved.")
def precision(sample: Sample) -> Iterator[Finding]:
    """Whether half precision rounds the images, and whether single precision gives what double does."""
    kind = sample.classifier.dtype
    if kind in (torch.float16, torch.bfloat16):
        yield Finding("precision", "warning", f"the network computes in {str(kind).removeprefix('torch.')}, which "
                      "rounds the images: flips smaller than that are not resolved")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)     # of the parameters of TorchScript's copies
            module = copy.deepcopy(sample.classifier.module).double()
        images = sample.few.batch.images[:_LOOKED]
        exact = reading(replace(sample.classifier, module=module, passes=Passes()), images)
    except Exception:       # what cannot be copied, or takes float32 alone
        return
    single = sample.few.logits[:_LOOKED]
    reference = prediction_of(exact)
    known = (reference >= 0) & (prediction_of(single) >= 0)
    if bool(known.any()):
        apart, other = _apart(exact[known], single[known], reference[known]), int((
            prediction_of(single) != reference)[known].sum())
        yield Finding("precision", "warning" if apart > _LOST else "ok",
                      f"margins in single precision differ from those in double by {apart:.1g} of their size"
                      + (f", and {other} of {len(single)} reads with them" if other else ""), apart)


def _training(sample: Sample, norms: list[nn.modules.batchnorm._BatchNorm]) -> Logits:
    with sample.classifier.frozen() as classifier, torch.no_grad():
        for norm in norms:
            norm.train()
        return classifier.logits(sample.few.batch.images).cpu()


def _decided(sample: Sample) -> tuple[Images, Labels]:
    """The first images that are decided, and what is read there."""
    reference = prediction_of(sample.logits)
    places = (reference >= 0).nonzero()[:_AGAIN, 0]
    device = sample.batch.images.device
    return sample.batch.images[places.to(device)], reference[places].to(device)


def _apart(one: Logits, other: Logits, reference: Labels) -> float:
    """By how much margins differ, of their own size, less what float32 rounds: a class masked at -1e9, or -inf, must
    hide nothing."""
    first, second = (margin_of(logits, reference) for logits in (one, other))
    rounding = _ROUNDING * float(one.topk(2, 1).values.abs().amax())
    differ = float((first - second).abs().nan_to_num(nan=torch.inf).amax())
    scale = float(first.abs().amax().clamp(min=torch.finfo(torch.float32).tiny))
    return max(differ - rounding, 0.0) / scale


