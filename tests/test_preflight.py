"""Each rule fires on the mistake that it is for, and not on its near misses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import steadyread as sr
from fabricate_pictures import Call
from steadyread.attacks.blind import QUERIES
from steadyread.attacks.cost import cost_of
from steadyread.cases import Cases, Preparation, image_marks, limit, patient_marks, prepare
from steadyread.checks import RULES, Stated, preflight
from steadyread.checks.classes import _second_half
from steadyread.checks.sample import Clock
from steadyread.errors import UsageError
from steadyread.files import ATTACKED, EXAMPLES
from steadyread.jobs.pictures import FEW_ALONG
from steadyread.jobs.quick import outlook
from steadyread.pictured import FLIPS, read_walk
from steadyread.report import write_report

BYTES = (0, 255)
N = 60


def labels(n=N):
    return np.arange(n) % 2


def pictures(n=N, shape=(8, 8), seed=0):
    """(n, 3, *shape) of 0 to 255: red tells the class everywhere, and blue and green tell nothing."""
    rng = np.random.default_rng(seed)
    images = rng.normal(115, 12, (n, 3, *shape))
    images[:, 0] = rng.normal(np.where(labels(n) == 1, 150, 80)[:, None, None], 12, (n, *shape))
    images[:, :, 0, 0], images[:, :, 0, 1] = 0, 255
    return images.clip(*BYTES).astype(np.float32)


class Means(nn.Module):
    """A logit that is linear in the mean of red of images of 0 to 1, and of them alone: exact, without any training."""

    def __init__(self, gain=20.0, bias=0.45, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(gain)), nn.Parameter(torch.tensor(bias))
        self.before, self.after = before, after

    def forward(self, images):
        red = self.before(images)[:, 0].flatten(1)[:, 2:].mean(1)
        return self.after(self.weight * (torch.tanh(2 * (red - self.bias)) - 0.02 * red.abs()))


def classifier(normalise="unit", output="logit", threshold=0.5, **how):
    return sr.Classifier(Means(**how), BYTES, output, normalise, threshold)


def said(network, images=None, truth=None, **known):
    """What each rule says, by its code."""
    found = sr.check(network, (pictures() if images is None else images, labels() if truth is None else truth),
                     bounds=BYTES, **known)
    return {each.code: each for each in found.findings}


def fired(found):
    return {code for code, each in found.items() if each.severity in ("error", "warning")} - {"SR601"}


def test_an_honest_network_gives_no_doubt_and_all_rules_have_their_own_code():
    assert fired(said(classifier())) == set()
    codes = [each.code for each in RULES.values()]
    assert len(set(codes)) == len(codes)
    assert all(each.remedy or each.code == "SR601" for each in RULES.values() if each.before)


@pytest.mark.parametrize("stated", ["none", "symmetric"])
def test_another_scale_is_named_where_it_reads_better(stated):
    finding = said(classifier(stated))["SR103"]
    assert finding.severity == "error"
    assert "unit" in finding.message
    assert "normalise = unit" in finding.remedy


@pytest.mark.parametrize("stated", [(1.0, 254.0), (0.0, 250.0)])
def test_a_scale_that_is_nearly_right_is_no_doubt(stated):
    assert "SR103" not in fired(said(classifier(stated)))


def test_images_of_0_to_1_for_a_network_of_0_to_255_and_inverted_ones():
    found = sr.check(sr.Classifier(Means(before=lambda x: x / 255), (0, 1), "logit"), (pictures() / 255, labels()),
                     bounds=(0, 1))
    assert "0 to 255" in next(each.message for each in found.findings if each.code == "SR103")
    inverted = said(classifier(before=lambda x: 1 - x, bias=0.38))["SR103"]
    assert inverted.severity == "error"
    assert "inverted" in inverted.message


def test_blue_first_is_seen_and_grey_in_three_channels_is_not_tried():
    assert said(classifier(), pictures()[:, ::-1])["SR201"].severity == "error"
    grey = np.repeat(pictures()[:, :1], 3, axis=1)
    assert "SR201" not in said(classifier(), grey)
    assert said(classifier())["SR201"].severity == "ok"


@pytest.mark.parametrize(("turn", "name"), [(lambda x: x.flip(-2), "upside down"),
                                            (lambda x: x.transpose(-1, -2), "rows and columns")])
def test_images_that_lie_otherwise_than_in_training_are_seen(turn, name):
    """The class is told by the upper right quarter."""
    images = pictures()
    images[:, 0, 4:], images[:, 0, :, :4] = 115, 115

    def quarter(x):
        return turn(x)[:, :, :4, 4:]

    finding = said(classifier(before=quarter), images)["SR203"]
    assert finding.severity == "error"
    assert name in finding.message
    assert "SR203" not in fired(said(classifier(before=lambda x: x[:, :, :4, 4:]), images))


@pytest.mark.parametrize(("fit", "fires"), [("cut", True), ("squash", False)])
def test_images_that_were_squeezed_in_training_and_are_cut_are_seen(fit, fires):
    """The class is told by the ends of the longer side."""
    images = pictures(shape=(8, 24))
    images[:, 0, :, 7:17] = 115
    raw = Cases.from_arrays(images, labels(), bounds=BYTES)
    preparation = Preparation(size=8, fit=fit)
    found = preflight(classifier(), prepare(raw, preparation), Stated(raw=raw, preparation=preparation))
    assert ("SR202" in fired({each.code: each for each in found.findings})) == fires


@pytest.mark.filterwarnings("ignore::steadyread.errors.Doubt")
@pytest.mark.parametrize(("output", "after"), [("logit", torch.sigmoid), ("probability", lambda z: z)])
def test_a_head_that_is_another_is_an_error_and_never_a_crash(output, after):
    found = said(classifier(output=output, after=after))
    assert found["SR301"].severity == "error"
    assert found["SR301"].remedy


def test_the_right_heads_are_no_doubt():
    assert "SR301" not in fired(said(classifier(output="probability", after=torch.sigmoid)))


@pytest.mark.parametrize(("gain", "order", "severity"), [(1e-4, 1, "warning"), (1e-4, 0, "error"), (20.0, 1, "ok")])
def test_reads_that_hardly_differ_are_seen_and_graver_where_they_tell_nothing(gain, order, severity):
    truth = labels() if order else np.repeat([0, 1], N // 2)
    assert said(classifier(gain=gain), truth=truth)["SR304"].severity == severity


def test_one_class_is_seen():
    assert said(classifier(after=lambda z: z + 100))["SR303"].severity == "error"


def test_classes_in_another_order_are_seen_and_the_order_is_named():
    finding = said(classifier(), truth=1 - labels(), classes=["a", "b"])["SR401"]
    assert finding.severity == "error"
    assert "0 is b, 1 is a" in finding.message
    assert "SR103" not in fired(said(classifier(), truth=1 - labels()))      # nothing else is blamed for it


@pytest.mark.parametrize(("order", "fires"), [([0, 1, 2], False), ([1, 2, 0], True), ([0, 2, 1], True)])
def test_three_classes_in_another_order_are_seen(order, fires):
    rng = np.random.default_rng(0)
    truth = np.arange(N) % 3
    images = rng.normal(50, 5, (N, 3, 4, 4)).astype(np.float32)
    images[np.arange(N), truth] += 100
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 255
    network = sr.Classifier(lambda x: 9 * x.mean((2, 3))[:, order], BYTES, "logits", "unit")
    assert ("SR401" in fired(said(network, images, truth))) == fires


def test_labels_that_tell_nothing_put_no_order_in_doubt():
    rng = np.random.default_rng(3)
    assert not fired(said(classifier(), truth=rng.integers(0, 2, N))) & {"SR401", "SR103", "SR201", "SR203"}


@pytest.mark.parametrize(("claimed", "severity"), [({"accuracy": 0.99}, "error"), ({"accuracy": 0.75}, "ok"),
                                                   ({"accuracy": 0.89}, "warning"), ({"accuracy": 0.4}, "warning"),
                                                   ({"specificity": 0.98}, "error")])
def test_a_claim_outside_of_the_interval_fires(claimed, severity):
    images = pictures()
    images[::4] = images[1::4]       # a quarter of the images, half of class 0, look like class 1
    assert said(classifier(), images, claimed=claimed)["SR402"].severity == severity


@pytest.mark.parametrize(("known", "says"), [(lambda at: at % 3 > 0, "on 40 images here it is 1.000"),
                                             (lambda at: False, None)])
def test_images_without_a_label_count_against_no_claim(known, says):
    cases = Cases.from_arrays(pictures(), labels(), bounds=BYTES)
    rows = tuple(row if known(at) else replace(row, label=None) for at, row in enumerate(cases.rows))
    found = {each.code: each for each in preflight(classifier(), replace(cases, rows=rows), Stated(
        {"accuracy": 0.99})).findings}
    assert found["SR402"].message.count(says) if says else "SR402" not in found
    assert "SR105" in found


def test_a_claim_of_an_unknown_metric_is_refused():
    with pytest.raises(UsageError, match="no metric 'acuracy': did you mean 'accuracy'"):
        said(classifier(), claimed={"acuracy": 0.9})
    with pytest.raises(UsageError, match="between 0 and 1"):
        said(classifier(), claimed={"accuracy": 93.4})


@pytest.mark.parametrize(("shift", "fires"), [(6.0, True), (0.5, False)])
@pytest.mark.parametrize("parts", [None, ["test", "test", "validation", "validation"] * (N // 4)])
def test_a_threshold_that_validation_images_would_not_choose_is_seen(shift, fires, parts):
    known = {} if parts is None else {"parts": parts}
    found = said(classifier(after=lambda z: z + shift), **known)
    assert ("SR403" in fired(found)) == fires


def test_randomness_company_and_their_near_misses_are_told_apart():
    random = fired(said(classifier(before=lambda x: nn.functional.dropout(x, 0.2))))
    assert "SR501" in random
    company = fired(said(classifier(before=lambda x: x - x.mean((0, 2, 3), keepdim=True) + 0.45)))
    assert "SR502" in company
    assert "SR501" not in company
    assert not fired(said(classifier(before=nn.Dropout(0.2)))) & {"SR501", "SR502"}     # off while evaluating


@pytest.mark.parametrize(("stated", "gain", "fires"), [
    ("caffe", 9.0, True), ("unit", 20.0, False), ("unit", 60.0, False)])
def test_reads_that_are_far_too_sure_tell_the_scale_without_labels(stated, gain, fires):
    """A network without any offset but 0.45 of red, whose logits grow with the values that it is given."""
    network = sr.Classifier(lambda x: gain * (x[:, 0].flatten(1).mean(1) - 0.45), BYTES, "logit", stated)
    assert ("SR105" in fired(said(network, truth=np.repeat([0, 1], N // 2)))) == fires


class Normed(nn.Module):
    """Batch norm before a linear rule of the mean of red; its running statistics are what they are set to."""

    def __init__(self, mean, variance):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.norm.running_mean[:], self.norm.running_var[:] = mean, variance

    def forward(self, images):
        return 5 * self.norm(images)[:, 0].flatten(1)[:, 2:].mean(1)


@pytest.mark.parametrize(("mean", "variance", "codes"), [
    (0.45, 0.02, set()), (115.0, 900.0, {"SR103", "SR104"}), (0.0, 1.0, {"SR503"})])
def test_batch_norm_tells_the_scale_of_its_training_and_stale_statistics(mean, variance, codes):
    found = fired(said(sr.Classifier(Normed(mean, variance), BYTES, "logit", "unit")))
    assert codes <= found
    assert codes or not found


def test_half_precision_and_lost_digits_are_seen():
    half = said(sr.Classifier(Means().to(torch.bfloat16), BYTES, "logit", "unit"))
    assert half["SR504"].severity == "warning"
    lost = said(classifier(before=lambda x: (x + 1e6) - 1e6))
    assert lost["SR504"].severity == "warning"
    assert said(classifier())["SR504"].severity == "ok"


def test_images_and_patients_that_were_taught_are_named():
    cases = Cases.from_arrays(pictures(), labels(), bounds=BYTES, patients=[f"p{at // 2}" for at in range(N)])
    stated = Stated(raw=cases, taught={"images": image_marks(cases)[:3], "patients": patient_marks(cases)[4:6]})
    found = {each.code: each for each in preflight(classifier(), cases, stated).findings}
    assert (found["SR602"].value, found["SR603"].value) == (3 / N, 2 / N)
    other = replace(stated, taught={"images": ["other"], "patients": ["other"]})
    found = {each.code: each for each in preflight(classifier(), cases, other).findings}
    assert {found[code].severity for code in ("SR602", "SR603")} == {"ok"}


def test_images_for_training_that_lie_beside_the_tested_ones_are_known_again():
    images = pictures()
    images[-3:] = images[:3]
    parts = ["train"] * (N // 2) + ["test"] * (N // 2)
    found = said(classifier(), images, parts=parts, patients=[f"{part} {at}" for at, part in enumerate(parts)])
    assert (found["SR602"].severity, found["SR602"].value) == ("error", 3 / (N // 2))
    assert found["SR603"].severity == "ok"


def test_a_patient_never_stands_in_both_halves():
    patients = np.array(["a", "b", "a", "c", "b", "d"])
    assert _second_half(patients).tolist() == [False, True, False, False, True, True]
    assert _second_half(np.arange(4).astype(str)).tolist() == [False, True, False, True]


def test_test_images_called_as_images_for_training_are_named():
    ids = [f"{part}/{at}.png" for part in ("train", "test") for at in range(N // 2)]
    parts = ["train"] * (N // 2) + ["test"] * (N // 2)
    assert said(classifier(), ids=ids, parts=parts)["SR604"].value == 1
    other = [f"{at}.png" for at in range(N)]
    assert said(classifier(), ids=other, parts=parts)["SR604"].severity == "ok"


def test_no_time_leaves_rules_that_say_so_and_no_image_is_no_crash():
    cases = Cases.from_arrays(pictures(), labels(), bounds=BYTES)
    found = preflight(classifier(), cases, seconds=0.0)
    assert found.images == 16
    assert {why for _, why in found.left} == {"the 0 s were over"}
    broken = replace(cases, load=lambda row: 1 / 0)
    assert not preflight(classifier(), broken).passed
    assert Clock().over() is False


def test_a_store_of_assess_keeps_what_was_found_before_the_attacks(tmp_path):
    found = sr.assess(classifier(), (pictures(16), 1 - labels(16)), [sr.pgd(4.0)], bounds=BYTES, store=tmp_path)
    finding = next(each for each in found.findings if each.check == "class order")
    assert (finding.code, finding.severity) == ("SR401", "error")
    assert finding.remedy


NET = """
import torch

