"""Runs that make only what changed: the same results as from nothing, and nothing that is still good is made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from perception import fingerprint, project, wave_tables
from perception.intake.wave_file import Wave
from perception.kept import Frames, kept
from perception.project import PROJECT_VARIABLE, Project
from perception.publish import project_site
from perception.schemas import TABLES
from pipelines import cli, runner
from tests.conftest import FIRST, LATER, SECOND, SMALL_INSTRUMENT, small_answers, write_small_wave
from tests.site_tables import small_site

ALL = {FIRST, SECOND, runner.PUBLISHING}


@pytest.fixture(autouse=True)
def _small_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are tested elsewhere, and making them would take a third of the time."""
    monkeypatch.setattr(project_site, "publish_site", small_site)


def updated(project: Project) -> set[str]:
    """What an update made: waves, `publishing`."""
    made, unchanged = set(), set()

    def progress(place: str, stage: str, *_: int) -> None:
        (unchanged if stage == runner.UNCHANGED else made).add(place)

    assert runner.update(project, progress) == []
    assert made | unchanged == {*project.wave_ids(), runner.PUBLISHING}
    assert not made & unchanged
    return made


def results(project: Project) -> dict[Path, tuple[bytes, int]]:
    """Content and time of the last change of everything made, but for Dagster's own files and locks."""
    own = (project.internal / "dagster", project.internal / "locks")
    files = (file for folder in (project.internal, project.public) for file in folder.rglob("*") if file.is_file())
    kept_files = [file for file in files if not any(folder in file.parents for folder in own)]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in kept_files}


def assert_as_from_nothing(project: Project, folder: Path) -> None:
    """Every public table is what a fresh project makes from the same inputs."""
    fresh = Project(folder)
    shutil.copytree(project.root / "data/raw", fresh.root / "data/raw")
    assert updated(fresh) == {*fresh.wave_ids(), runner.PUBLISHING}
    for name in (name for name, table in TABLES.items() if table.public):
        one, other = (pd.read_parquet(each.table(name, None)) for each in (project, fresh))
        pd.testing.assert_frame_equal(one, other, rtol=1e-9, obj=name)


def test_only_what_changed_is_made_again_and_the_results_are_those_of_a_run_from_nothing(
    run_project: Project, tmp_path: Path
) -> None:
    assert updated(run_project) == set()
    write_small_wave(run_project.waves / SECOND, small_answers(seed=2), LATER)
    assert updated(run_project) == {SECOND, runner.PUBLISHING}
    before = results(run_project)
    assert updated(run_project) == set()
    assert results(run_project) == before

    write_small_wave(run_project.waves / SECOND, small_answers(seed=3), LATER)
    assert updated(run_project) == {SECOND, runner.PUBLISHING}
    assert_as_from_nothing(run_project, tmp_path / "second")

    # The wave that follows is compared with the first, whose questionnaire and estimates may differ now.
    write_small_wave(run_project.waves / FIRST, small_answers(seed=4))
    assert updated(run_project) == ALL
    assert updated(run_project) == set()


