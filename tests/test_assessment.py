"""Cases x attacks -> rows: what the rows say, and that a run survives being stopped, damaged or repeated."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch import nn

from steadyread import records
from steadyread.assessment import assess, describe_attack
from steadyread.attacks.cost import BLOCK, block_of
from steadyread.attacks.recipes.fgsm import fgsm
from steadyread.attacks.recipes.pgd import pgd
from steadyread.attacks.smallest_flip import smallest_flip
from steadyread.cases import Cases, Row
from steadyread.classifier import Classifier
from steadyread.errors import InputRefused, UsageError
from steadyread.jobs.examples import write_examples
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.summary import smallest_flips_rounded
from steadyread.types import Bounds


def made_cases(n=90, seed=0, classes=("benign", "malignant")):
    """Images of 6x6 whose mean tells the class, noisily; a validation and a test part."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), n)
    pixels = rng.normal(labels[:, None, None, None] * 0.2, 1.0, (n, 1, 6, 6)).clip(-4, 4).astype("f4")
    rows = tuple(Row(f"case-{i:03d}", f"patient-{i // 2}", int(labels[i]), str(labels[i]), source=i,
                     part="validation" if i < n // 3 else "test") for i in range(n))
    return Cases("made", rows, lambda row: pixels[row.source], classes, Bounds(-4, 4, "HU"), True)


def made_classifier(seed=0, classes=2):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, classes))
    with torch.no_grad():
        module[1].weight[1].fill_(0.3)
        module[1].weight[0].zero_()
        module[1].bias.zero_()
    return Classifier(module, Bounds(-4, 4, "HU"), "logits", name="linear")


ATTACKS = [smallest_flip, fgsm(0.05), pgd(0.05, restarts=2), pgd(0.1, restarts=2)]


def rows_of(table, **wanted):
    for name, value in wanted.items():
        table = table.filter(pc.field(name) == value)
    return table.to_pylist()


def test_rows_are_one_a_case_attack_size_and_reference():
    cases = made_cases()
    table = assess(made_classifier(), cases, ATTACKS)
    assert table.schema.names == records.SCHEMA.names
    assert len(table) == len(cases) * (1 + len(ATTACKS)) * 2
    keys = list(zip(*(table[name].to_pylist() for name in ("case_id", "attack", "size", "against")), strict=True))
    assert len(set(keys)) == len(keys)


def test_sizes_are_exact_and_wrong_images_have_size_zero_against_the_label():
    cases, classifier = made_cases(), made_classifier()
    table = assess(classifier, cases, [smallest_flip])
    weight = classifier.module[1].weight.detach()
    slope = float((weight[1] - weight[0]).abs().sum())
    clean = {row["case_id"]: row for row in rows_of(table, attack="clean", against="prediction")}
    for row in rows_of(table, attack="smallest_flip", against="label"):
        right = clean[row["case_id"]]["prediction"] == row["label"]
        exact = clean[row["case_id"]]["margin"] / slope if right else 0.0
        assert row["found_size"] == pytest.approx(exact, rel=2e-3, abs=1e-6)
        assert row["reference"] == row["label"]
    for row in rows_of(table, attack="smallest_flip", against="prediction"):
        assert row["found_size"] > 0
        assert row["reference"] == clean[row["case_id"]]["prediction"]


def test_both_references_are_what_each_alone_is():
    cases, classifier = made_cases(), made_classifier()
    both = assess(classifier, cases, ATTACKS)
    for side in ("label", "prediction"):
        alone = assess(classifier, cases, ATTACKS, against=side)
        mine = rows_of(both, against=side)
        assert len(mine) == len(alone)
        for a, b in zip(mine, alone.to_pylist(), strict=True):
            assert (a["case_id"], a["attack"], a["flips"]) == (b["case_id"], b["attack"], b["flips"])
            assert (a["found_size"] or 0) == pytest.approx(b["found_size"] or 0, rel=1e-3)


