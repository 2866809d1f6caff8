"""Scripts and data of a page: they are found by their hash, and nothing in data ends a block."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pages import HOSTILE, Page
from steadyread.charts import look
from steadyread.report import inline
from steadyread.report.scripts import BAR, Block, Script, Scripts

NASTY = f"{HOSTILE}<!--<script>\u2028\u2029&amp;]]>\r\n\x00\"'"


@dataclass(frozen=True)
class Item:
    scripts: tuple[Script, ...]
    blocks: tuple[Block, ...]


def test_a_block_holds_its_values_whole_and_can_not_be_ended_by_them() -> None:
    block = Block('a"><b', {NASTY: [NASTY, None, 1.5]})
    text = str(block.html())
    assert not set(re.sub("^<script [^>]*>|</script>$", "", text)) & set("<>&\u2028\u2029")
    page = Page(text)
    assert [tag for tag, _ in page.tags] == ["script"]
    assert json.loads(page.blocks['a"><b']) == {NASTY: [NASTY, None, 1.5]}


def test_what_is_no_number_is_refused_in_a_block() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Block("a", float("nan")).html()


def test_the_policy_names_each_script_once_by_the_hash_of_what_it_runs() -> None:
    items = [Item((BAR,), (Block("a", 1),)), "words", Item((BAR,), (Block("b", 2),))]
    scripts = Scripts.of(items)
    page = Page(str(scripts.html()))
    assert page.scripts == [BAR.text]
    assert page.blocks == {"a": "1", "b": "2"}
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert scripts.policy.endswith(f"; script-src 'sha256-{digest}'")
    assert Scripts.of((), ()).policy.endswith("; script-src 'none'")


def test_a_script_that_would_end_itself_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "a.js").write_text("const end = '</SCRIPT>';")
    monkeypatch.setattr("steadyread.report.scripts.resources.files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"a\.js: a script within a page cannot hold '</script'"):
        _ = Script("a.js").text


def _light(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [0, 1])
@pytest.mark.parametrize("ground", ["paper", "card"])
def test_colours_stand_out_from_both_grounds_in_light_and_dark(ground: str, dark: int) -> None:
    below = _light(look.THEME[ground][dark])
    for name in set(look.THEME) - {"paper", "card", "line"}:
        one, other = sorted((below, _light(look.THEME[name][dark])))
        least = 4.5 if name in ("ink", "soft", "link", "steady", "flipped") else 3
        assert (other + 0.05) / (one + 0.05) >= least, name


def test_every_colour_of_a_page_is_one_of_the_theme() -> None:
    css = inline.colours()
    for name, (light, dark) in look.THEME.items():
        assert css.count(f"--{name}:{light}") >= 2      # on screen and in print
        assert css.count(f"--{name}:{dark}") >= 2       # by the system and by the button


@pytest.mark.skipif(shutil.which("tsc") is None, reason="no TypeScript on this machine: npm install -g typescript")
def test_scripts_hold_what_their_types_say() -> None:
    scripts = sorted((Path(inline.__file__).parent / "browser").glob("*.js"))
    done = subprocess.run(["tsc", "--noEmit", "--checkJs", "--strict", "--target", "es2022",
                           "--lib", "es2022,dom,dom.iterable", *map(str, scripts)], capture_output=True, text=True)
    assert done.stdout == ""
