"""What a study comes to as cells, where each writes, and runs that are about several things at once."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nibabel")

from golden_rows import NODULES, material, small, undrawn
from steadyread import records
from steadyread.errors import UsageError
from steadyread.jobs.plan import attack_seed, branches_of, cells_of, jobs_of, place, training_seed
from steadyread.jobs.run import carry_out, harden_run, train
from steadyread.report.run import told_of
from steadyread.report.shareable import Shareable
from steadyread.store import Cell
from steadyread.study import Study, laid_over, read_studies, read_study

BOTH = laid_over(NODULES, {
    "attacks": {"use": ["fgsm"], "epsilons": ["5 HU"], "limit": 8}, "split": {"folds": None},
    "noise": {"mas": [100.0], "test": {"random": {"draws": 2}}, "counted": 0, "converged": 0},
    "training": {"epochs": 1}})


def study(stated: dict[str, Any]) -> Study:
    return read_study(None, stated)


@pytest.mark.parametrize(("stated", "linf", "noise", "alone"), [
    ({}, True, False, True), ({"noise": {}}, False, True, False), ({"attacks": {"limit": 5}}, True, False, True),
    ({"noise": {}, "attacks": {"limit": 5}}, False, True, False),
    ({"noise": {}, "attacks": {"smallest_flip": True}}, True, True, False),
    ({"noise": {}, "threats": ["Linf", "CTNoise"]}, True, True, False), ({"split": {"folds": 2}}, True, False, False),
    ({"variants": {"strided": {}}}, True, False, False)])
def test_what_a_study_is_about_is_what_it_states(stated: dict[str, Any], linf: bool, noise: bool, alone: bool) -> None:
    first = study(stated)
    stored = study(json.loads(json.dumps(first.model_dump(mode="json"))))    # as study.json holds it
    for found in (first, stored):
        assert (found.linf, found.noise is not None, found.alone) == (linf, noise, alone)


def test_one_network_writes_into_the_run_itself_and_several_into_folders_of_their_own() -> None:
    hardened = {"hardening": {"compare": {"soft": {"method": "trades"}}}}
    one, several = study(hardened), study(hardened | {"noise": {"hardening": {}}, "split": {"folds": 2}})
    assert [str(place(one, cell)) for step in cells_of(one) for cell in step] == [".", "hardened", "hardened-soft"]
    assert [[str(place(several, cell)) for cell in step if cell.fold == 1] for step in cells_of(several)] == [
        ["jobs/original/fold-1"],
        ["hardened/pgd/fold-1", "hardened/adaptive/fold-1", "hardened/before/fold-1"], ["hardened/soft/fold-1"]]


def test_the_first_fold_is_attacked_with_the_draws_of_a_run_without_folds() -> None:
    folds, one = study({"split": {"folds": 2}, "seed": 7}), study({"seed": 7})
    assert [attack_seed(folds, cell) for cell in cells_of(folds)[0]] == [7, 1_000_010]
    assert (attack_seed(one, Cell()), training_seed(one, Cell())) == (7, 7)
    assert len({training_seed(folds, cell) for cell in cells_of(folds)[0]}) == 2


def test_every_data_set_has_its_jobs_in_each_step() -> None:
    sets = read_studies(None, {"hardening": {}, "sets": {"one": {}, "two": {"noise": {}}}, "equal": {"seed": 1}})
    steps = jobs_of(branches_of(sets, Path("run")))
    assert [[str(job.folder) for job in step] for step in steps] == [
        ["run/one", "run/two/jobs/original/fold-0", "run/one/equal", "run/two/equal/jobs/original/fold-0"],
        ["run/one/hardened", "run/two/hardened/pgd/fold-0"]]
    assert [str(job) for job in steps[1]] == ["one, hardening pgd", "two, hardening pgd"]


@pytest.mark.parametrize(("gate", "said"), [
    ("strided:auc=0.5", "no network or hardening 'strided'"), ("pgd:steady_reads@100 mAs=0.5", "add a [noise] section"),
    ("sot:auc=0.5", "did you mean 'soft'")])
def test_a_gate_of_a_network_that_there_is_not_is_refused(gate: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        study({"hardening": {"compare": {"soft": {"method": "trades"}}}, "gates": {"fail_below": [gate]}})
    assert said in str(refused.value)


@pytest.mark.slow
def test_a_run_about_both_threats_is_trained_judged_and_hardened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                  ) -> None:
    monkeypatch.chdir(tmp_path)
    small(monkeypatch)
    undrawn(monkeypatch)
    material(tmp_path)
    trained = train(study(BOTH), "run")
    assert trained["weights"] == "run/jobs/original/fold-0/model.safetensors"
    weights = Path(trained["weights"]).read_bytes()
    gates = ["robust_accuracy@5 HU=0", "steady_reads@100 mAs=0", "auc=0", "pgd:robust_accuracy@5 HU=0",
             "pgd:steady_reads@100 mAs=0", "kept_accuracy=1"]
    hardening = {"epsilon": "5 HU", "epochs": 1, "steps": 1}
    done = carry_out(study(BOTH | {"hardening": hardening, "gates": {"fail_below": gates}}), "run")
    assert [str(judged.gate) for judged in done.gates] == gates
    assert [judged.message.split(" at ")[0] for judged in done.gates][3:5] == [
        "pgd: robust accuracy", "pgd: steady reads"]
    harden_run("run", [{"hardening": {"method": "augment", "epochs": 1}}])
    harden_run("run", [{"hardening": {"compare": {"soft": {"method": "trades"}}}}])
    assert Path(trained["weights"]).read_bytes() == weights
    for name in ("pgd", "augment", "soft", "before"):
        threats = set(records.read(Path("run/hardened") / name / "fold-0")["threat"].to_pylist())
        assert threats - {"none"} == ({"CTNoise"} if name == "before" else {"CTNoise", "Linf"})
    shown = told_of(Path("run"), Shareable.of(Path("run"))).cases
    assert [(block.set, block.axis.unit) for block in shown.blocks] == [("any pixels", "HU"), ("CT noise", "mAs")]
    assert shown.of == "Change"
