"""Hardening from several seeds: trained anew on the same split, the mean and range of the gains told, no interval."""

import json
from pathlib import Path

import numpy as np
import pytest

import fabricate
from pages import lay_out_alone
from steadyread.errors import UsageError
from steadyread.jobs.plan import branches_of, jobs_of, repeated, training_seed
from steadyread.jobs.run import carry_out
from steadyread.metrics.aligned import reads_of
from steadyread.metrics.hardening import compared
from steadyread.metrics.seeds import Gain, gain_of, over_seeds
from steadyread.store import open_cells
from steadyread.study.reading import checked, read_studies
from steadyread.units import Bounds

SMALL = {"data": {"synthetic": 60}, "preparation": {"size": 16}, "training": {"epochs": 1}, "seeds": 3,
         "model": {"arguments": {"width": 0.05, "convolutions": [1, 1, 1, 1, 1]}},
         "attacks": {"use": ["fgsm"], "epsilons": ["0.002 range"], "limit": 10},
         "hardening": {"epsilon": "0.004 range", "epochs": 1, "compare": {"control": {"method": "clean"}}}}


def test_each_seed_is_a_run_of_its_own_on_the_same_split_and_of_the_main_hardening_alone() -> None:
    study = checked({**SMALL, "seed": 5}, "here")
    branches = branches_of(study, Path("run"))
    assert [str(branch.folder) for branch in branches] == ["run", "run/seeds/seed-1", "run/seeds/seed-2"]
    seeds = [branch.study.seed for branch in branches]
    assert seeds == [5, 6, 7]
    assert [branch.study.split.seed for branch in branches] == [None, 5, 5]
    assert [len(branch.study.hardening.compare) for branch in branches] == [1, 0, 0]
    assert [branch.study.attacks.use for branch in branches] == [("fgsm",), (), ()]
    plain = jobs_of(branches)[0]
    assert len({training_seed(job.study, job.cell) for job in plain}) == 3
    assert [len(step) for step in jobs_of(branches)] == [3, 3, 1]
    assert repeated(checked({**SMALL, "split": {"seed": 9}}, "here"), 1).split.seed == 9
    assert len(branches_of(checked({**SMALL, "quick": True}, "here"), Path("run"))) == 1
    assert len(branches_of(checked({**SMALL, "seeds": 1}, "here"), Path("run"))) == 1


def test_of_several_sets_each_has_its_own_and_equal_conditions_none(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text('[sets.one]\nseeds = 2\nhardening.epsilon = "auto"\n[sets.two]\n[equal]\n')
    branches = branches_of(read_studies(tmp_path / "two.toml"), Path("run"))
    assert [branch.data for branch in branches] == ["one", "one, seed 1", "two", "one, equal conditions",
                                                    "two, equal conditions"]


@pytest.mark.parametrize("changed", [{"hardening": None}, {"split": {"folds": 2}},
                                     {"attacks": {"smallest_flip": False}},
                                     {"model": {"weights": "net.pt", "arguments": {}}, "training": None}])
def test_seeds_without_anything_to_repeat_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="seeds trains and hardens one network anew"):
        checked({**SMALL, **changed}, "here")
    with pytest.raises(UsageError, match="seeds"):
        checked({**SMALL, "seeds": 0}, "here")


def test_the_gain_is_that_of_the_comparison_by_the_smallest_flips() -> None:
    bounds = Bounds(-1000, 400, "HU")
    before, after = (reads_of(fabricate.table(slope=slope), "test", bounds=bounds) for slope in (0.25, 0.1))
    size = fabricate.SIZES[0]
    found = gain_of(before, after, size)
    rows = compared(before, after, [size], bounds)["rows"]
    robust = next(row for row in rows if row.measure == "robust_accuracy").contrast
    assert found is not None
    assert found.robust == pytest.approx(robust.difference.value)
    assert (found.before, found.after) == pytest.approx((robust.before.value, robust.after.value))
    assert found.clean == pytest.approx(rows[0].contrast.difference.value)
    told = over_seeds([found, Gain(0.1, 0.3, 0.5, 0.4)])
    assert told["robust"]["mean"] == pytest.approx(np.mean([found.robust, 0.2]))
    assert told["clean"]["lowest"] == pytest.approx(-0.1)
    assert set(told["robust"]) == {"mean", "lowest", "highest"}, "no interval: seeds are no patients"


@pytest.mark.slow
def test_a_study_from_three_seeds_tells_their_range_and_goes_on_with_more(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out_alone(monkeypatch)
    folder = tmp_path / "run"
    one = carry_out(checked({**SMALL, "seeds": 1}, "here"), folder)
    assert "seeds" not in one.summary["hardening"]
    done = carry_out(checked({**SMALL, "seeds": 2}, "here"), folder)
    found = done.summary["hardening"]["seeds"]
    assert [row["seed"] for row in found["rows"]] == [0, 1]
    gains = [row["robust"] for row in found["rows"]]
    assert found["gains"]["robust"]["lowest"] == min(gains)
    assert (found["none"], found["unfinished"]) == (0, 0), "a hardening that left the network as it was counts"
    assert "seeds are no patients" in done.report.read_text("utf-8")
    cells = [open_cells(folder / place).own for place in (".", "seeds/seed-1")]
    assert cells[0].reads("test").case_id.tolist() == cells[1].reads("test").case_id.tolist(), "the same test images"
    digests = [cell.cells[0].plan["model"]["sha256"] for cell in cells]
    assert digests[0] != digests[1], "another network"
    assert not (folder / "seeds" / "seed-1" / "report.html").exists()
    assert json.loads((folder / "seeds" / "seed-1" / "study.json").read_text())["seed"] == 1
