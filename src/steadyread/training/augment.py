"""Flips, rotations and shifts of a whole batch at once, each image by its own draw."""

import math

import torch
from torch import Tensor, nn

from steadyread.errors import UsageError
from steadyread.types import Images


def augmented(images: Images, generator: torch.Generator, *, flips: bool, rotation_degrees: float,
              shift_pixels: float) -> Images:
    """Each image flipped or not along its last two axes, rotated in their plane and shifted, as [A] does.

    One linear interpolation for all three, so no value leaves the range of the image's own; what comes in
    from outside repeats the nearest edge pixel. Volumes (n, c, z, y, x) are turned within their slices.

    Args:
        generator: on the CPU; draws the same for any device.
        rotation_degrees: each angle is uniform within plus and minus this.
        shift_pixels: each shift along an axis of the plane is uniform within plus and minus this.

    Raises:
        UsageError: images that are neither 2D nor 3D.
    """
    if not (flips or rotation_degrees or shift_pixels):
        return images
    if images.ndim not in (4, 5):
        raise UsageError(f"augmentation is for 2D and 3D images; these are {images.ndim - 2}D: switch it off")
    theta = _transforms(images, generator, flips, rotation_degrees, shift_pixels).to(images)
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _transforms(images: Tensor, generator: torch.Generator, flips: bool, degrees: float, pixels: float) -> Tensor:
    """Affine matrices (n, dims, dims + 1) in the coordinates of `affine_grid`: -1 to 1 along x, y(, z)."""
    n, dims = len(images), images.ndim - 2
    height, width = images.shape[-2:]
    angle, along_x, along_y = torch.rand(3, n, generator=generator) * 2 - 1
    mirror = torch.where(torch.rand(2, n, generator=generator) < 0.5, -1.0, 1.0) if flips else torch.ones(2, n)
    angle = angle * math.radians(degrees)
    theta = torch.eye(dims, dims + 1).repeat(n, 1, 1)
    theta[:, 0, 0], theta[:, 1, 1] = angle.cos() * mirror[0], angle.cos() * mirror[1]
    # a rotation in pixels is sheared in coordinates that run from -1 to 1 along sides of unequal length
    theta[:, 0, 1] = -angle.sin() * mirror[1] * height / width
    theta[:, 1, 0] = angle.sin() * mirror[0] * width / height
    theta[:, 0, -1], theta[:, 1, -1] = along_x * 2 * pixels / width, along_y * 2 * pixels / height
    return theta
