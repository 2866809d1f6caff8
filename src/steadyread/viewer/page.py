"""The viewer's page and its files: the scripts and the look of the report, and its own."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

from markupsafe import Markup

from steadyread._version import __version__
from steadyread.report.inline import colours
from steadyread.viewer.shown import Shown

_STYLES = (("report", "report.css"), ("report", "browser/cases.css"), ("viewer", "viewer.css"))
_SHARED = ("bar", "case_data", "case_scatter", "case_walk", "case_viewer")     # scripts of the report
_SCRIPTS = (*(("report", f"browser/{name}.js") for name in _SHARED),
            *(("viewer", f"{name}.js") for name in ("planes", "case_table", "viewer")))


@dataclass(frozen=True)
class File:
    """A file as it is served."""

    content: str
    kind: str


@cache
def files() -> dict[str, File]:
    """The files that the page loads, by name."""
    found = {"viewer.css": File("\n".join([colours(), *(_text(*each) for each in _STYLES)]), "text/css")}
    return found | {path.rpartition("/")[2]: File(_text(room, path), "text/javascript") for room, path in _SCRIPTS}


def page(shown: Shown) -> str:
    """The page. Whatever is shown is asked for by its scripts, and is text there, never markup."""
    title = " and ".join(dict.fromkeys(each.run.name for each in shown.networks))
    scripts = Markup("").join(Markup('<script src="static/{}" defer></script>\n').format(path.rpartition("/")[2])
                              for _, path in _SCRIPTS)
    return str(Markup(_PAGE).format(title=title, scripts=scripts, version=__version__))


def _text(room: str, path: str) -> str:
    return (resources.files(f"steadyread.{room}") / path).read_text("utf-8")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: steadyread</title>
<link rel="stylesheet" href="static/viewer.css">
<link rel="icon" href="data:,">
</head>
<body class="viewing">
<header class="viewer-bar"><b>steadyread</b> <span class="run">{title}</span> <span id="networks"></span>
<label class="reader">Reader <input id="reader" maxlength="60" autocomplete="off"></label>
<a id="export" href="marks.csv" download="marks.csv">Export marks</a>
<button id="theme" type="button" aria-label="Light or dark" hidden>◐</button></header>
<main id="viewer"><noscript><p>The viewer needs scripts; the report of a run, report.html, does without.</p></noscript>
</main>
<footer>steadyread {version}. A measurement of a model, not a medical device: it must not decide on anyone's care.
</footer>
{scripts}</body>
</html>
"""
