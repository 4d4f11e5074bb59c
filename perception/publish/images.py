"""Image files of drawings: SVG, PNG at 1x and 2x, and a JSON file that says what they were made from.

Drawing PNG files takes longest of all that a site needs, so a file of the site before is taken over where it was drawn
from the same document by the same code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from perception.files import link_or_copy
from perception.publish import drawing
from perception.publish.drawing import Drawing

FINGERPRINT = "Fingerprint"
MADE_AT = "made_at"
_END_OF_PNG = b"IEND\xaeB`\x82"
_SIZES = (".png", "@2x.png")


@dataclass(frozen=True)
class Image:
    """A drawing, where its files go (relative to the site, without the ending), and what it was made from."""

    path: str
    drawing: Drawing
    provenance: Mapping[str, Any]


def write_images(images: Iterable[Image], root: Path, before: Path, workers: Executor) -> list[Future[None]]:
    """Write the files of all images under `root`; `before` is the site that they follow, which need not be there.

    `workers` draw PNG files: they are there when all futures that are returned have a result.
    """
    drawn = []
    for image in images:
        document = drawing.svg(image.drawing)
        _beside(root, image.path, ".svg").write_text(document, encoding="utf-8")
        sealed = "\n".join([_renderer(), document, json.dumps(dict(image.drawing.facts))])
        seal = hashlib.sha256(sealed.encode()).hexdigest()
        _write_provenance(image, seal, root, before)
        if not _taken_over(image.path, seal, root, before):
            facts = {**image.drawing.facts, FINGERPRINT: seal}
            made = replace(image.drawing, facts=facts)
            drawn.append(workers.submit(_write_pngs, made, _beside(root, image.path, "")))
    return drawn


def _write_pngs(made: Drawing, place: Path) -> None:
    for ending, content in zip(_SIZES, drawing.pngs(made), strict=True):
        place.with_name(place.name + ending).write_bytes(content)


def _beside(root: Path, path: str, ending: str) -> Path:
    place = root / path
    return place.with_name(place.name + ending)


@cache
def _renderer() -> str:
    """What draws PNG files, in its present version."""
    import matplotlib
    import PIL

    source = hashlib.sha256(Path(drawing.__file__).read_bytes()).hexdigest()
    return f"matplotlib {matplotlib.__version__}, pillow {PIL.__version__}, {source}"


def _taken_over(path: str, seal: str, root: Path, before: Path) -> bool:
    """Whether both PNG files of the site before were drawn from the same document and now stand here too."""
    old = [_beside(before, path, ending) for ending in _SIZES]
    if any(_seal(file) != seal for file in old):
        return False
    for file, ending in zip(old, _SIZES, strict=True):
        link_or_copy(file, _beside(root, path, ending))
    return True


def _seal(file: Path) -> str | None:
    """What a PNG file was drawn from; None of one that is not there or not whole: the seal stands before the pixels."""
    from PIL import Image as Picture

    try:
        if not file.read_bytes().endswith(_END_OF_PNG):
            return None
        with Picture.open(file) as picture:
            return picture.info.get(FINGERPRINT)
    except OSError:
        return None


def _write_provenance(image: Image, seal: str, root: Path, before: Path) -> None:
    """What an image was made from; where that and the picture are as before, so is the time at which it was made."""
    said = {**image.provenance, FINGERPRINT.lower(): seal}
    try:
        old = json.loads(_beside(before, image.path, ".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = {}
    if {**old, MADE_AT: None} == {**said, MADE_AT: None}:
        said = old
    text = json.dumps(said, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    _beside(root, image.path, ".json").write_text(text, encoding="utf-8")