class Red(torch.nn.Module):
    def __init__(self, order=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(order))

    def forward(self, images):
        return 20 * self.weight * torch.tanh(2 * (images[:, 0].flatten(1).mean(1) - 0.45))
"""


@pytest.fixture
def given(tmp_path):
    """Pictures in two folders, and a network in a file with its weights: the flags that name them."""
    from PIL import Image

    for at, image in enumerate(pictures(40).round().astype(np.uint8)):
        folder = tmp_path / "images" / ("normal", "sick")[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{at}.png")
    (tmp_path / "net.py").write_text(NET)
    torch.save({"weight": torch.tensor(1.0)}, tmp_path / "net.pt")
    return ("--data", "images", "--model", "net.py:Red", "--weights", "net.pt", "--bounds", "0,255",
            "--output", "logit", "--set", 'data.options.channels="colour"', "--threads", 1)


def test_check_prints_a_table_or_its_verdict_and_ends_with_0(given, steadyread: Call, tmp_path: Path) -> None:
    right = ("check", *given, "--normalise", "unit", "--claimed", "accuracy=0.98")
    told = steadyread(*right)
    assert told.code == 0, told.err
    assert "SR103 scale of the pixels" in told.out
    verdict = json.loads(steadyread(*right, "--json").out)
    assert verdict["passed"]
    assert {each["code"] for each in verdict["findings"]} >= {"SR301", "SR401", "SR402", "SR501"}
    assert not (tmp_path / "runs").exists()


def test_check_ends_with_1_where_a_rule_fires_and_with_3_where_the_input_is_bad(given, steadyread: Call) -> None:
    told = steadyread("check", *given, "--normalise", "none", "--json")
    assert told.code == 1
    assert "SR103" in told.err
    assert not json.loads(told.out)["passed"]
    assert steadyread("check", *given[:2], "--model", "net.py:Red").code == 2      # no weights
    assert steadyread("check", "--data", "none", *given[2:]).code == 3
    told = steadyread("check", *given, "--claimed", "accuracy=93")
    assert told.code == 2
    assert "claimed" in told.err


def test_check_names_an_image_that_cannot_be_read(given, steadyread: Call) -> None:
    place = next(Path("images").rglob("*.png"))
    place.write_bytes(place.read_bytes()[:40])
    told = steadyread("check", *given, "--normalise", "unit", "--json")
    assert told.code == 0
    (left,) = (each for each in json.loads(told.out)["findings"] if each["check"] == "images set aside")
    assert "1 of " in left["message"]
    assert place.name in left["message"]


def test_a_limit_of_nothing_is_refused(given, steadyread: Call) -> None:
    told = steadyread("assess", *given, "--normalise", "unit", "--limit", 0)
    assert (told.code, "--limit" in told.err) == (2, True)


def test_as_many_names_of_classes_are_stated_as_there_are(given, steadyread: Call) -> None:
    told = steadyread("check", *given, "--normalise", "unit", "--classes", "one,two,three")
    assert told.code == 2
    assert "--classes: 3 names (one, two, three) for images of 2 classes" in told.err


@pytest.mark.usefixtures("undrawn")
def test_a_run_keeps_what_the_rules_say_of_a_given_network_and_says_it_first(
        given, steadyread: Call, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    more = ("--normalise", "none", "--limit", 6, "--epsilon", "2 grey levels", "--set", 'attacks.use=["fgsm"]',
            "--out", "run")
    told = steadyread("assess", *given, *more)
    assert told.code == 0, told.err
    assert "error SR103 scale of the pixels" in caplog.text
    caplog.clear()
    findings = json.loads((tmp_path / "run/findings.json").read_text())
    assert next(each for each in findings if each.get("code") == "SR103")["severity"] == "error"
    assert "SR103 scale of the pixels" in (tmp_path / "run/report.html").read_text("utf-8")
    again = steadyread("assess", *given, *more)
    assert again.code == 0
    assert "SR103" not in caplog.text        # taken up from the folder


@pytest.mark.usefixtures("undrawn")
def test_a_first_look_takes_few_images_names_its_classes_and_says_what_a_whole_run_takes(
        given, steadyread: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyread.jobs.quick._DRAWN", 30)
    told = steadyread("assess", *given, "--normalise", "unit", "--quick", "--classes", "well,ill", "--limit", 12)
    assert told.code == 0, told.err
    assert "Classes: 0 is well, 1 is ill." in told.out
    assert "A first look at all 12 images" in told.out
    assert "A whole run takes up to about" in told.out
    assert "narrower" not in told.out         # of as many images
    run = tmp_path / "runs/assess-images-net-quick"
    findings = json.loads((run / "findings.json").read_text())
    assert next(each["value"] for each in findings if each["check"] == "drawn images") == 30     # of all of them
    codes = {each.get("code") for each in findings}
    assert {"SR401", "SR901", "SR905"} <= codes
    assert not {"SR906", "SR908"} & codes        # take too long for a first look
    assert json.loads((run / "plan.json").read_text())["attacks"]["test"] == ["smallest_flip"]
    assert not (run / ATTACKED).exists()
    with np.load(run / EXAMPLES) as kept:
        assert set(kept["attack"]) == {"bim"}
        assert len(kept["case_id"]) <= 2
    walk = read_walk(run, FLIPS)
    assert walk is not None
    assert walk.at.tolist() == list(FEW_ALONG)


def test_a_first_look_lists_once_searches_each_flip_once_and_paints_nothing(
        given, steadyread: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from steadyread.jobs import networks

    listings, listed = [], networks.listed
    monkeypatch.setattr(networks, "listed", lambda study: listings.append(1) or listed(study))
    monkeypatch.setattr("steadyread.checks.smallest_flip", None)      # the records' are taken
    assert steadyread("assess", *given, "--normalise", "unit", "--quick", "--limit", 12).code == 0
    assert len(listings) == 1
    figures = tmp_path / "runs/assess-images-net-quick/figures"
    assert list(figures.glob("*.svg"))
    assert not list(figures.glob("*.png"))
    write_report(figures.parent)      # `steadyread report RUN` paints them
    assert {path.stem for path in figures.glob("*.png")} == {path.stem for path in figures.glob("*.svg")}


def test_what_a_read_costs_is_counted_as_torch_counts_it_and_the_values_beside() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 2, 3),
                                  torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(128, 2))
    cases = Cases.from_arrays(np.full((2, 1, 16, 16), 9, np.float32), np.arange(2), bounds=BYTES)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 16, 16))
    operations, values = cost_of(sr.Classifier(network, BYTES, "logits"), cases)
    assert operations == counter.get_total_flops()
    assert values >= 2 * 4 * 14 * 14 + 2 * 16 * 16 + 2 * 8 * 8 + 2
    assert cost_of(sr.Classifier(lambda images: 1 / 0, BYTES, "logits"), cases) == (0, 0)


def test_a_first_look_counts_the_values_that_a_network_writes_not_its_operations_alone(monkeypatch) -> None:
    from steadyread.jobs import quick

    cases, few = Cases.from_arrays(pictures(), labels(), bounds=BYTES), []
    for values in (0, 2_000_000, 20_000_000):
        monkeypatch.setattr(quick, "cost_of", lambda *_, values=values: (100_000_000, values))
        few.append(quick.few_of(classifier(), cases, N, quick.Pace(1.0)))
    assert few[0] > few[1] > few[2] == quick._LEAST


def test_the_time_of_a_whole_run_has_its_start_and_its_report_in_it() -> None:
    few, every = (outlook(count, 400, 0.001) for count in (100, 400))
    assert few == ("A first look at 100 of 400 images by their smallest flips. A whole run takes up to about 21 s, and "
                   "its intervals are 2.0 times narrower")
    assert every.endswith("takes up to about 21 s, and adds attacks at several sizes and further checks")


def test_a_first_look_from_python_attacks_a_few_tested_images_and_goes_on(tmp_path, caplog, monkeypatch):
    cases = Cases.from_arrays(pictures(), labels(), bounds=BYTES, parts=["test", "test", "validation"] * (N // 3))
    monkeypatch.setattr("steadyread.jobs.quick._MOST", 12)
    first = sr.assess(classifier(), cases, store=tmp_path, quick=True)
    assert f" {len(cases.part('test'))} images by their smallest flips" in caplog.text
    assert {row["attack"] for row in first.records.to_pylist()} == {"clean", "smallest_flip"}
    assert {row["part"] for row in first.records.to_pylist()} == {"test"}
    again = sr.assess(classifier(), cases, store=tmp_path, quick=True)
    assert again.records.equals(first.records)


def test_a_first_look_needs_a_given_network_and_classes_are_named_once(given, steadyread: Call) -> None:
    Path("quick.toml").write_text("quick = true\n")
    assert steadyread("run", "quick.toml").code == 3
    refused = steadyread("check", *given, "--normalise", "unit", "--classes", "a,a")
    assert refused.code == 2
    assert "twice" in refused.err


def test_how_long_attacks_take_is_said_where_that_is_long(monkeypatch, caplog):
    from steadyread.jobs import quick

    cases = Cases.from_arrays(pictures(), labels(), bounds=BYTES, parts=["test"] * N)
    attacks = {"test": [sr.pgd(4.0), sr.smallest_flip]}
    assert quick.gradients_of(attacks["test"], 2) == 50 + quick._FLIP
    quick.tell_time(classifier(), cases, attacks, lambda items, total, label: iter(items))
    assert not caplog.text
    unfeeling = sr.Classifier(lambda images: classifier().logits(images).detach(), BYTES, "logits")
    assert not quick.pace_of(unfeeling, cases).gradient
    monkeypatch.setattr(quick, "pace_of", lambda *_: quick.Pace(1.0))
    quick.tell_time(classifier(), cases, attacks, lambda items, total, label: iter(items))
    assert "assessing 60 images takes up to about 2 h 30 min" in caplog.text
    assert quick.Pace(2.0, gradient=False).through(attacks["test"], 2) == 2.0 * (200 + 50 + QUERIES)


def test_a_first_look_draws_fewer_images_than_there_are_classes() -> None:
    cases = Cases.from_arrays(pictures(), np.arange(N) % 20, bounds=BYTES)
    drawn = limit(cases, 6, seed=0, every=False)
    assert len({row.label for row in drawn.rows}) == len(drawn) == 6
    assert drawn.rows == limit(cases, 6, seed=0, every=False).rows
    with pytest.raises(UsageError, match="at least 20"):
        limit(cases, 6, seed=0)


def test_arrays_have_the_bounds_of_the_classifier_and_need_two_classes() -> None:
    classifier, images = sr.Classifier(Means(), sr.Bounds(*BYTES), "logit", normalise="unit"), pictures(12)
    told = sr.check(classifier, (images, [0] * 12))
    assert not told.passed
    assert "all 12 images are of one class" in next(each.message for each in told.findings
                                                     if each.check == "class counts")
    assert not any(each.check == "class counts" for each in sr.check(classifier, (images, [0, 1] * 6)).findings)


def test_check_says_how_many_are_read_right_and_where_that_is_no_better_than_one_class() -> None:
    blind = sr.check(sr.Classifier(Means(gain=0.01, bias=0.0), sr.Bounds(*BYTES), "logit", normalise="unit"),
                     (pictures()[:, [1, 0, 2]], labels()))
    assert blind.labelled == N
    assert blind.right < 0.7 * N
    assert any(each.check == "no better than one class" for each in blind.findings)
    sound = sr.check(sr.Classifier(Means(), sr.Bounds(*BYTES), "logit", normalise="unit"), (pictures(), labels()))
    assert sound.right > 0.9 * N
    assert not any(each.check == "no better than one class" for each in sound.findings)
