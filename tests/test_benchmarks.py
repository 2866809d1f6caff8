"""What `make bench` measures with: passes, losses, successes, the page, and its truths, on toy networks."""

import json
from dataclasses import replace

import pytest
import torch
from benchmarks.clock import Counted
from benchmarks.guard import losses
from benchmarks.heads import OURS, looked_at, verdict
from benchmarks.libraries import NotInstalled
from benchmarks.page import page
from benchmarks.peers import ATTACKS, BARE, TELLS
from benchmarks.situations import affine, least_margin, situations
from benchmarks.success import flipped_within
from benchmarks.table import Goal, Part, Table, read_table
from torch import nn

ABOUT = {"date": "2026-01-02", "processor": "a processor", "device": "CPU", "threads": 1, "python": "3.11",
         "torch": "2.13", "commit": "abc", "rounds": 5, "quick": False, "versions": {"foolbox": "3"}}


def linear() -> nn.Module:
    """Two classes, each of them read in some of the images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval().requires_grad_(False)
    network[1].bias -= network(images()).mean(0)
    return network


def images(n: int = 12) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


# The clock


def test_passes_are_counted_forwards_and_backwards():
    counted = Counted(linear())
    counted(images(5))
    assert (counted.forwards, counted.backwards) == (5, 0)
    some = images(3).requires_grad_()
    torch.autograd.grad(counted(some).sum(), some)
    assert (counted.forwards, counted.backwards) == (8, 3)
    counted.reset()
    assert (counted.forwards, counted.backwards) == (0, 0)


# The guard


def test_a_loss_of_a_fifth_is_reported_and_of_a_tenth_is_not():
    recorded = {"worse": 1.0, "a little": 1.0, "better": 1.0}
    told = list(losses({"worse": 1.2, "a little": 1.1, "better": 0.5, "new": 9.0}, recorded))
    assert len(told) == 1
    assert told[0].startswith("worse: 1.2, recorded 1: 20% lost")


# The page


def table() -> Table:
    return Table("epoch", "An epoch", ("What was done.",), (Part("A caption", ("", "a|b"), (("x | y", "1.00"),)),),
                 (Goal("at most 1.05", True, "1.01"), Goal("faster than all", False, "ART 0.9")), {"one": 1.01})


def test_page_shows_goals_and_tables_and_escapes_bars():
    told = page([(table(), ABOUT)], [])
    assert "| at most 1.05 | 1.01 | met |" in told
    assert "| faster than all | ART 0.9 | **missed** |" in told
    assert "| x \\| y | 1.00 |" in told
    assert "**A caption**" in told
    assert "Nothing is more than 15 % worse" in told
    assert "quick trial" not in told


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table().write(tmp_path, ABOUT)
    assert read_table(tmp_path / "epoch.json") == (table(), ABOUT)
    assert json.loads((tmp_path / "epoch.json").read_text())["about"] == ABOUT


# What counts as a success


def test_images_outside_epsilon_are_no_success():
    network, some = linear(), images()
    labels = network(some).argmax(1)
    direction = (network[1].weight[1] - network[1].weight[0]).sign().reshape(1, 1, 4, 4)
    towards = torch.where(labels == 0, 1.0, -1.0).reshape(-1, 1, 1, 1)
    far = (some + towards * direction * 0.5).clamp(0, 1)
    assert bool(flipped_within(network, some, far, labels, 0.5).any())
    assert not bool(flipped_within(network, some, far, labels, 0.4).any())


# The libraries


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("library", "attack"), [(name, attack) for name in (BARE, "ART", "foolbox")
                                                 for attack in ATTACKS[name] if attack != "suite"])
def test_every_attack_finds_what_can_be_found_on_a_linear_network(library, attack):
    counted, some = Counted(linear()).eval(), images()
    labels = counted(some).argmax(1)
    steps = {"fgsm": 1, "bim": 10, "pgd": 10, "apgd": 10}[attack]
    try:
        run = ATTACKS[library][attack](counted, some, labels, 0.1, steps, 0)
    except NotInstalled as missing:
        pytest.skip(f"not installed: {missing}")
    counted.reset()
    found = run()
    assert counted.backwards == steps * len(some)
    assert counted.forwards >= (steps + (library in TELLS)) * len(some)
    truth = least_margin(affine(counted.network, some), some, labels, 0.1) < 0
    assert 0 < int(truth.sum()) < len(some)
    assert torch.equal(flipped_within(counted, some, found, labels, 0.1), truth)
    assert torch.equal(run(), found)    # the same start each time


# What is known of the small networks


def test_least_margin_is_what_the_worst_corner_of_the_box_gives():
    network, some = linear(), images()
    labels = network(some).argmax(1)
    least = least_margin(affine(network, some), some, labels, 0.2)
    weights = network[1].weight[labels] - network[1].weight[1 - labels]
    corner = (some - 0.2 * weights.sign().reshape(some.shape)).clamp(0, 1)
    logits = network(corner)
    margin = logits.gather(1, labels[:, None]) - logits.gather(1, 1 - labels[:, None])
    assert torch.allclose(least, margin[:, 0].double(), atol=1e-5)


def test_steadyread_is_right_in_every_situation():
    told = situations(12)
    wrong = {one.name: found.text for one in told if not (found := verdict(one, OURS)).right}
    assert wrong == {}
    assert all(0 < int(one.truth.sum()) < len(one.truth) for one in told)


def test_a_wrong_answer_is_called_wrong():
    one = situations(12)[0]
    truth = 1 - float(one.truth.double().mean())
    assert looked_at(one, one.images).text == f"wrong: 100% robust, truth {truth:.0%}"
    assert not looked_at(one, one.images).right
    assert not verdict(replace(one, network=nn.Linear(3, 3)), OURS).right   # crashes
