"""Releases and exports of a made-up site: what never changes does not, and what was altered is found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner

from perception.errors import InputError
from perception.intake.wave_file import ACROSS_WAVES
from perception.project import PROJECT_VARIABLE, Project
from perception.publication_record import forget_publication, record_publication
from perception.publish import export as export_module
from perception.publish import maps
from perception.publish import release as release_module
from perception.publish.downloads import write_downloads
from perception.publish.embeds import PREVIEW_ADDRESS, PREVIEW_NOTE, Embed, write_embed, write_index
from perception.publish.export import PREVIEW_WARNING, export
from perception.publish.page_templates import page_environment
from perception.publish.release import Release, newest_release, release
from pipelines.cli import app
from tests.test_downloads import download
from tests.test_embeds import HOSTILE, Tags, embed, panel_page

ADDRESS = "https://surveys.example/kp/"
DAY = date(2026, 3, 1)
KP: dict[str, Any] = {
    "wave": "kp-2024",
    "title": "KP 2024",
    "wave_version": "aa",
    "simulated": True,
    "citation": "Bureau (2024)",
    "licence": "CC0-1.0",
}


def figures(simulated: bool = True) -> list[Embed]:
    ranking = {"path": "kp-2024/satisfied-ranking", "kind": "ranking", "page": "kp-2024/satisfied-ranking.html"}
    card = {"path": "districts/kp-swat-card", "kind": "card", "page": "districts/kp-swat.html", "title": "Swat"}
    card |= {"data": "districts/kp-swat", "wave": "", "indicator": "", "district": "kp-swat"}
    return [embed(simulated=simulated, **changes) for changes in ({}, ranking, card)]


def make_site(project: Project, made: list[Embed], waves: list[dict[str, Any]], made_at: str = "09:00") -> None:
    """A site with the files that the embeds name, as `perception run` would leave it."""
    site, templates = project.site, page_environment()
    shutil.rmtree(site, ignore_errors=True)
    for one in made:
        (site / one.path).parent.mkdir(parents=True, exist_ok=True)
        write_embed(one, site, templates)
        for ending in (".svg", ".png", "@2x.png"):
            (site / f"{one.path}{ending}").write_bytes(b"image " + one.path.encode())
        about = json.dumps({"title": one.title, "made_at": made_at})
        (site / f"{one.path}.json").write_text(about)
        write_downloads(download(simulated=one.simulated, address=PREVIEW_ADDRESS + one.page), site / one.data)
        (site / one.page).write_text(panel_page(one), encoding="utf-8")
    (site / "index.html").write_text("<title>Home</title>", encoding="utf-8")
    write_index(made, waves, site)
    published(project)


def published(project: Project) -> None:
    """As if a publication had just made what is there."""
    project.internal.mkdir(parents=True, exist_ok=True)
    record_publication(project, "")


def make_tables(project: Project, value: float = 0.5) -> None:
    project.public_warehouse.unlink(missing_ok=True)
    with duckdb.connect(str(project.public_warehouse)) as connection:
        connection.execute(f"CREATE TABLE published_estimates AS SELECT * FROM (VALUES ('a', 0.1), ('b', {value}))")
    published(project)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.reference.mkdir(parents=True)
    make_site(made, figures(), [KP])
    return made


def first(project: Project) -> Release:
    return release(project, ADDRESS, "First release", DAY)


def second(project: Project) -> Release:
    make_site(project, figures(simulated=False), [{**KP, "wave_version": "bb", "simulated": False}])
    return release(project, None, "Data of May", date(2026, 5, 1))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(project: Project, address: str | None = None, note: str = "More") -> list[str]:
    """What is said against a release, of which nothing is left behind."""
    before = contents(project.releases) if project.releases.exists() else {}
    with pytest.raises(InputError) as caught:
        release(project, address, note, DAY)
    assert (contents(project.releases) if project.releases.exists() else {}) == before
    return [str(problem) for problem in caught.value.problems]


def log(project: Project) -> dict[str, Any]:
    return json.loads((project.releases / "revisions.json").read_text(encoding="utf-8"))


def test_a_release_is_the_site_under_its_own_address(project: Project) -> None:
    made = first(project)
    assert made.folder == project.releases / "v1"
    assert newest_release(project) == made.folder
    here = contents(made.folder)
    assert here.keys() - contents(project.site).keys() == {"SHA256SUMS", "revision.json"}
    for place, address in (("v1", f"{ADDRESS}v1/"), ("latest", f"{ADDRESS}latest/")):
        files = contents(project.releases / place)
        assert not [name for name, content in files.items() if PREVIEW_ADDRESS.encode() in content]
        answer = json.loads(files["kp-2024/satisfied-map-oembed.json"])
        assert Tags(answer["html"]).only("iframe")["src"] == f"{address}kp-2024/satisfied-map-embed.html"
        assert json.loads(files["embeds.json"])["address"] == address
        page = files["kp-2024/satisfied.html"].decode()
        snippet = "".join(Tags(page).texts["textarea"])
        assert f'src="{address}kp-2024/satisfied-map-embed.html"' in snippet
        assert PREVIEW_NOTE not in page
    assert f"The newest one is always at {ADDRESS}latest/" in here["kp-2024/satisfied.html"].decode()
    assert "always show the newest" in (project.releases / "latest/kp-2024/satisfied.html").read_text()


def test_a_workbook_has_the_address_of_the_release_and_is_otherwise_the_same(project: Project) -> None:
    first(project)
    files = [folder / "kp-2024/satisfied.xlsx" for folder in (project.site, project.releases / "v1")]
    before, after = (CalamineWorkbook.from_path(str(file)) for file in files)
    assert before.get_sheet_by_name("Data").to_python() == after.get_sheet_by_name("Data").to_python()
    about = [dict(row[:2] for row in book.get_sheet_by_name("About").to_python()) for book in (before, after)]
    assert about[0]["Address"] == f"{PREVIEW_ADDRESS}kp-2024/satisfied-ranking.html"
    assert about[1] == {**about[0], "Address": f"{ADDRESS}v1/kp-2024/satisfied-ranking.html"}
    with zipfile.ZipFile(files[1]) as archive:
        assert archive.testzip() is None


def test_checksums_are_those_that_sha256sum_finds(project: Project) -> None:
    made = first(project)
    for folder in (made.folder, project.releases / "latest"):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
        listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
        assert listed == contents(folder).keys() - {"SHA256SUMS"}


def test_a_version_can_only_be_read(project: Project) -> None:
    made = first(project)
    assert {path.stat().st_mode & 0o222 for path in (made.folder, *made.folder.rglob("*"))} == {0}


def test_a_second_release_leaves_the_first_as_it_was(project: Project) -> None:
    first(project)
    before, entry = contents(project.releases / "v1"), log(project)["revisions"][0]
    made = second(project)
    assert made.version == 2
    assert contents(project.releases / "v1") == before
    assert log(project)["revisions"][0] == entry
    assert log(project)["address"] == ADDRESS
    latest = (project.releases / "latest/kp-2024/satisfied-map-embed.html").read_text(encoding="utf-8")
    assert maps.SIMULATED not in latest
    assert json.loads((project.releases / "latest/revision.json").read_text())["version"] == 2


def test_the_log_says_what_changed(project: Project) -> None:
    first(project)
    swat = {**KP, "wave": "punjab-2024", "title": HOSTILE[0]}
    make_site(project, figures(), [{**KP, "wave_version": "bb"}, swat])
    (project.site / "new.html").write_text("new")
    (project.site / "districts/kp-swat-card.svg").unlink()
    published(project)
    release(project, None, HOSTILE[1], date(2026, 5, 1))
    make_site(project, figures(), [swat])
    release(project, ADDRESS.rstrip("/"), "KP out", date(2026, 6, 1))
    one, two, three = log(project)["revisions"]
    assert (two["version"], two["date"]) == (2, "2026-05-01")
    assert one["changes"]["waves"] == {"added": ["kp-2024"], "changed": [], "removed": []}
    assert two["changes"]["waves"] == {"added": ["punjab-2024"], "changed": ["kp-2024"], "removed": []}
    assert two["changes"]["files"] == {"added": 1, "changed": 1, "removed": 1}  # embeds.json names the waves
    assert three["changes"]["waves"] == {"added": [], "changed": [], "removed": ["kp-2024"]}
    assert three["changes"]["files"] == {"added": 1, "changed": 1, "removed": 1}
    page = Tags((project.releases / "revisions.html").read_text(encoding="utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [link for link in links if link.endswith("index.html")] == [
        "latest/index.html",
        "v3/index.html",
        "v2/index.html",
        "v1/index.html",
    ]
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert HOSTILE[1] in page.texts["p"]


def test_simulated_waves_and_preview_boundaries_are_said(project: Project) -> None:
    (project.site / "index.html").write_text(f"<p>{maps.PREVIEW_NOTE}</p>")
    published(project)
    made = first(project)
    assert len(made.warnings) == 2
    assert maps.SIMULATED in (project.releases / "revisions.html").read_text()
    later = second(project)
    assert later.warnings == ()
    assert log(project)["revisions"][0]["simulated"] is True
    assert log(project)["revisions"][1]["simulated"] is False


def test_without_a_site_an_address_and_a_note_all_three_are_asked_for(tmp_path: Path) -> None:
    said = refused(Project(tmp_path), note=" \u202e")
    assert len(said) == 3
    assert "there is no site to release" in said[0]
    assert "the first release needs one" in said[1]
    assert "note: says nothing" in said[2]


@pytest.mark.parametrize(
    "address",
    [
        "http://x.example/",
        "https://x",
        "https://x.example/?a=b",
        'https://x.example/"><script>',
        "https://u:p@x.example/",
        "https://x.example/a&b/",
        "https://x.example/a b",
        "",
    ],
)
def test_an_address_that_cannot_stand_everywhere_is_refused(project: Project, address: str) -> None:
    (said,) = refused(project, address)
    assert "is no https address that can be used" in said


@pytest.mark.parametrize("since", ["a publication failed", "a page was changed", "the tables are gone"])
def test_only_what_a_whole_publication_left_is_released(project: Project, since: str) -> None:
    make_tables(project)
    if since == "a publication failed":
        forget_publication(project)
    elif since == "a page was changed":
        (project.site / "kp-2024/satisfied.html").write_text("<title>Mine</title>")
    else:
        project.public_warehouse.unlink()
    (said,) = refused(project, ADDRESS)
    assert "is not what `perception run` leaves" in said
    assert "then release" in said


def test_the_address_stays(project: Project) -> None:
    first(project)
    (said,) = refused(project, "https://elsewhere.example/")
    assert "people have embedded" in said


def test_nothing_new_makes_no_version(project: Project) -> None:
    make_tables(project)
    first(project)
    make_site(project, figures(), [KP], made_at="17:00")
    make_tables(project)
    (said,) = refused(project)
    assert said.startswith("version 1: nothing has changed since")


def test_a_public_table_that_changed_is_something_new(project: Project) -> None:
    make_tables(project)
    first(project)
    make_tables(project, value=0.51)
    made = release(project, None, "Corrected", DAY)
    assert made.revision["changes"]["files"] == {"added": 0, "changed": 1, "removed": 0}
    with duckdb.connect(str(project.releases / "latest/perception.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT max(col1) FROM published_estimates").fetchone() == (Decimal("0.51"),)


def tamper(path: Path, content: str) -> None:
    writable(path.parent)
    path.write_text(content)


def writable(folder: Path) -> Path:
    """A version as somebody makes it who means to change it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    return folder


