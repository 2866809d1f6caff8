"""Flips, rotations and shifts of a whole batch at once, each image by its own draw."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from steadyread.errors import UsageError
from steadyread.types import Images

PerAxis = float | tuple[float, ...]
Draw = Callable[[int], Tensor]   # so many rows of uniform values on [0, 1), one column an image, on the CPU


def augmented(images: Images, generator: torch.Generator, *, flips: bool, rotation_degrees: PerAxis,
              shift_pixels: PerAxis) -> Images:
    """Each image flipped or not along its last two axes, rotated and shifted, as [A] (2D) and [B] (3D) do.

    One linear interpolation for all three, so no value leaves the range of the image's own; what comes in
    from outside repeats the nearest edge pixel. Images are turned in their plane; volumes (n, c, z, y, x) about
    each axis, first x, then y, then z, by an angle of its own. Pixels count as equally wide along all axes
    (prepare to one spacing first), so a turn is true in mm for sides of unequal length too. In a thin slab a
    turn out of the plane brings in copied slices: `rotation_degrees=(15, 0, 0)` turns in the plane alone.

    Args:
        generator: on the CPU; draws the same for any device.
        rotation_degrees: each angle is uniform within plus and minus this; for volumes one value for all axes
            ([B]: 15), or three, about (z, y, x).
        shift_pixels: each shift is uniform within plus and minus this; one value, or one an axis of space,
            (y, x) or (z, y, x).

    Raises:
        UsageError: images that are neither 2D nor 3D; not one value an axis.
    """
    return moved(images, lambda rows: torch.rand(rows, len(images), generator=generator), flips=flips,
                 rotation_degrees=rotation_degrees, shift_pixels=shift_pixels)


def moved(images: Images, draw: Draw, *, flips: bool, rotation_degrees: PerAxis, shift_pixels: PerAxis) -> Images:
    """`augmented` by the values that `draw` gives, for draws that each image has from a stream of its own."""
    axes = images.ndim - 2
    degrees = _each(rotation_degrees, 3 if axes == 3 else 1, "rotation_degrees")
    pixels = _each(shift_pixels, axes, "shift_pixels")
    if not (flips or any(degrees) or any(pixels)):
        return images
    if axes not in (2, 3):
        raise UsageError(f"augmentation is for 2D and 3D images; these are {axes}D: switch it off")
    matrices = _in_plane if axes == 2 else _in_space
    theta = matrices(images, draw, flips, degrees, pixels).to(images)
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _in_plane(images: Tensor, draw: Draw, flips: bool, degrees: tuple[float, ...],
              pixels: tuple[float, ...]) -> Tensor:
    """Affine matrices (n, 2, 3) in the coordinates of `affine_grid`: -1 to 1 along x, y."""
    n = len(images)
    height, width = images.shape[-2:]
    angle, along_x, along_y = draw(3) * 2 - 1
    mirror = _mirrors(n, draw, flips)
    angle = angle * math.radians(degrees[0])
    theta = torch.eye(2, 3).repeat(n, 1, 1)
    theta[:, 0, 0], theta[:, 1, 1] = angle.cos() * mirror[0], angle.cos() * mirror[1]
    # a rotation in pixels is sheared in coordinates that run from -1 to 1 along sides of unequal length
    theta[:, 0, 1] = -angle.sin() * mirror[1] * height / width
    theta[:, 1, 0] = angle.sin() * mirror[0] * width / height
    theta[:, 0, -1], theta[:, 1, -1] = along_x * 2 * pixels[1] / width, along_y * 2 * pixels[0] / height
    return theta


def _in_space(images: Tensor, draw: Draw, flips: bool, degrees: tuple[float, ...],
              pixels: tuple[float, ...]) -> Tensor:
    """Affine matrices (n, 3, 4) in the coordinates of `affine_grid`: -1 to 1 along x, y, z."""
    n = len(images)
    drawn = draw(6) * 2 - 1
    mirror = torch.cat([_mirrors(n, draw, flips), torch.ones(1, n)])
    turn = torch.eye(3).repeat(n, 1, 1)
    for axis, angle, most in zip(range(3), drawn[:3], reversed(degrees), strict=True):   # about x, y, z
        turn = _about(axis, angle * math.radians(most)) @ turn
    half = torch.tensor([extent / 2 for extent in reversed(images.shape[2:])])
    shift = drawn[3:] * torch.tensor(list(reversed(pixels)))[:, None]
    theta = torch.empty(n, 3, 4)
    # turned in voxels, which lie closer together in coordinates from -1 to 1 along a longer side
    theta[:, :, :3] = turn * mirror.T[:, None, :] * half / half[:, None]
    theta[:, :, 3] = shift.T / half
    return theta


def _about(axis: int, angle: Tensor) -> Tensor:
    """Rotations (n, 3, 3) of (x, y, z) about one axis."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = torch.eye(3).repeat(len(angle), 1, 1)
    turn[:, first, first] = turn[:, second, second] = angle.cos()
    turn[:, first, second], turn[:, second, first] = -angle.sin(), angle.sin()
    return turn


def _mirrors(n: int, draw: Draw, flips: bool) -> Tensor:
    """1 or -1 along x and y, (2, n)."""
    return torch.where(draw(2) < 0.5, -1.0, 1.0) if flips else torch.ones(2, n)


def _each(value: PerAxis, axes: int, name: str) -> tuple[float, ...]:
    values = value if isinstance(value, tuple) else (value,) * axes
    if len(values) != axes:
        several = f" or {axes}, one an axis" if axes > 1 else ""
        raise UsageError(f"{name} must be one value{several}; got {len(values)}")
    return values
