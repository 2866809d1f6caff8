"""NIfTI volumes and images (`.nii`, `.nii.gz`)."""

from collections.abc import Sequence
from pathlib import Path

from steadyread.cases.kind import Asked, Images, Known, kind, range_of
from steadyread.cases.nifti import open_volume, voxels
from steadyread.cases.orientation import squeezed
from steadyread.cases.row import Pixels


@kind("nifti", title="NIfTI volumes", endings=(".nii", ".nii.gz"), order=30)
def images(files: Sequence[Path], asked: Asked) -> Images:
    """NIfTI volumes with their own scaling (scl_slope, scl_inter), (1, *space) with the axes that `orientation` states;
    an axis of one voxel is none. Axes oblique to the patient's go by the nearest.

    Raises:
        InputRefused: not one can be read.
    """
    def read(file: Path) -> Pixels:
        values = voxels(open_volume(file, asked.orientation, whole=True))
        return values.reshape(1, *squeezed(values.shape, values.shape))

    def known(file: Path, _: bool) -> Known:
        volume = open_volume(file, asked.orientation, whole=True)
        return Known((1, *squeezed(volume.shape, volume.shape)), squeezed(volume.spacing_mm, volume.shape))

    bounds, notes = range_of(files, read, asked.unit)
    return Images(bounds, read, known, notes)