def test_whatever_was_altered_is_named_at_once(project: Project) -> None:
    first(project)
    second(project)
    releases = project.releases
    tamper(releases / "v1/index.html", "<title>Mine</title>")
    tamper(releases / "v1/added.html", "x")
    (writable(releases / "v2/kp-2024") / "satisfied.csv").unlink()
    one, two = refused(project)
    assert one.startswith("data/releases/v1: added: added.html; altered: index.html")
    assert two.startswith("data/releases/v2: missing: kp-2024/satisfied.csv")


def test_new_checksums_do_not_cover_what_was_altered(project: Project) -> None:
    first(project)
    second(project)
    for version in ("v1", "v2"):
        folder = project.releases / version
        saved = (folder / "SHA256SUMS").read_text()
        tamper(folder / "index.html", "<title>Mine</title>")
        digest = subprocess.run(["sha256sum", "index.html"], cwd=folder, capture_output=True, text=True).stdout.strip()
        tamper(folder / "SHA256SUMS", re.sub(".*  index.html", digest, saved))
        (said,) = refused(project)
        expected = {"v1": "v1: is not the version that v2 followed", "v2": "does not say what the versions say"}
        assert expected[version] in said
        tamper(folder / "index.html", "<title>Home</title>")
        tamper(folder / "SHA256SUMS", saved)
        assert "nothing has changed" in refused(project)[0]


