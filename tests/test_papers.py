"""A paper's printed tables: beside a study that says so, and in no other report."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import fabricate_noise as noise
import fabricate_noise_hardening as noise_hardening
import fabricate_sets as sets
from fabricate_noise import noise_page
from fabricate_sets import Made
from pages import Page
from steadyread.errors import UsageError
from steadyread.metrics.noise import one_attack
from steadyread.report.noise import Noise
from steadyread.report.papers import paper
from steadyread.report.run import told_of
from steadyread.report.sections.as_printed import as_printed
from steadyread.report.shareable import AS_IT_IS
from steadyread.study import completed
from steadyread.study.reading import keyed, read_studies, read_study
from steadyread.training.settings import TrainingSettings


def told(folder: Path) -> str:
    return Page(told_of(folder, AS_IT_IS).page().html({})).text


def table_of(settings: dict[str, Any]) -> str:
    """Our side of "As printed, as here", of a study of these settings and made counts."""
    parts = {"train": {"images": 334}, "validation": {"images": 170}, "test": {"images": 126}}
    sizes = [{"variant": "original", "parameters": 10}, {"variant": "shallower", "parameters": 20}]
    items = list(as_printed(Noise({
        "beside": "B", "data": {"parts": parts, "patients_known": True}, "folds": [0, 1, 2], "rows": [],
        "table_3": [{"classes": 5}], "spectrum": None, "provenance": {"settings": settings, "networks": sizes}})))
    return str(items)


def state(path: Path, beside: str) -> None:
    study = json.loads(path.read_text())
    for each in study.get("sets", {"": study}).values():
        each["beside"] = beside
    path.write_text(json.dumps(study))


def by_a_grid(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row, and after that of a smallest flip one of [A]'s sensitivity, whose sizes are a grid's."""
    if row["attack"] != "smallest_flip":
        return [row]
    first = next((size for size in (2.0, 5.0, 10.0, 20.0, 40.0) if size >= row["found_size"]), math.inf)
    return [row, {**row, "attack": "grid_flip", "found_size": first}]


@pytest.mark.slow
def test_several_sets_have_the_papers_tables_where_the_study_says_so(tmp_path: Path) -> None:
    folder = sets.write_sets(tmp_path, {"lung_ct": Made(0.4, unit="HU", hardened=0.15, images=50, patients=40),
                                        "mnist": Made(0.1, 10, images=36, patients=36)})
    assert "75.41" not in told(folder)
    state(folder / "study.json", "A")
    text = told(folder)
    for words in ("75.41", "41.84", "81.31", "99.13", "Medical sets beside everyday ones"):
        assert words in text, words
    assert "Set Ours Ours, balanced [A]" in text
    assert "Set Attack Change, of range Ours Ours, balanced [A]" in text
    assert "86.13" not in text          # a set that the study does not have
    assert "[A]'s sensitivity" not in text
    sets.change_rows(folder / "lung_ct", by_a_grid)
    assert re.search(r"Set Reads Ours \[A\]'s sensitivity \[A\]", told(folder)), "in a column of its own"
    for name in ("lung_ct", "mnist"):
        path = folder / name / "study.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"triage": {"withhold": 0.1}}))
    assert "81.31" not in told(folder)  # of other reads than the 20 % that the paper withheld


