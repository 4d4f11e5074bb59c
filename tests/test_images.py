"""Image files: taken over where they are the same, drawn anew where not, and a failure is never passed over."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Picture

from perception.processes import ThisProcess
from perception.publish import drawing, images
from perception.publish.drawing import Box, Drawing, Group, Text
from perception.publish.images import Image, write_images

FILES = ("map.svg", "map.png", "map@2x.png", "map.json")


def image(text: str = "Swat", path: str = "wave/map", made_at: str = "2026-01-01", **provenance: object) -> Image:
    """A small drawing with one word on it."""
    made = Drawing(
        height=60,
        groups=(Group(0, 0, (Text(40, 40, text),)),),
        description=text,
        facts={"Title": f"Map of {text}", "Description": text, "Source": "Somebody"},
        simulated=False,
        middle=(420, 30),
    )
    return Image(path, made, {"title": text, **provenance, "made_at": made_at})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the drawings that PNG files are drawn of, in order."""
    found: list[str] = []
    pngs = drawing.pngs

    def counted(made: Drawing) -> tuple[bytes, bytes]:
        found.append(made.facts["Title"])
        return pngs(made)

    monkeypatch.setattr(drawing, "pngs", counted)
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return site(tmp_path / "old", image())


def site(root: Path, *all_of: Image, before: Path | None = None) -> Path:
    """A folder with the files of images."""
    (root / "wave").mkdir(parents=True)
    for drawn in write_images(all_of, root, before or root.with_name("none"), ThisProcess()):
        drawn.result()
    return root


def test_the_same_image_is_taken_over_and_not_drawn_again(old, tmp_path, drawn):
    new = site(tmp_path / "new", image(), before=old)
    assert drawn == []
    assert [(new / "wave" / name).read_bytes() for name in FILES] == [
        (old / "wave" / name).read_bytes() for name in FILES
    ]


@pytest.mark.parametrize("another", [image("Dir"), replace(image(), drawing=replace(image().drawing, height=61))])
def test_a_changed_image_is_drawn_anew(old, tmp_path, drawn, another):
    new = site(tmp_path / "new", another, before=old)
    assert drawn == [another.drawing.facts["Title"]]
    with Picture.open(new / "wave" / "map@2x.png") as picture:
        assert picture.text["Title"] == another.drawing.facts["Title"]
        assert picture.size == (1680, 2 * another.drawing.height)


def test_a_source_that_changed_is_drawn_anew_although_it_looks_the_same(old, tmp_path, drawn):
    """The files hold the source too, and nobody may cite the old one."""
    facts = {**image().drawing.facts, "Source": "Somebody else"}
    new = site(tmp_path / "new", replace(image(), drawing=replace(image().drawing, facts=facts)), before=old)
    with Picture.open(new / "wave" / "map.png") as picture:
        assert picture.text["Source"] == "Somebody else"


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "another"])
def test_an_old_file_that_is_not_what_was_drawn_is_not_taken_over(old, tmp_path, drawn, damage):
    file = old / "wave" / "map@2x.png"
    if damage == "gone":
        file.unlink()
    elif damage == "half":
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        assert images.FINGERPRINT.encode() in file.read_bytes()
    else:
        other = site(tmp_path / "other", image("Dir")) / "wave" / "map@2x.png"
        file.write_bytes(b"" if damage == "empty" else other.read_bytes())
    drawn.clear()
    new = site(tmp_path / "new", image(), before=old)
    assert drawn == ["Map of Swat"]
    with Picture.open(new / "wave" / "map@2x.png") as picture:
        assert picture.text["Title"] == "Map of Swat"


def test_another_renderer_draws_all_anew(old, tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(images, "_renderer", lambda: "matplotlib of tomorrow")
    site(tmp_path / "new", image(), before=old)
    assert drawn == ["Map of Swat"]


def test_the_time_of_making_stays_while_nothing_else_changes(old, tmp_path):
    def made_at(root: Path) -> str:
        return str(json.loads((root / "wave" / "map.json").read_text(encoding="utf-8"))["made_at"])

    assert made_at(old) == "2026-01-01"
    assert made_at(site(tmp_path / "same", image(made_at="2027-02-02"), before=old)) == "2026-01-01"
    other = image(made_at="2027-02-02", wave_version="1")
    assert made_at(site(tmp_path / "new", other, before=old)) == "2027-02-02"
    redrawn = replace(image(made_at="2027-02-02"), drawing=replace(image().drawing, height=61))
    assert made_at(site(tmp_path / "redrawn", redrawn, before=old)) == "2027-02-02"
    (old / "wave" / "map.json").write_text("not JSON", encoding="utf-8")
    assert made_at(site(tmp_path / "damaged", image(made_at="2027-02-02"), before=old)) == "2027-02-02"


@pytest.mark.parametrize(("anchor", "left", "right"), [("start", 400, 440), ("middle", 380, 420), ("end", 360, 400)])
def test_a_text_stands_on_its_place_above_every_shape(anchor, left, right):
    """Black on a yellow box that comes after it, from or around or up to x = 400, and on the line y = 40."""
    shapes = (Text(400, 40, "HHHH", size=14, colour="#000000", anchor=anchor), Box(300, 20, 240, 40, "#ffff00"))
    content, _ = drawing.pngs(replace(image().drawing, groups=(Group(0, 0, shapes),)))
    with Picture.open(io.BytesIO(content)) as picture:
        bounds = picture.convert("L").crop((310, 25, 530, 55)).point(lambda level: 255 * (level < 100)).getbbox()
    assert bounds is not None
    seen = (bounds[0] + 310, bounds[1] + 25, bounds[2] + 310, bounds[3] + 25)
    assert seen == pytest.approx((left, 30, right, 40), abs=3)


def test_an_image_that_cannot_be_drawn_stops_the_work(tmp_path):
    broken = replace(image().drawing, groups=(Group(0, 0, (Text(0, 0, "x", colour="no colour"),)),))
    with pytest.raises(ValueError, match="no colour"):
        site(tmp_path / "new", Image("wave/map", broken, {}))