def test_a_named_wave_is_made_again_and_one_that_was_compared_with_another_run_too(
    two_waves: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[str] = set()
    read: list[str] = []
    raw_responses = wave_tables.raw_responses

    def noted(wave: Wave, folder: Path) -> pd.DataFrame:
        read.append(wave.id)
        return raw_responses(wave, folder)

    monkeypatch.setattr(wave_tables, "raw_responses", noted)
    assert runner.run_waves(two_waves, [SECOND], lambda place, *_: made.add(place)) == []
    assert made == {SECOND, runner.PUBLISHING}
    assert read == [FIRST]
    assert updated(two_waves) == ALL  # the second was reviewed while the first had no estimates
    assert read == [FIRST]  # the codebook of the wave before is the one that was just made
    assert updated(two_waves) == set()
    assert len(pd.read_parquet(two_waves.table("published_trends", None))) > 0
    made.clear()
    assert runner.run_waves(two_waves, [FIRST], lambda place, *_: made.add(place)) == []
    assert made == {FIRST, runner.PUBLISHING}
    assert updated(two_waves) == set()


def test_the_command_says_what_is_unchanged(small_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(small_project.root))
    first = CliRunner().invoke(cli.app, ["run"])
    again = CliRunner().invoke(cli.app, ["run"])
    assert first.exit_code == again.exit_code == 0, again.output
    said = f"Unchanged since their last complete run: {FIRST}"
    assert said not in first.output
    assert said in again.output
    assert "Pages and public tables are those of the last run" in again.output
    named = CliRunner().invoke(cli.app, ["run", "--wave", FIRST])
    assert "nchanged" not in named.output


def test_what_a_wave_is_made_from_is_its_own_files_the_wave_before_and_what_all_share(two_waves: Project) -> None:
    def both() -> tuple[str, str]:
        return project.made_from(two_waves, FIRST), project.made_from(two_waves, SECOND)

    seen = [both()]
    (two_waves.waves / SECOND / "notes.txt").write_text("field notes", encoding="utf-8")
    assert both() == seen[0]
    for change in (
        lambda: write_small_wave(two_waves.waves / FIRST, small_answers(seed=5)),
        lambda: two_waves.instrument_file("small").write_text(SMALL_INSTRUMENT + "# edited\n", encoding="utf-8"),
        lambda: (two_waves.boundaries.mkdir(), (two_waves.boundaries / "map.geojson").write_text("{}")),
    ):
        change()
        seen.append(both())
        assert seen[-1][0] != seen[-2][0]
        assert seen[-1][1] != seen[-2][1]
    write_small_wave(two_waves.waves / SECOND, small_answers(seed=6), LATER)
    assert both()[0] == seen[-1][0]
    assert both()[1] != seen[-1][1]


def test_a_folder_has_another_digest_when_a_file_is_renamed_changed_or_added(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    one = tmp_path / "in" / "one.txt"
    one.write_text("1", encoding="utf-8")
    digests = [fingerprint.folder_digest(tmp_path)]
    one.write_text("2", encoding="utf-8")
    digests.append(fingerprint.folder_digest(tmp_path))
    two = one.rename(one.with_name("two.txt"))
    digests.append(fingerprint.folder_digest(tmp_path))
    (tmp_path / "in" / "one.txt").write_text("", encoding="utf-8")
    digests.append(fingerprint.folder_digest(tmp_path))
    assert len(set(digests)) == 4
    (tmp_path / ".hidden").write_text("x", encoding="utf-8")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "one.pyc").write_text("x", encoding="utf-8")
    assert fingerprint.folder_digest(tmp_path) == digests[-1]
    assert two.exists()


def test_frames_differ_by_value_column_and_order_but_not_by_index() -> None:
    frame = pd.DataFrame({"a": ["x", None], "b": [1.0, float("nan")]})
    same = fingerprint.frame_digest(frame.set_axis([5, 6]))
    assert fingerprint.frame_digest(frame) == same
    others = [frame[::-1], frame.rename(columns={"b": "c"}), frame.assign(b=[1.0, 2.0]), frame.fillna({"a": "y"})]
    assert len({same, *map(fingerprint.frame_digest, others)}) == 5


def test_kept_results_are_made_once_and_go_when_nothing_asks_for_them(tmp_path: Path) -> None:
    calls: list[str] = []

    def maker(name: str) -> Callable[[], Frames]:
        def make() -> Frames:
            calls.append(name)
            return pd.DataFrame({"name": [name, None]}), pd.DataFrame({"number": [0.1 + 0.2]})

        return make

    def broken() -> Frames:
        raise ValueError("broken")

    def asked(makers: dict[str, Callable[[], Frames]]) -> list[list[pd.DataFrame]]:
        return [[pd.read_parquet(file) for file in files] for files in kept(tmp_path, makers)]

    first = asked({"1": maker("one"), "2": maker("two")})
    assert [frames[0]["name"].iloc[0] for frames in first] == ["one", "two"]
    (tmp_path / ".storing-left").mkdir()  # as a process leaves it that was ended
    (tmp_path / ".DS_Store").touch()  # as a file manager leaves it
    second = asked({"3": maker("three"), "2": maker("two")})
    assert calls == ["one", "two", "three"]
    for one, other in zip(first[1], second[1], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    with pytest.raises(ValueError, match="broken"):
        kept(tmp_path, {"2": maker("two"), "4": broken})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
