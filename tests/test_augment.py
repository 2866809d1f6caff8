"""Augmentation of volumes: turns about each axis, true for unequal sides; shifts of their own along each axis."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from steadyread.errors import UsageError
from steadyread.training.augment import PerAxis, augmented


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turned(images: torch.Tensor, degrees: PerAxis = 0.0, pixels: PerAxis = 0.0) -> torch.Tensor:
    return augmented(images, generator(), flips=False, rotation_degrees=degrees, shift_pixels=pixels)


def places(shape: tuple[int, int, int]) -> torch.Tensor:
    """Each voxel's place from the middle, (3, z, y, x), in the order z, y, x."""
    lines = [torch.arange(extent) - (extent - 1) / 2 for extent in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


@pytest.mark.parametrize("shape", [(31, 31, 31), (21, 41, 31)])
def test_a_ball_stays_a_ball(shape: tuple[int, int, int]) -> None:
    ball = torch.sigmoid(6 - places(shape).square().sum(0).sqrt()).expand(6, 1, *shape)
    assert float((turned(ball, 180.0) - ball).abs().max()) < 0.12


@pytest.mark.parametrize("shape", [(32, 32, 32), (5, 24, 24), (9, 24, 13)])
def test_a_turn_is_a_rotation_in_voxels_within_the_angles_asked(shape: tuple[int, int, int]) -> None:
    """A volume's own coordinates, turned, give the matrix back: orthogonal, angles uniform up to 15 degrees."""
    held = places(shape)
    values = turned(held.expand(200, *held.shape).float(), 15.0)
    middle = (held.abs() <= 1).all(0)
    inside = held[:, middle].double()
    matrices = values[:, :, middle].double() @ torch.linalg.pinv(inside)
    identity = np.broadcast_to(np.eye(3), (200, 3, 3))
    np.testing.assert_allclose(matrices @ matrices.transpose(1, 2), identity, atol=1e-4)
    assert torch.linalg.det(matrices).min() > 0.999
    in_xyz = matrices.flip(1, 2).numpy()
    angles = Rotation.from_matrix(in_xyz).as_euler("xyz", degrees=True)
    assert np.abs(angles).max() < 15.01
    assert np.all(np.abs(angles).max(0) > 14)
    assert np.abs(angles.mean(0)).max() < 2


def test_each_axis_has_its_own_angle() -> None:
    slab = torch.randn(1, 1, 5, 24, 24).expand(8, -1, -1, -1, -1)
    flat = turned(slab, (15.0, 0.0, 0.0))
    alone = torch.cat([turned(slab[:, :, [place] * 5], (15.0, 0.0, 0.0))[:, :, 2:3] for place in range(5)], 2)
    torch.testing.assert_close(flat, alone, atol=1e-5, rtol=0)     # slices stay where they are
    assert not torch.allclose(turned(slab, (0.0, 15.0, 0.0)), slab, atol=0.1)


def test_each_axis_has_its_own_shift() -> None:
    spot = torch.zeros(300, 1, 15, 17, 19)
    spot[:, :, 7, 8, 9] = 1
    moved = turned(spot, 0.0, (1.0, 2.0, 5.0))[:, 0]
    centres = torch.stack([(moved * axis).sum((1, 2, 3)) for axis in places((15, 17, 19))])
    reach = centres.abs().max(1).values
    assert (reach <= torch.tensor([1.0, 2.0, 5.0]) + 1e-3).all()
    assert (reach > torch.tensor([0.95, 1.9, 4.8])).all()
    assert not turned(spot, 0.0, (0.0, 2.0, 2.0))[:, :, [0, 6, 8, 14]].any()


def test_values_stay_in_range_and_draws_are_each_images_own() -> None:
    volumes = torch.rand(6, 1, 5, 24, 24) * 1400 - 1000
    moved = augmented(volumes, generator(), flips=True, rotation_degrees=15.0, shift_pixels=(1.0, 5.0, 5.0))
    assert moved.shape == volumes.shape
    assert float(moved.min()) >= float(volumes.min()) - 1e-2
    assert float(moved.max()) <= float(volumes.max()) + 1e-2
    same = turned(volumes[:1].expand(6, -1, -1, -1, -1), 15.0)
    assert len({one.sum().item() for one in same}) == 6
    assert turned(volumes, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)) is volumes


def test_flips_stay_in_the_plane_of_the_slices() -> None:
    volume = torch.rand(1, 1, 4, 6, 8).expand(16, -1, -1, -1, -1)
    moved = augmented(volume, generator(), flips=True, rotation_degrees=0.0, shift_pixels=0.0)
    ways = [volume[0], volume[0].flip(-1), volume[0].flip(-2), volume[0].flip(-1, -2)]
    assert {next(place for place, way in enumerate(ways) if torch.allclose(one, way, atol=1e-5))
            for one in moved} == {0, 1, 2, 3}


@pytest.mark.parametrize(("shape", "degrees", "pixels", "told"), [
    ((2, 1, 5, 6, 7), 15.0, (1.0, 2.0), "shift_pixels must be one value or 3"),
    ((2, 1, 6, 7), 15.0, (1.0, 2.0, 3.0), "shift_pixels must be one value or 2"),
    ((2, 1, 6, 7), (1.0, 2.0, 3.0), 0.0, "rotation_degrees must be one value; got 3")])
def test_as_many_values_as_axes(shape: tuple[int, ...], degrees: PerAxis, pixels: PerAxis, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        turned(torch.rand(shape), degrees, pixels)
