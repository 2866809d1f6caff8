"""Are images tested that the network knows? By their pixels, their patients and their files' names."""

from collections.abc import Iterator
from pathlib import PurePath

from steadyread.cases import Cases, image_marks, patient_marks
from steadyread.checks.rule import rule
from steadyread.checks.sample import Sample
from steadyread.findings import Finding

_MOST = 2_000    # images for training that are looked at
_ELSEWHERE = "Assess other images, or keep the split of its training."


@rule("SR602", "taught images", late=True, needs="weights with a card of their training, or images of the part train",
      remedy=_ELSEWHERE)
def images(sample: Sample) -> Iterator[Finding]:
    """Test images that the network was trained or chosen on, by their pixels: by the card of its training, else by
    the images for training that lie beside them, some thousands at most."""
    tested = _stored(sample, "test")
    known = set(sample.stated.taught.get("images", ())) or set(image_marks(_stored(sample, "train", _MOST)))
    if known:
        yield from _seen("taught images", "are ones", tested, image_marks(tested), known)


@rule("SR603", "taught patients", needs="weights with a card of their training, or images of the part train; and "
      "patients", remedy=_ELSEWHERE)
def patients(sample: Sample) -> Iterator[Finding]:
    """Test images of patients that the network was trained or chosen on."""
    tested = _stored(sample, "test")
    known = set(sample.stated.taught.get("patients", ())) or set(patient_marks(_stored(sample, "train")))
    if known and tested.patients_known:
        yield from _seen("taught patients", "come from patients", tested, patient_marks(tested), known)


@rule("SR604", "taught names", needs="images of the part train", remedy="See whether these are the same images.")
def names(sample: Sample) -> Iterator[Finding]:
    """Test images whose files are called as those for training, folders left out; a place in an array is no name."""
    taught = {PurePath(row.id).name for row in sample.whole.part("train").rows if PurePath(row.id).suffix}
    if taught:
        tested = sample.tested
        seen = [row.id for row in tested.rows if PurePath(row.id).name in taught]
        share = len(seen) / len(tested)
        yield Finding("taught names", "warning" if seen else "ok", f"{len(seen)} of {len(tested)} test images have the "
                      "file name of an image for training", share, tuple(seen))


def _stored(sample: Sample, part: str, most: int | None = None) -> Cases:
    """The images of a part, `most` at most, as they are stored, which marks are made of."""
    cases = sample.tested if part == "test" else sample.whole.part(part)
    cases = cases.pick(range(len(cases))[:most])
    raw = sample.stated.raw
    if raw is None:
        return cases
    ids = {row.id for row in cases.rows}
    return raw.pick(place for place, row in enumerate(raw.rows) if row.id in ids)


def _seen(name: str, told: str, tested: Cases, marks: tuple[str, ...], known: set[str]) -> Iterator[Finding]:
    seen = [row.id for row, mark in zip(tested.rows, marks, strict=True) if mark in known]
    if seen:
        yield Finding(name, "error", f"{len(seen)} of {len(tested)} test images {told} that the network was trained or "
                      "chosen on: every figure flatters", len(seen) / len(tested), tuple(seen))
    else:
        yield Finding(name, "ok", f"none of {len(tested)} test images {told} that it was trained or chosen on")