def test_parts_may_have_attacks_of_their_own_and_users_their_own_attack():
    def dark(classifier, batch, reference, seed):
        return (batch.images - 0.5).clamp(-4, 4)

    table = assess(made_classifier(), made_cases(), {"validation": [smallest_flip], "test": [dark]})
    assert {row["attack"] for row in rows_of(table, part="validation")} == {"clean", "smallest_flip"}
    mine = rows_of(table, part="test", attack="dark", against="prediction")
    assert mine
    assert all(0 < row["found_size"] <= 0.5 + 1e-6 for row in mine)
    assert all(row["flips"] == (row["prediction"] != row["reference"]) for row in mine)


def test_resuming_gives_the_same_rows_and_does_the_missing_blocks_only(tmp_path):
    cases, classifier = made_cases(3 * BLOCK), made_classifier()
    whole = assess(classifier, cases, ATTACKS)
    store = tmp_path / "run"
    assess(classifier, cases, ATTACKS, store=store)
    parts = sorted((store / "records").glob("part-*"))
    parts[1].unlink()
    damaged = bytearray(parts[2].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    parts[2].write_bytes(bytes(damaged))
    again = assess(classifier, cases, ATTACKS, store=store)
    assert again.equals(whole)
    assert sorted(path.name for path in (store / "records").glob("part-*")) == [path.name for path in parts]


def test_a_network_that_takes_long_has_small_blocks_and_a_store_keeps_its_own(tmp_path, monkeypatch):
    cases = made_cases(12)
    assess(made_classifier(), cases, ATTACKS, store=tmp_path / "begun")
    whole = assess(made_classifier(), cases, ATTACKS)
    assert block_of(made_classifier(), cases, ATTACKS) == BLOCK
    noise = SimpleNamespace(threat=SimpleNamespace(unit="mAs"))
    monkeypatch.setattr("steadyread.attacks.cost._OPERATIONS", 8 * 2 * 36 * 2)     # of 8 reads of this network
    assert block_of(made_classifier(), cases, ATTACKS) == 8
    assert block_of(made_classifier(), cases, [*ATTACKS, noise]) == BLOCK
    fresh = assess(made_classifier(), cases, ATTACKS, store=tmp_path / "fresh")
    assert len(list((tmp_path / "fresh/records").glob("part-*"))) == 2
    told, wanted = (sorted(each.to_pylist(), key=lambda row: (row["case_id"], row["against"], row["attack"],
                                                              row["size"] or 0)) for each in (fresh, whole))
    for one, other in zip(told, wanted, strict=True):     # blocks of another size differ in last bits
        assert one == {name: pytest.approx(value, rel=1e-3, abs=1e-6) if isinstance(value, (float, list)) else value
                       for name, value in other.items()}
    assert assess(made_classifier(), cases, ATTACKS, store=tmp_path / "begun").equals(whole)
    assert assess(made_classifier(), cases, ATTACKS, store=tmp_path / "fresh").equals(fresh)


def test_what_is_refused():
    cases = made_cases(12)
    with pytest.raises(InputRefused, match=r"2 classes .* the model returns 3"):
        assess(made_classifier(classes=3), cases, ATTACKS)
    with pytest.raises(UsageError, match="another name"):
        assess(made_classifier(), cases, [fgsm(0.05), fgsm(0.05)])
    with pytest.raises(InputRefused, match="does not take images of shape"):
        assess(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), Bounds(-4, 4), "logits"), cases, ATTACKS)
    with pytest.raises(InputRefused, match="outside the stated bounds"):
        assess(Classifier(made_classifier().module, Bounds(-1, 1), "logits"), cases, ATTACKS)
    with pytest.raises(InputRefused, match="no cases"):
        assess(made_classifier(), cases.part("train"), ATTACKS)


def failing(network):
    with pytest.raises(InputRefused) as refused:
        assess(Classifier(network, Bounds(-4, 4), "logits"), made_cases(12), ATTACKS)
    return str(refused.value)