@pytest.mark.slow
def test_a_noise_study_has_the_papers_tables_where_it_says_so(tmp_path: Path) -> None:
    study = noise.Made(cases=60, patients=50, folds=2, doses=(100.0,), draws=20, variants=("original", "batch_norm"))
    folder = noise.write_study(tmp_path, study)
    noise_hardening.add_hardened(folder, study=study)
    assert "17.4 ± 4.3" not in noise_page(folder)[0]
    state(folder / "study.json", "B")
    page = noise_page(folder)[0]
    for words in ("0.91 ± 0.008", "17.4 ± 4.3", "34.3 ± 7.5", "15.7 ± 4.4", "21.1 ± 2.6", "Multi-crop Net",
                  "Ours: [B] as printed, K = 2.", "Ours: taught by rings, judged by [B] as printed, K = 5.",
                  "As printed, as here"):
        assert words in page, words
    assert "28.5 ± 4.6" not in page     # a variant that the study does not have
    for path in (folder / "hardened/adaptive").glob("fold-*/training.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"method": "fresh"}))
    assert "21.1 ± 2.6" not in noise_page(folder)[0]     # rounds of another method


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_the_study_of_paper_a_has_a_control_an_auto_size_and_the_papers_own_sensitivity(scale: str) -> None:
    study = read_studies(Path(__file__).parents[1] / "studies" / "oncology.toml", {"scale": scale})
    for name, own in study.sets.items():
        assert own.hardening is not None
        others = own.hardening.compared
        assert (others["control"].method, others["auto"].epsilon) == ("clean", "auto"), name
        assert ("grid_flip" in own.attacks.use) == (name in ("lung_ct", "mammography", "brain_mri")[scale == "laptop":])
        assert own.model.normalise == ("unit" if scale == "paper" else "none"), "at the paper's scale pixels in [0, 1]"
    seeds = {name: own.seeds for name, own in study.sets.items()}
    few = 3 if scale == "laptop" else 1
    assert seeds == {"lung_ct": few, "mammography": few, "brain_mri": few, "mnist": 1, "cifar_10": 1}
    assert len({json.dumps({**own.training, "momentum": 0.9}, sort_keys=True) for own in study.equal.values()}) == 1
    for own in study.equal.values():
        assert own.seeds == 1
        assert (own.attacks.use, own.hardening) == ((), None)
        assert own.model.normalise == ("symmetric" if scale == "paper" else "none")
    assert study.sets["lung_ct"].preparation.crop == (71 if scale == "paper" else 64)


def test_the_papers_scale_of_paper_a_trains_as_its_code_does() -> None:
    """Batch, epochs and patience (an epoch of its code goes over ten turned copies of each CT and mammogram), rates,
    what is augmented, the network's side, the sizes of its sensitivity, and the stages of its hardening."""
    study = read_studies(Path(__file__).parents[1] / "studies" / "oncology.toml", {"scale": "paper"})
    found = {name: (own.preparation.size, *(own.training[key] for key in ("batch", "epochs", "patience")),
                    own.training["learning_rate"], own.training.get("flips", True),
                    own.training.get("rotation_degrees", TrainingSettings.rotation_degrees), len(own.attacks.epsilons),
                    own.hardening and own.hardening.epochs) for name, own in study.sets.items()}
    assert found == {
        "lung_ct": (116, 32, 10 * 200, 10 * 50, 2e-4, True, 20.0, 32, (10 * 150, 10 * 50)),
        "mammography": (116, 50, 10 * 100, 10 * 20, 2e-4, True, 20.0, 21, (10 * 50, 10 * 50)),
        "brain_mri": (224, 50, 100, 5, 2e-4, True, 20.0, 26, 50),
        "mnist": (32, 64, 20, 5, 1e-2, False, 0.0, 18, 50),
        "cifar_10": (None, 128, 60, 10, 1e-3, False, 0.0, 18, 100)}
    for name, own in study.sets.items():
        trained = TrainingSettings(**own.training)
        assert (trained.optimiser, trained.schedule, trained.weight_decay, trained.max_norm, trained.momentum) == (
            "sgd", "constant", 0.0, 2.0, 0.0 if name == "mnist" else 0.9)
        assert own.hardening is not None
        assert (own.hardening.training["batch"], own.hardening.steps, own.hardening.share) == (128, 7, 0.5)


def test_no_table_mixes_two_attacks() -> None:
    rows = [{"attack": "rings_ct_noise"}, {"attack": "rings_ct_noise"}]
    assert (one_attack(rows), one_attack([])) == ("rings_ct_noise", "")
    with pytest.raises(RuntimeError, match="one table of several attacks: paper_ct_noise, rings_ct_noise"):
        one_attack([*rows, {"attack": "paper_ct_noise"}])


def test_what_was_done_stands_beside_what_is_printed_by_the_studys_own_values() -> None:
    path = Path(__file__).resolve().parents[1] / "studies" / "ct_noise.toml"
    text = {scale: table_of(completed(read_study(path, keyed(scale=scale)), "lidc-3d").model_dump(mode="json"))
            for scale in ("laptop", "paper")}
    for words in ("24 x 24 x 5 mm", "the table's one rating", "cross-entropy", "rotations of at most 180, 5, 5 (z, y, "
                  "x)°, flips", "16 and 128 features", "334 to train, 170 to validate, 126 to test"):
        assert words in text["laptop"], words
    for words in ("32 x 32 x 32 mm", "the mean of the readers' ratings", "squared error of the probability",
                  "shifts of at most 5 voxels, rotations of at most 15°", "500 epochs of batches of 64",
                  "64 and 512 features", "it has more parameters than the original so (20 and 10)"):
        assert words in text["paper"], words
    assert "Loss" not in table_of({})      # what the files do not tell has no row


def test_every_value_has_its_keys() -> None:
    for name in ("A", "B"):
        for table in paper(name).tables.values():
            assert {len(keys) for keys in table.values} == {len(table.of)}
    with pytest.raises(UsageError, match="beside"):
        read_study(None, keyed(beside="C"))
