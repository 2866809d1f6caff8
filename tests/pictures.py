"""Pictures of reports for the README and the gallery: `python tests/pictures.py RUN=NAME ...`, in light and dark.

    make pictures                                              # the README's, of a demo made anew
    python tests/pictures.py runs/demo=answer runs/ct_noise=gallery-ct-noise
"""

import hashlib
import io
import sys
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from browsing import browser

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
THEMES = ("light", "dark")
WIDTH, HEIGHT = 1280, 850
# What draws the first screen: a picture that was made from others is old.
DRAWN_BY = ("page.html.j2", "*.css", "answer.py", "browser/bar.js", "browser/handle.js")


def state() -> str:
    """SHA-256 over the files that draw the first screen."""
    digest = hashlib.sha256()
    for pattern in DRAWN_BY:
        for path in sorted((ROOT / "src" / "steadyread" / "report").glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def picture(run: Path, name: str) -> None:
    """Writes NAME-light.png and NAME-dark.png: the first screen of a run's report."""
    with browser() as running:
        for theme in THEMES:
            with running.open((run / "report.html").resolve().as_uri(), width=WIDTH, color_scheme=theme) as page:
                page.wait_for_timeout(1500)
                image = Image.open(io.BytesIO(page.screenshot(
                    clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})))
            told = PngInfo()
            told.add_text("drawn-by", state())
            image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(
                IMAGES / f"{name}-{theme}.png", pnginfo=told, optimize=True)


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        folder, _, called = asked.partition("=")
        picture(Path(folder), called)