def test_a_network_in_colour_is_told_apart_from_other_shapes():
    assert "It takes images of 3 channels" in failing(nn.Sequential(nn.Flatten(), nn.Linear(108, 2)))


@pytest.mark.parametrize("network", [
    nn.Conv2d(3, 2, 3), nn.Conv3d(1, 2, 3), nn.Conv1d(1, 2, 3), nn.Conv2d(1, 2, 9), nn.BatchNorm2d(3),
    nn.InstanceNorm2d(3, affine=True), nn.LayerNorm([1, 8, 8]), nn.MaxPool2d(9), nn.Unflatten(1, (2, 3)),
    lambda images: images.flatten(1) @ torch.ones(5, 2), lambda images: images[:, 2],
    lambda images: images.view(-1, 7),
    lambda images: [0 for _, _, _ in [images.shape]], lambda images: images + torch.ones(1, 1, 9, 6)])
def test_where_shape_is_the_fault_the_advice_is_about_shape(network):
    said = failing(network)
    assert said.startswith("the model does not take images of shape (1, 6, 6): ")
    assert "crop, size, and grey or colour" in said


@pytest.mark.parametrize("network", [
    nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Linear(4, 2).double()),
    nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3).double()),
    nn.Embedding(4, 4), lambda images: images.nothing(), lambda images: __import__("nothing_of_that_name"),
    lambda images: {}["head"], lambda images, mask: images, lambda images: torch.empty(10**15),
    lambda images: nn.functional.batch_norm(images[:, :, :1, :1], None, None, training=True)])
def test_where_it_is_not_the_network_s_own_error_stands_alone(network):
    said = failing(network)
    assert said.startswith("the model failed on an image of shape (1, 6, 6): ")
    assert "Error: " in said
    assert "crop" not in said


def test_the_plan_tells_settings_apart_that_only_a_closure_holds():
    def make(strength):
        def mine(classifier, batch, reference, seed):
            return batch.images - strength
        return mine

    assert describe_attack(make(0.1)) != describe_attack(make(0.2))
    assert describe_attack(make(0.1)) == describe_attack(make(0.1))
    assert describe_attack(partial(smallest_flip, largest=2.0)) == "smallest_flip(largest=2.0)"


@pytest.mark.parametrize("attacks", [[fgsm(0.05)], [partial(smallest_flip, largest=1e-4)]])
def test_no_flip_no_examples_and_no_crash(tmp_path, attacks):
    cases = made_cases(12)
    table = assess(made_classifier(), cases, attacks)
    assert write_examples(made_classifier(), cases.part("test"), table, tmp_path) is None


@pytest.mark.parametrize(("slope", "stands"), [(0.05, 1), (50.0, 0)])
def test_flips_are_read_again_as_whole_stored_values(slope: float, stands: int) -> None:
    """A flip by 1.4 grey levels is one by 1 when stored; one by 0.3 is none."""
    images = np.full((8, 1, 2, 2), 100.0, np.float32)
    rows = tuple(Row(f"case-{at}", f"p{at}", 0, "no", None, "test", at) for at in range(8))
    cases = Cases("stored", rows, lambda row: images[row.source], ("no", "yes"), Bounds(0, 255, "grey level"))
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    with torch.no_grad():
        module[1].weight.fill_(slope)
        module[1].bias.fill_(-400 * slope - 4 * slope * (0.7 if stands else 0.3))
    table = assess(Classifier(module, Bounds(0, 255, "grey level"), "logit"), cases, [smallest_flip, fgsm(0.1)])
    flips = [row for row in table.to_pylist() if row["attack"] == "smallest_flip"]
    assert {row["flips_rounded"] for row in flips} == {stands}
    assert {row["flips_rounded"] for row in table.to_pylist() if row["attack"] != "smallest_flip"} == {None}
    standing = smallest_flips_rounded(reads_of(table), "label")
    assert standing is not None
    assert (standing.value, standing.n) == (stands, 8)
