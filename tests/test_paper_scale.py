"""[B] at the scale of the paper (`--scale paper`), whole and cut to toy size: but for numbers it is what one runs."""

import json
from pathlib import Path

import pytest

from golden_rows import nodules
from pages import Page, lay_out_alone
from steadyread import records
from steadyread.jobs.run import carry_out
from steadyread.study import Study, keyed, read_study
from test_rated_patches import patches

pytest.importorskip("nibabel")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("paper scale")]
STUDY = Path(__file__).resolve().parents[1] / "studies" / "ct_noise.toml"
DRAWN, SEARCHED = ("random", "inflated"), ("pooled", "paper", "paper_hu", "rings", "plausible")
TRIED = {name: {"draws": 3} for name in DRAWN} | {name: {"starts": 2} for name in SEARCHED}
CUT = {"data": {"options": {"box_mm": 8, "scan_table": None}}, "split": {"folds": 2, "test_share": 0.3},
       "model": {"arguments": {"width": 0.05}}, "training": {"epochs": 2},
       "noise": {"mas": [1, 100], "counted": 10, "pairs": 2, "converged": 2, "test": TRIED,
                 "train": {name: TRIED[name] for name in ("random", "paper", "rings", "plausible")},
                 "variants": {"random": {"draws": 3, "mas": [100]}}, "seeing": {"images": 4, "shown": 1},
                 "hardening": {"mas": [0.1], "epochs": 1, "auc_stop": 0.9, "judged": {
                     "test": {name: TRIED[name] for name in ("random", "paper", "rings", "plausible")},
                     "train": {name: TRIED[name] for name in ("random", "paper", "rings")}}}}}


def toy(data: Path) -> Study:
    """Two folds and two of the variants, hardened by the main method alone."""
    study = read_study(STUDY, keyed(scale="paper", data__path=str(data)), CUT)
    assert study.noise is not None
    assert study.noise.hardening is not None
    hardening = study.noise.hardening.model_copy(update={"compare": {}})
    return study.model_copy(update={"noise": study.noise.model_copy(update={"hardening": hardening}), "variants": {
        name: study.variants[name] for name in ("shallower", "five_class")}})


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nodules and the patches that their readers rated."""
    place = tmp_path_factory.mktemp("paper")
    nodules(place / "set")
    patches(place, [(f"1.{at}", at, ((1, 2, 1), (5, 4, 5), (2, 2, 1), (4, 4, 3))[at % 4], 0) for at in range(40)])
    (place / "patches").rename(place / "lidc-patches-2d")
    return place


@pytest.fixture(name="run", scope="module")
def _run(place: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        lay_out_alone(patch)
        return carry_out(toy(place / "set"), place / "out").folder


def test_the_papers_scale_works_whole(run: Path) -> None:
    """Training, random and optimised noise, two rounds of Algorithm 2 with Algorithm 1, and the report of it all."""
    summary = json.loads((run / "summary.json").read_text())
    tried = {row["attack"].removesuffix("_ct_noise") for row in summary["rows"]}
    assert tried == {*DRAWN, *SEARCHED}
    told = [json.loads(path.read_text()) for path in (run / "hardened/adaptive").glob("fold-*/training.json")]
    assert {(one["noise"], *one["mas"]) for one in told} == {("paper", 0.1)}
    assert any(number["found"] and number["kept"] for one in told for number in one["rounds"])
    hunt = json.loads((run / "hardened/adaptive/fold-0/round-1/hunt.json").read_text())
    assert (hunt["kind"], hunt["steps"], hunt["window_hu"]) == ("paper", 10, [-1000.0, 400.0])
    assert summary["hardening"]["attack"] == "paper_ct_noise"      # what was taught is told first
    rows = records.read(run / "hardened/before/fold-0").to_pylist()
    assert {row["attack"] for row in rows} >= {"clean", "random_ct_noise", "paper_ct_noise", "rings_ct_noise"}


def test_its_page_says_where_it_is_not_the_paper(run: Path) -> None:
    page = Page((run / "report.html").read_text()).text
    for words in ("As printed, as here", "the mean of the readers' ratings", "8 x 8 x 8 mm", "Multi-crop Net",
                  "Padding of the image", "taught by [B] as printed, judged by [B] as printed, K = 2",
                  "parameters than the original"):
        assert words in page, words


def test_the_hour_of_it_trains_attacks_hardens_and_reports(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--scale paper_hour`: one fold, random noise and [B]'s own at K = 5, a round of Algorithm 2, and the page."""
    lay_out_alone(monkeypatch)
    cut = {**{name: CUT[name] for name in ("data", "model")}, "training": {"epochs": 1}, "split": {"test_share": 0.3},
           "attacks": {"limit": 6}, "noise": {"hardening": {"mas": [0.1], "epochs": 1, "auc_stop": 0.9}}}
    run = carry_out(read_study(STUDY, keyed(scale="paper_hour", data__path=str(place / "set")), cut),
                    place / "hour").folder
    summary = json.loads((run / "summary.json").read_text())
    assert {row["attack"] for row in summary["rows"]} == {"random_ct_noise", "paper_ct_noise"}
    assert {row["mas"] for row in summary["rows"]} == {100.0}
    hunt = json.loads((run / "hardened/adaptive/fold-0/round-1/hunt.json").read_text())
    assert (hunt["kind"], hunt["steps"], hunt["starts"]) == ("paper", 10, 1)
    assert "taught by [B] as printed, judged by [B] as printed, K = 5" in Page((run / "report.html").read_text()).text