def test_a_half_a_missing_and_a_forgotten_version_are_refused(project: Project) -> None:
    first(project)
    second(project)
    shutil.copytree(project.releases / "v1", project.releases / "v4")
    (writable(project.releases / "v4") / "SHA256SUMS").unlink()
    shutil.rmtree(writable(project.releases / "v1"))
    said = refused(project)
    assert any("v1: is not there, but a later version is" in line for line in said)
    assert any("v3: is not there, but a later version is" in line for line in said)
    assert any("v4: has no readable SHA256SUMS" in line for line in said)


def test_a_newest_version_that_was_taken_away_is_missed(project: Project) -> None:
    first(project)
    second(project)
    shutil.rmtree(writable(project.releases / "v2"))
    (said,) = refused(project)
    assert "names 2 versions, of which 1 are there" in said


@pytest.mark.parametrize("number", range(1, 9))
def test_a_release_that_dies_anywhere_leaves_the_old_state_or_is_made_good(
    project: Project, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    first(project)
    before = contents(project.releases)
    make_site(project, figures(), [{**KP, "wave_version": "bb"}])
    calls, real = [], release_module.os.replace

    def dies(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == number:
            raise OSError("the machine stopped")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(release_module.os, "replace", dies)
        if number > 7:  # two for the log, one for the version, two for latest, two for the log
            release(project, None, "Second", DAY)
        else:
            with pytest.raises(OSError, match="the machine stopped"):
                release(project, None, "Second", DAY)
    if not (project.releases / "v2").exists():
        kept = contents(project.releases)
        assert {name: kept[name] for name in before} == before
        assert release(project, None, "Second", DAY).version == 2
    else:
        with pytest.raises(InputError, match="version 2: nothing has changed since"):
            release(project, None, "Third", DAY)
    assert [one["version"] for one in log(project)["revisions"]] == [1, 2]
    assert json.loads((project.releases / "latest/revision.json").read_text())["version"] == 2
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=project.releases / "latest", check=True)
    names = {path.name for path in project.releases.iterdir()}
    assert names == {"v1", "v2", "latest", "revisions.json", "revisions.html"}


def test_a_copy_that_stops_half_way_leaves_the_old_state(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first(project)
    before = contents(project.releases)
    make_site(project, figures(), [{**KP, "wave_version": "bb"}])
    real = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "satisfied-map.png":
            raise OSError("no space left")
        return real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="no space left"):
            release(project, None, "Second", DAY)
    kept = contents(project.releases)
    assert {name: kept[name] for name in before} == before
    assert release(project, None, "Second", DAY).version == 2
    assert not list(project.releases.glob(".*"))


def test_while_a_run_publishes_nothing_is_released(project: Project) -> None:
    with project.lock(ACROSS_WAVES):
        (said,) = refused(project, ADDRESS)
    assert "a run or another release is at work" in said


def test_an_altered_latest_is_made_again(project: Project) -> None:
    first(project)
    good = contents(project.releases / "latest")
    (project.releases / "latest/index.html").write_text("<title>Mine</title>")
    with pytest.raises(InputError, match="nothing has changed"):
        release(project, None, "More", DAY)
    assert contents(project.releases / "latest") == good


# Exports


def test_an_export_of_a_release_has_everything_a_brief_needs(project: Project, tmp_path: Path) -> None:
    first(project)
    made = export(project, tmp_path / "brief", waves=["kp-2024"], kinds=["map", "ranking"])
    assert (made.figures, made.version) == (2, 1)
    files = contents(tmp_path / "brief")
    data = {f"kp-2024/satisfied{ending}" for ending in (".csv", ".xlsx", ".json")}
    images = {f"kp-2024/satisfied-{kind}{end}" for kind in ("map", "ranking") for end in (".svg", ".png", "@2x.png")}
    assert files.keys() == data | images | {"brief.md", "brief.html", "citations.txt"}
    assert files["kp-2024/satisfied.xlsx"] == (project.releases / "v1/kp-2024/satisfied.xlsx").read_bytes()
    page = Tags(files["brief.html"].decode())
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["src"] for image in shown] == ["kp-2024/satisfied-map@2x.png", "kp-2024/satisfied-ranking@2x.png"]
    assert {image["alt"] for image in shown} == {"Map of 35 districts."}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert f"{ADDRESS}v1/kp-2024/satisfied.html" in links
    assert page.texts["p"].count(maps.SIMULATED_NOTE) == 2
    assert files["brief.md"].decode().count("![Map of 35 districts.](kp-2024/") == 2
    cited = files["citations.txt"].decode().splitlines()
    assert cited == ["SIMULATED DATA: Bureau (2024) (licence: CC0-1.0)", "", f"Figures: version 1, {ADDRESS}v1/"]


