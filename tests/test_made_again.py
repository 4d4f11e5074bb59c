"""What a run makes again after a failure, a loss, or a change of the waves there are, of the map or of the software."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pandas as pd
import pytest

from perception import project
from perception.project import Project
from perception.publish import project_site
from perception.wave_folders import remove_wave
from pipelines import runner
from tests.conftest import FIRST, LATER, SECOND, small_answers, write_small_wave
from tests.test_incremental import ALL, small_site, updated


@pytest.fixture(autouse=True)
def _small_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are tested elsewhere, and making them would take a third of the time."""
    monkeypatch.setattr(project_site, "publish_site", small_site)


def test_what_a_failure_or_somebody_took_away_is_made_again(
    small_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert updated(small_project) == {FIRST, runner.PUBLISHING}
    for lost in (small_project.site / "index.html", small_project.public_warehouse):
        lost.unlink()
        assert updated(small_project) == {runner.PUBLISHING}
        assert lost.exists()
    small_project.table("psu_totals", FIRST).unlink()
    assert updated(small_project) == {FIRST}

    # A wave that fails half-way is tried again, also when its files go back to what they were.
    good = small_answers()
    write_small_wave(small_project.waves / FIRST, good.assign(q2=1))
    assert [failure.asset for failure in runner.update(small_project, lambda *_: None)] == ["drivers"]
    write_small_wave(small_project.waves / FIRST, good)
    assert updated(small_project) == {FIRST, runner.PUBLISHING}

    def broken(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(project_site, "publish_site", broken)
        (failure,) = runner.publish(small_project, lambda *_: None)
        assert failure.asset == "site"
    assert updated(small_project) == {runner.PUBLISHING}
    assert updated(small_project) == set()


def test_a_wave_whose_process_is_ended_fails_alone(two_waves: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two waves of which neither waits for the other are made by processes; what ends one must not end the run."""
    write_small_wave(two_waves.waves / SECOND, small_answers(seed=2), LATER.replace(f"predecessor: {FIRST}\n", ""))

    def killed(*_: object) -> Future[list[runner.RunFailure]]:
        future: Future[list[runner.RunFailure]] = Future()
        future.set_exception(BrokenProcessPool())
        return future

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_submitted", killed)
        failures = runner.update(two_waves, lambda *_: None)
    assert {failure.wave for failure in failures} == {FIRST, SECOND}
    assert all(f"perception run --wave {failure.wave}" in failure.cause for failure in failures)
    assert updated(two_waves) == ALL
    assert set(pd.read_parquet(two_waves.table("published_estimates", None))["wave"]) == {FIRST, SECOND}


def test_a_wave_more_or_less_another_map_or_other_software_is_published(
    two_waves: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = two_waves.waves.parent / "later"
    shutil.move(two_waves.waves / SECOND, aside)
    assert updated(two_waves) == {FIRST, runner.PUBLISHING}
    shutil.move(aside, two_waves.waves / SECOND)
    assert updated(two_waves) == {SECOND, runner.PUBLISHING}
    remove_wave(two_waves, SECOND)
    assert updated(two_waves) == {runner.PUBLISHING}
    assert set(pd.read_parquet(two_waves.table("published_estimates", None))["wave"]) == {FIRST}

    districts = two_waves.reference / "districts.csv"
    districts.write_text(districts.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert updated(two_waves) == {FIRST, runner.PUBLISHING}
    monkeypatch.setattr(project, "code_fingerprint", lambda: "another version")
    assert updated(two_waves) == {FIRST, runner.PUBLISHING}
    assert updated(two_waves) == set()
