"""Networks whose graph asks for far more memory than their file has: refused when they answer, before it is taken."""

import resource
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from steadyread.errors import InputRefused
from steadyread.models.format import FORMATS, FromFile, loaded, source_of
from steadyread.models.memory import bounded

pytestmark = [pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux counts memory so"),
              pytest.mark.filterwarnings("ignore:.torch.jit")]


class Wide(nn.Module):
    """Two gigabytes in one tensor."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] + torch.ones([536870912]).mean()


class Many(nn.Module):
    """Three gigabytes in tensors of 64 MB."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] + torch.cat([torch.full([16777216], 0.5) for _ in range(48)]).mean()


class Grown(nn.Module):
    """Images repeated until they are gigabytes."""

    def forward(self, images: Tensor) -> Tensor:
        return images.repeat(1, 4000, 40, 40).flatten(2).mean(2)[:, :2]


def refused(path: Path) -> None:
    known = source_of(str(path))
    assert known is not None
    network = loaded(FORMATS[known[0]], known[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(InputRefused, match=r"asks for more than [\d,]+ MB of memory"):
        network(torch.zeros(2, 1, 8, 8))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 640_000     # kB
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits


@pytest.mark.parametrize("network", [Wide(), Many(), Grown()], ids=["wide", "many", "grown"])
def test_torchscript_that_asks_for_gigabytes_is_refused_when_it_answers(network: nn.Module, tmp_path: Path) -> None:
    torch.jit.script(network).save(str(tmp_path / "net.pt"))
    refused(tmp_path / "net.pt")


@pytest.mark.parametrize("network", [Wide(), Many(), Grown()], ids=["wide", "many", "grown"])
def test_exported_programs_that_ask_for_gigabytes_are_refused_when_they_answer(network: nn.Module, tmp_path: Path
                                                                               ) -> None:
    torch.export.save(torch.export.export(network, (torch.zeros(2, 1, 8, 8),)), str(tmp_path / "net.pt2"))
    refused(tmp_path / "net.pt2")


def test_honest_networks_have_the_memory_that_images_and_weights_need() -> None:
    images = torch.zeros(4, 1, 64, 64)
    network = FromFile(nn.Sequential(nn.Conv2d(1, 64, 3), *[nn.Conv2d(64, 64, 3, padding=1) for _ in range(8)]))
    assert network(images.requires_grad_(True)).requires_grad
    with pytest.raises(RuntimeError, match="of its own"), bounded(images, 0):
        raise RuntimeError("of its own")
