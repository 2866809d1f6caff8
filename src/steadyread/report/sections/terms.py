"""The glossary: every term of a page, to which the terms themselves lead."""

from collections.abc import Iterator

from steadyread.metrics.reads import CT_NOISE
from steadyread.report.items import GLOSSARY, Item, Terms
from steadyread.report.networks import Networks
from steadyread.report.section import section
from steadyread.words.glossary import COMMON, NOISE, PIXELS


@section("Glossary", of=Networks, order=840)
def terms(networks: Networks) -> Iterator[Item]:
    """Those of the threats that the run is about."""
    alone = networks.threats == [CT_NOISE]
    noisy = CT_NOISE in networks.threats
    yield Terms(tuple((COMMON | ({} if alone else PIXELS) | (NOISE if noisy else {})).items()), GLOSSARY)