def test_a_brief_has_what_is_simulated_last(project: Project, tmp_path: Path) -> None:
    newer, older = figures()[2], replace(figures(simulated=False)[2], path="kp-2018/kp-swat-card", title="Swat then")
    make_site(project, [newer, older], [KP])
    export(project, tmp_path / "brief", districts=["kp-swat"])
    said = (tmp_path / "brief/brief.md").read_text(encoding="utf-8")
    assert re.findall("^## (.*)$", said, re.MULTILINE) == ["Swat then", "Swat"]


def test_without_a_release_the_brief_warns(project: Project, tmp_path: Path) -> None:
    made = export(project, tmp_path / "brief", districts=["kp-swat"])
    assert (made.figures, made.version) == (1, None)
    files = contents(tmp_path / "brief")
    assert PREVIEW_WARNING in files["brief.html"].decode()
    assert PREVIEW_WARNING in files["brief.md"].decode()
    assert PREVIEW_WARNING in files["citations.txt"].decode()
    written = b"".join(files[name] for name in ("brief.html", "brief.md", "citations.txt"))
    assert PREVIEW_ADDRESS.encode() not in written


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_what_a_brief_is_made_of(project: Project, tmp_path: Path, text: str) -> None:
    names = ("title", "subtitle", "headline", "caption", "alt", "source", "citation", "licence")
    skeletons = []
    for words in ("harmless", text):
        make_site(project, [embed(**dict.fromkeys(names, words), notes=(words,))], [KP])
        folder = tmp_path / str(len(skeletons))
        export(project, folder, kinds=["map"])
        page = (folder / "brief.html").read_text(encoding="utf-8")
        skeletons.append([(tag, tuple(attributes)) for tag, attributes in Tags(page).tags])
        plain = re.sub(r"\\.", "", (folder / "brief.md").read_text(encoding="utf-8"))
        assert plain.count("](") == 4  # the image and three files
    assert skeletons[0] == skeletons[1]


