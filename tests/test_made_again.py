"""What a run makes again after a failure, a loss, or a change of the waves there are, of the map or of the software."""

from __future__ import annotations

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
from tests.site_tables import small_site
from tests.test_incremental import ALL, updated


@pytest.fixture(autouse=True)
def _small_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are tested elsewhere, and making them would take a third of the time."""
    monkeypatch.setattr(project_site, "publish_site", small_site)


def test_what_a_failure_or_somebody_took_away_is_made_again(
    run_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert updated(run_project) == set()
    for lost in (run_project.site / "index.html", run_project.public_warehouse):
        lost.unlink()
        assert updated(run_project) == {runner.PUBLISHING}
        assert lost.exists()
    run_project.table("psu_totals", FIRST).unlink()
    assert updated(run_project) == {FIRST}

    # A wave that fails half-way is tried again, also when its files go back to what they were.
    good = small_answers()
    write_small_wave(run_project.waves / FIRST, good.assign(q2=1))
    assert [failure.asset for failure in runner.update(run_project, lambda *_: None)] == ["drivers"]
    write_small_wave(run_project.waves / FIRST, good)
    assert updated(run_project) == {FIRST, runner.PUBLISHING}

    def broken(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(project_site, "publish_site", broken)
        (failure,) = runner.publish(run_project, lambda *_: None)
        assert failure.asset == "site"
    assert updated(run_project) == {runner.PUBLISHING}
    assert updated(run_project) == set()


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
    run_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_wave(run_project.waves / SECOND, small_answers(seed=2), LATER)
    assert updated(run_project) == {SECOND, runner.PUBLISHING}
    remove_wave(run_project, SECOND)
    assert updated(run_project) == {runner.PUBLISHING}
    assert set(pd.read_parquet(run_project.table("published_estimates", None))["wave"]) == {FIRST}

    districts = run_project.reference / "districts.csv"
    districts.write_text(districts.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert updated(run_project) == {FIRST, runner.PUBLISHING}
    monkeypatch.setattr(project, "code_fingerprint", lambda: "another version")
    assert updated(run_project) == {FIRST, runner.PUBLISHING}
    assert updated(run_project) == set()
