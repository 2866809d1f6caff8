"""Where in an image the evidence for a read lies: Grad-CAM and integrated gradients, through captum."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from steadyread.classifier import Classifier
from steadyread.errors import UsageError
from steadyread.explain.layers import Layer, out_of_place
from steadyread.extras import library
from steadyread.types import Images, Labels

Method = Literal["grad_cam", "integrated_gradients"]
Maps = Float[Tensor, "n *space"]
METHODS: tuple[Method, ...] = ("grad_cam", "integrated_gradients")
TARGET = ("the logit margin of the class that the network reads in the clean image (its logit less the highest "
          "other one), on the clean and on the noisy image alike: the evidence for one and the same statement")
_AT_ONCE = 128     # images that go forwards and backwards together
_STEPS = 64        # of the integral from the baseline to the image
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def captum() -> Any:
    """The library `captum.attr`.

    Raises:
        InputRefused: it is not installed.
    """
    return library("captum.attr", "explain", "attention maps are made with")


def attention(classifier: Classifier, images: Images, reference: Labels, layer: Layer, method: Method = "grad_cam"
              ) -> Maps:
    """The map of each image by that method, (n, *space), non-negative, on the image's grid.

    A map that is zero everywhere says that no evidence for the reference was found; it is returned as it is.

    Raises:
        UsageError: no such method.
        InputRefused: captum is not installed.
    """
    if method not in METHODS:
        raise UsageError(f"there is no attention method '{method}'; known are {', '.join(METHODS)}")
    return grad_cam(classifier, images, reference, layer) if method == "grad_cam" else integrated_gradients(
        classifier, images, reference)


def grad_cam(classifier: Classifier, images: Images, reference: Labels, layer: Layer) -> Maps:
    """Grad-CAM, Selvaraju et al., arXiv:1610.02391: a layer's features, each weighted by the mean gradient of the
    reference's margin with respect to it, summed and rectified, interpolated to the image's grid.

    Deviation: the margin instead of the class's own logit, so that one logit, two and more are treated alike. The
    gradient is taken where the layer's activation hands on (see `Layer`). Interpolation takes the layer's grid to
    span the image evenly, which pooling of an odd number of voxels does to within half a voxel of the image.
    """
    made = captum().LayerGradCam(classifier.margins, layer.seen_at)
    parts = []
    with classifier.frozen(), out_of_place(classifier.module):
        for some, wanted in zip(torch.split(images, _AT_ONCE), torch.split(reference, _AT_ONCE), strict=True):
            parts.append(made.attribute(some.detach().clone().requires_grad_(), additional_forward_args=(wanted,),
                                        relu_attributions=True).detach())
            classifier.passes.backwards += len(some)
    coarse = torch.cat(parts)
    mode = _LINEAR[images.ndim - 2]
    return functional.interpolate(coarse, images.shape[2:], mode=mode, align_corners=False)[:, 0]


def integrated_gradients(classifier: Classifier, images: Images, reference: Labels, steps: int = _STEPS,
                         baseline: float | None = None) -> Maps:
    """The positive part of integrated gradients, Sundararajan et al., arXiv:1703.01365, summed over channels.

    `baseline` is the native value of the image that the path begins at: the lowest valid one if None, which is air
    in a CT. Before the positive part is taken, a map's sum is the image's margin less the baseline's, as far as a
    sum of `steps` gradients is an integral.
    """
    return signed_gradients(classifier, images, reference, steps, baseline).clamp(min=0)


def signed_gradients(classifier: Classifier, images: Images, reference: Labels, steps: int = _STEPS,
                     baseline: float | None = None) -> Maps:
    """As `integrated_gradients` with what speaks against the reference left in, below 0."""
    made = captum().IntegratedGradients(classifier.margins)
    start = classifier.valid.low if baseline is None else baseline
    at_once = max(1, _AT_ONCE // steps)
    parts = []
    with classifier.frozen():
        for some, wanted in zip(torch.split(images, at_once), torch.split(reference, at_once), strict=True):
            parts.append(made.attribute(some.detach().clone().requires_grad_(), baselines=start, n_steps=steps,
                                        additional_forward_args=(wanted,)).detach())
            classifier.passes.backwards += len(some) * steps
    return torch.cat(parts).sum(1)