def test_unknown_names_are_all_named_with_the_nearest(project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export(project, tmp_path / "brief", waves=["kp-2042"], districts=["swat"], kinds=["Rankings"], indicators=["x"])
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 4
    assert said[0].endswith("Nearest: kp-2024.")
    assert said[1] == "indicator x: there is no figure of it. There are: satisfied."
    assert said[2].endswith("Nearest: kp-swat.")
    assert said[3].endswith("Nearest: ranking.")
    assert not (tmp_path / "brief").exists()


def test_nothing_chosen_and_a_full_folder_are_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "brief").mkdir()
    (tmp_path / "brief/mine.docx").write_text("mine")
    with pytest.raises(InputError) as caught:
        export(project, tmp_path / "brief")
    assert [problem.what for problem in caught.value.problems] == [
        "nothing is chosen",
        "is there already and is not empty",
    ]
    assert contents(tmp_path / "brief") == {"mine.docx": b"mine"}


def test_choices_that_no_figure_meets_are_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wave kp-2024, district kp-swat: no figure is all of this"):
        export(project, tmp_path / "brief", waves=["kp-2024"], districts=["kp-swat"])


def test_a_missing_file_is_named_and_nothing_is_written(project: Project, tmp_path: Path) -> None:
    (project.site / "districts/kp-swat.xlsx").unlink()
    with pytest.raises(InputError, match=r"kp-swat\.xlsx: the file is not there"):
        export(project, tmp_path / "brief", districts=["kp-swat"])
    assert not (tmp_path / "brief").exists()


def test_an_export_that_stops_half_way_leaves_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "briefs"
    (place / "brief").mkdir(parents=True)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(export_module.shutil, "copyfile", full)
    with pytest.raises(OSError, match="no space left"):
        export(project, place / "brief", kinds=["map"])
    assert [path.name for path in place.rglob("*")] == ["brief"]


def test_the_commands_release_and_export(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(project.root))
    runner = CliRunner()
    said = runner.invoke(app, ["release", "--note", "First"])
    assert said.exit_code == 1
    assert "the first release needs one" in said.output
    said = runner.invoke(app, ["release", "--note", "First", "--address", ADDRESS])
    assert said.exit_code == 0, said.output
    assert f"{ADDRESS}v1/" in said.output
    assert "Every wave is simulated" in said.output
    said = runner.invoke(app, ["export", str(tmp_path / "brief"), "--kind", "map", "--kind", "card"])
    assert said.exit_code == 0, said.output
    assert "2 figures of version 1" in said.output
    assert pd.read_csv(tmp_path / "brief/kp-2024/satisfied.csv")["simulated"].all()
    said = runner.invoke(app, ["export", str(tmp_path / "brief"), "--kind", "maps"])
    assert said.exit_code == 1
    assert "Nearest: map" in said.output
    assert "is not empty" in " ".join(said.output.split())
