"""What the rules say of strangers' networks on real images, as docs/strangers.md has it; where the data is."""

from pathlib import Path

import pytest

from steadyread.jobs.preflight import check_study
from steadyread.study import override, read_study

ROOT = Path(__file__).resolve().parents[1]
FEW = {"brain_b": ("data.limit=150",), "brain_a": ()}     # tell the same as all 253 in half the time
BEST = 'model.weights="../shared/data/models/torch-brain-mri-a/best_model.pth"'


@pytest.mark.slow
@pytest.mark.parametrize(("study", "misstated", "codes"), [
    ("brain_b", (), set()),
    ("brain_b", ('model.normalise="unit"',), {"SR103"}),
    ("brain_b", ('model.normalise="none"',), {"SR103", "SR105", "SR303"}),
    ("brain_b", ('preparation.fit="cut"',), {"SR202", "SR402"}),
    ("brain_b", ('model.output="probabilities"',), {"SR301"}),
    ("brain_b", ('model.classes=["yes", "no"]',), {"SR401"}),
    ("brain_a", (), set()),
    ("brain_a", ('model.normalise="none"',), {"SR103"}),
    ("brain_a", ('model.output="logit"',), {"SR301", "SR303"}),
    ("brain_a", (BEST,), {"SR304", "SR402"}),
])
def test_a_misstatement_of_a_strangers_network_is_seen_and_the_truth_gives_no_doubt(
        study, misstated, codes, shared_data, monkeypatch):
    shared_data("brain-mri")
    shared_data("models")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("steadyread.jobs.preflight.seconds_of", lambda *_: 300.0)     # on a busy machine too
    stated = read_study(ROOT / f"studies/strangers/{study}.toml", *map(override, (*FEW[study], *misstated)))
    found = check_study(stated.rooted(ROOT.parent / "shared/data"))
    fired = {each.get("code", each["check"]) for each in found["findings"] if each["severity"] in ("error", "warning")}
    assert codes <= fired
    assert codes or not fired
