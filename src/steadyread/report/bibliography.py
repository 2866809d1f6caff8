"""The sources of what a page shows: methods carry the DOI of theirs, and `bibliography.toml` has the paper of a DOI."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from steadyread._version import __version__

_KEPT = ("author", "title", "journal", "volume", "pages", "year")
_SAFE = re.compile(r"[\\{}]|[\x00-\x1f]")


@dataclass(frozen=True)
class Source:
    """What a method is called on the page, and the DOI of the paper that it is from."""

    name: str
    doi: str

    @property
    def paper(self) -> str:
        """`Madry et al. 2018, Towards ...`; of a paper that is not known here nothing."""
        known = _papers().get(self.doi)
        if known is None:
            return ""
        first, *others = (name.partition(",")[0] for name in str(known["author"]).split(" and "))
        return f"{first}{' et al.' if len(others) > 1 else f' and {others[0]}' if others else ''} {known['year']}, " \
               f"{known['title']}"

    def bibtex(self) -> str:
        """The entry of the paper; of one that is not known here its DOI under the method's name."""
        known = _papers().get(self.doi, {"title": _SAFE.sub("", self.name)})
        key = re.sub(r"[^A-Za-z0-9]+", "-", f"{str(known.get('author', self.name)).partition(',')[0]}"
                     f"{known.get('year', '')}").strip("-").lower()
        rows = [f"  {name} = {{{known[name]}}}" for name in _KEPT if name in known]
        return "\n".join([f"@{'article' if 'journal' in known else 'misc'}{{{key},",
                          ",\n".join([*rows, f"  doi = {{{_SAFE.sub('', self.doi)}}}"]), "}"])


def software() -> str:
    """The entry of what wrote the page."""
    return "\n".join(["@software{steadyread,", "  author = {{The steadyread authors}},",
                      "  title = {steadyread: how steady is an imaging classifier's read?},",
                      f"  version = {{{__version__}}}", "}"])


@cache
def _papers() -> Mapping[str, Mapping[str, str | int]]:
    return tomllib.loads((resources.files("steadyread.report") / "bibliography.toml").read_text("utf-8"))
