"""The pipeline as a whole, on a small wave: what is made, what a failure leaves, who may read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from assets.resources import ProjectResource
from assets.tables import table_asset
from perception.geography import district_geometry, load_gazetteer
from perception.project import PROJECT_VARIABLE, Project
from perception.publish import project_site, warehouse
from perception.publish.project_site import publish_site
from perception.schemas import TABLES
from perception.wave_folders import add_wave
from perception.wave_tables import wave_sample
from pipelines import cli, runner
from pipelines.definitions import build_defs
from pipelines.sensors import Seen, changes, found_waves, made_waves, wave_folder_sensor
from pipelines.storage import ParquetTables
from tests.conftest import SMALL_WAVE, small_answers, write_small_wave
from tests.site_tables import no_pngs, small_site

WAVE = "small-2021"


Query = Callable[[Path, str], list[tuple[object, ...]]]


@pytest.fixture(autouse=True)
def _small_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are tested elsewhere; the few tests here that look at them have `whole_site`."""
    monkeypatch.setattr(project_site, "publish_site", small_site)


@pytest.fixture
def whole_site(_small_site: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages as they are published, images empty."""
    monkeypatch.setattr(project_site, "publish_site", publish_site)
    no_pngs(monkeypatch)


def run(project: Project, wave: str = WAVE) -> list[runner.RunFailure]:
    """Run a wave and publish."""
    return runner.run_waves(project, [wave], lambda *_: None)


def make(project: Project, wave: str) -> list[runner.RunFailure]:
    """Run a wave and publish nothing."""
    with runner.open_instance(project) as instance:
        instance.add_dynamic_partitions("wave", [wave])
        return runner._run_job(project, instance, "wave_job", wave, lambda *_: None)


def contents(project: Project) -> dict[Path, bytes]:
    """Every table and public file with its bytes."""
    folders = (project.internal / "tables", project.public)
    return {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}


def cause(result: dg.ExecuteInProcessResult) -> str:
    """What the one failed step of a run said."""
    (event,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE]
    return str(event.step_failure_data.user_failure_data.description)


READER = """
import duckdb, json, sys
for line in sys.stdin:
    file, sql = json.loads(line)
    with duckdb.connect(file, read_only=True) as connection:
        print(json.dumps(connection.sql(sql).fetchall()), flush=True)
"""


@pytest.fixture(scope="module")
def query() -> Iterator[Query]:
    """Runs a query in another process, as a reader would; in one process DuckDB caches files by path."""
    command = [sys.executable, "-c", READER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:

        def answer(file: Path, sql: str) -> list[tuple[object, ...]]:
            assert reader.stdin is not None
            assert reader.stdout is not None
            print(json.dumps([str(file), sql]), file=reader.stdin, flush=True)
            return [tuple(row) for row in json.loads(reader.stdout.readline())]

        yield answer


def test_a_run_makes_every_table_and_keeps_internal_ones_apart(run_once: Project, query: Query) -> None:
    for name, table in TABLES.items():
        across = table.public or name.startswith("small_area") or name in ("trends", "change_decomposition")
        assert run_once.table(name, None if across else WAVE).exists(), name
    assert run_once.internal.stat().st_mode & 0o777 == 0o700
    tables = "SELECT DISTINCT table_name FROM duckdb_tables() ORDER BY 1"
    assert {row[0] for row in query(run_once.public_warehouse, tables)} == {n for n, t in TABLES.items() if t.public}
    undocumented = "SELECT count(*) FROM duckdb_columns() WHERE comment IS NULL AND NOT internal"
    assert query(run_once.public_warehouse, undocumented) == [(0,)]
    assert (run_once.site / "index.html").exists()
    assert len(run_once.sdg_file.read_text(encoding="utf-8").splitlines()) == 1  # no service of it counts

    # The five districts were made with satisfaction rising in this order; the ranking must find it again.
    order = (
        "SELECT district_id FROM district_rankings "
        "WHERE indicator = 'satisfied' AND scope = 'province' AND rank > 0 ORDER BY rank"
    )
    found = [row[0] for row in query(run_once.public_warehouse, order)]
    assert found == ["kp-peshawar", "kp-mardan", "kp-swat", "kp-kohat", "kp-bannu"]


def test_replicate_weights_numbers_of_psus_and_a_median_go_all_the_way(run_project: Project, whole_site: None) -> None:
    instrument = run_project.instrument_file("small")
    asked = instrument.read_text(encoding="utf-8").replace(
        "indicators:\n",
        "  wait: {label: How long did you wait?, type: number, unit: minutes}\nindicators:\n"
        "  median_wait: {label: Median wait, question: wait, quantile: 0.5, population: adults, headline: true}\n",
    )
    instrument.write_text(asked, encoding="utf-8")
    rng, answers = np.random.default_rng(1), small_answers()
    answers["wait"] = np.round(rng.lognormal(3, 0.5, len(answers)) / 5) * 5 + 5 * (answers["district"] == "Swat")
    wave = SMALL_WAVE + "  wait: {source: wait}\n"
    folder = run_project.waves / WAVE

    def estimates(declared: str) -> pd.DataFrame:
        write_small_wave(folder, answers, wave.replace("psu: psu}", f"psu: psu{declared}}}"))
        assert make(run_project, WAVE) == []
        table = pd.read_parquet(run_project.table("district_estimates", WAVE))
        return table.set_index(["indicator", "level", "unit_id", "domain"])

    def gap_errors() -> pd.Series:
        table = pd.read_parquet(run_project.table("subgroup_gaps", WAVE))
        return table.set_index(["indicator", "level", "unit_id", "gap"])["se"]

    plain = estimates("")
    plain_gaps = gap_errors()
    assert runner.publish(run_project, lambda *_: None) == []
    assert set(plain.index.unique("indicator")) == {"satisfied", "was_heard", "median_wait"}
    swat = plain.loc[("median_wait", "district", "kp-swat", "all")]
    expected = np.quantile(
        answers["wait"][answers["district"] == "Swat"],
        0.5,
        weights=answers["w"][answers["district"] == "Swat"],
        method="inverted_cdf",
    )
    assert (swat["estimate"], swat["interval"], swat["n"]) == (expected, "woodruff", 120)
    published = pd.read_parquet(run_project.table("published_estimates", None)).query("indicator == 'median_wait'")
    assert (published.query("level == 'all' and domain == 'all'")["quality"] == "publish").all()
    pages = [
        page.read_text(encoding="utf-8") for page in run_project.site.rglob("*.html") if "median_wait" in str(page)
    ]
    assert any("In minutes" in page for page in pages)

    # Six PSUs of twenty-four in each district: three quarters of the variance.
    answers["population"] = 24
    shares = ["satisfied", "was_heard"]
    fewer = estimates(", population_psus: population")
    pd.testing.assert_series_equal(fewer.loc[shares, "se"], plain.loc[shares, "se"] * np.sqrt(0.75), rtol=1e-9)

    # Forty bootstrap samples of the districts' PSUs
    psus = answers.groupby("psu")["district"].first()
    for replicate in range(40):
        drawn = psus.groupby(psus).sample(n=5, replace=True, random_state=replicate).index.value_counts()
        factor = answers["psu"].map(drawn).fillna(0.0) * 6 / 5
        answers[f"rep_{replicate}"] = factor * answers["w"]
    replicated = estimates(", replicates: {type: bootstrap, columns: 'rep_*'}")
    assert (replicated["df"] <= 39).all()
    both = replicated["se"].div(plain["se"]).loc[["satisfied"]].xs("all", level="domain")
    assert 0.8 < both.median() < 1.25
    assert (both - 1).abs().min() > 1e-6
    of_gaps = (gap_errors() / plain_gaps).dropna()
    assert 0.7 < of_gaps.median() < 1.4
    assert (of_gaps - 1).abs().min() > 1e-6
    # Change is made from the last complete run, which keeps how replicates count.
    facts = pd.read_parquet(run_project.complete_table("waves", WAVE)).iloc[0]
    scheme = wave_sample(run_project, facts).scheme
    assert scheme is not None
    np.testing.assert_allclose(scheme.scale * scheme.rscales, 1 / 39)


def test_the_change_since_the_wave_before_is_published_where_both_waves_compare(run_project: Project) -> None:
    later = SMALL_WAVE.replace("small-2021", "small-2022")
    declared = "predecessor: small-2021\ncomparability: {heard: {verdict: break, reason: Asked by telephone}}\n"
    later = later.replace("respondent_id:", declared + "respondent_id:")
    answers = small_answers(seed=2)
    answers["q1"] = answers["q1"].where(answers["id"] % 2 == 0, 3)  # every second is satisfied now
    write_small_wave(run_project.waves / "small-2022", answers, later)
    assert runner.publish(run_project, lambda *_: None) == []
    before = pd.read_parquet(run_project.table("published_trends", None))
    assert before.empty  # the later wave has not been made yet
    assert run(run_project, "small-2022") == []
    changes = pd.read_parquet(run_project.table("published_trends", None))
    assert set(changes["wave"]) == {"small-2022"}
    published = pd.read_parquet(run_project.table("published_estimates", None))
    direct = published[published["method"] == "direct"]
    known = direct.set_index(["wave", "indicator", "level", "unit_id", "domain"])["estimate"]
    shown = changes[(changes["indicator"] == "satisfied") & changes["change"].notna()]
    changed = shown[~shown["domain"].str.startswith("gap:")]
    assert {"district", "division", "province", "all"} == set(changed["level"])
    for row in changed.itertuples():
        place = ("satisfied", row.level, row.unit_id, row.domain)
        difference = known["small-2022", *place] - known["small-2021", *place]
        assert row.change == pytest.approx(difference, abs=1.5e-5 + 1e-9)  # three numbers, each rounded to 0.00001
    assert shown.set_index(["level", "domain"]).loc[("province", "all"), "verdict"] == "better"
    heard = changes[changes["indicator"] == "was_heard"]
    assert set(heard["verdict"]) == {"not_comparable"}
    assert set(heard["note"]) == {"Asked by telephone"}
    gaps = pd.read_parquet(run_project.table("published_gaps", None))
    assert gaps.loc[gaps["level"] == "province", "estimate"].notna().all()


def test_a_change_is_decomposed_from_the_responses_of_complete_runs(run_project: Project) -> None:
    later = SMALL_WAVE.replace("small-2021", "small-2022")
    later = later.replace("respondent_id:", "predecessor: small-2021\nrespondent_id:")
    write_small_wave(run_project.waves / "small-2022", small_answers(seed=2), later)
    assert run(run_project, "small-2022") == []
    parts = pd.read_parquet(run_project.table("published_change_decomposition", None))
    assert set(parts["driver"]) == {"heard", "composition", "level", "all"}
    # Every answer is there in both waves, so that the change is that of the estimates.
    estimates = pd.read_parquet(run_project.table("published_trends", None))
    change = estimates.query("indicator == 'satisfied' and level == 'all' and domain == 'all'")["change"].item()
    details = parts[~parts["part"].eq("change") & ~parts["driver"].eq("all")]
    assert details["estimate"].sum() == pytest.approx(change, abs=5e-6 + 1e-9)  # published rounded to 0.00001
    assert parts["simulated"].all()

    # What is published stays that of the last complete run: an edited instrument waits for the next one.
    responses = run_project.complete_table("responses", "small-2022")
    assert responses.samefile(run_project.table("responses", "small-2022"))
    assert run_project.internal in responses.parents
    instrument = run_project.instrument_file("small")
    instrument.write_text(instrument.read_text(encoding="utf-8").replace("variable: heard", "variable: service"))
    assert runner.publish(run_project, lambda *_: None) == []
    again = pd.read_parquet(run_project.table("published_change_decomposition", None))
    pd.testing.assert_frame_equal(again, parts)

    run_project.complete_table("responses", WAVE).unlink()
    shutil.rmtree(run_project.kept("change_decomposition"))
    failures = runner.publish(run_project, lambda *_: None)
    assert [failure.asset for failure in failures] == ["across_waves"]
    assert f"perception run --wave {WAVE}" in failures[0].cause


def test_a_failed_rerun_names_the_cause_and_leaves_everything_as_it_was(run_project: Project) -> None:
    before = contents(run_project)
    answers = small_answers()
    answers.loc[:2, "q1"] = 7
    write_small_wave(run_project.waves / WAVE, answers)
    failures = run(run_project)
    assert [(failure.wave, failure.asset) for failure in failures] == [(WAVE, "tidy_wave")]
    for part in ("answers.csv", "q1", "'7'", "3 rows", "wave.yml"):
        assert part in failures[0].cause
    after = contents(run_project)
    changed = {file.name for file in before if after[file] != before[file]}
    # Only the raw rows (as delivered) are newer; what was published is published again, the same.
    assert not {"responses.parquet", "district_estimates.parquet", "psu_totals.parquet"} & changed
    assert (
        after[run_project.table("published_estimates", None)] == before[run_project.table("published_estimates", None)]
    )


def test_a_run_that_fails_half_way_changes_nothing_public(run_project: Project) -> None:
    before = contents(run_project)
    answers = small_answers(seed=2)
    answers["q2"] = 1
    write_small_wave(run_project.waves / WAVE, answers)
    failures = run(run_project)
    assert [failure.asset for failure in failures] == ["drivers"], failures
    after = contents(run_project)
    estimates = run_project.table("district_estimates", WAVE)
    assert after[estimates] != before[estimates]
    for name in ("published_estimates", "published_drivers", "published_waves", "published_indicators"):
        assert after[run_project.table(name, None)] == before[run_project.table(name, None)], name


def test_a_wave_that_fails_a_quality_check_stops_before_its_estimates(small_project: Project) -> None:
    """Two interviews of one household: the wave stops with its page, and goes on once the finding has a remedy."""
    folder = small_project.waves / WAVE
    answers = small_answers().assign(hh=range(600))
    answers.loc[answers["id"] == 1, "hh"] = 0
    declared = SMALL_WAVE + "fieldwork: {household: [hh]}\n"
    write_small_wave(folder, answers, declared)
    (failure,) = run(small_project)
    assert failure.asset == "quality_page"
    assert "quality check unique_ids" in failure.cause
    assert "household (psu, hh)" in failure.cause
    page = (small_project.quality_folder(WAVE) / "index.html").read_text(encoding="utf-8")
    assert "household (psu, hh)" in page
    assert not small_project.table("psu_totals", WAVE).exists()
    assert len(pd.read_parquet(small_project.table("published_estimates", None))) == 0
    rows = pd.read_parquet(small_project.table("wave_quality_rows", WAVE)).query("check == 'unique_ids'")
    assert rows["source_row"].tolist() == [1, 2]

    remedy = "{check: unique_ids, reason: sent twice, drop_repeats: {columns: [psu, hh]}}"
    write_small_wave(folder, answers, declared + f"remedies: [{remedy}]\n")
    assert make(small_project, WAVE) == []
    assert pd.read_parquet(small_project.table("wave_remedies", WAVE))["rows"].tolist() == [1]
    assert len(pd.read_parquet(small_project.table("responses", WAVE))) == 599
    page = (small_project.quality_folder(WAVE) / "index.html").read_text(encoding="utf-8")
    assert "sent twice" in page


def test_a_wave_is_compared_with_its_predecessor_which_runs_first(small_project: Project) -> None:
    later = SMALL_WAVE.replace("id: small-2021", "id: a-2024\npredecessor: small-2021")
    folder = write_small_wave(small_project.waves / "a-2024", small_answers(seed=5), later)
    assert runner.run_waves(small_project, ["a-2024", WAVE], lambda *_: None) == []
    review = pd.read_parquet(small_project.table("estimate_review", "a-2024"))
    assert review["verdict"].tolist() == ["pass"]
    assert "10 estimates compared with small-2021" in review["message"].iloc[0]

    # A scale turned round and not declared stops the wave, although its map would put it right.
    turned = later.replace("{1: bad, 2: fair, 3: good}", "{1: good, 2: fair, 3: bad}")
    answers = small_answers(seed=5)
    write_small_wave(folder, answers.assign(q1=4 - answers["q1"]), turned)
    (failure,) = make(small_project, "a-2024")
    assert failure.asset == "quality_page"
    assert "codebook_drift" in failure.cause
    assert "service" in failure.cause
    declared = "comparability: {service: {verdict: recoded, reason: printed the other way round}}\n"
    write_small_wave(folder, answers.assign(q1=4 - answers["q1"]), turned + declared)
    assert make(small_project, "a-2024") == []
    changes = pd.read_parquet(small_project.table("codebook_changes", "a-2024"))
    assert set(changes["variable"]) == {"service"}
    assert set(changes["verdict"]) == {"recoded"}


def test_simulated_waves_are_ranked_apart_and_marked_in_every_public_table(run_project: Project, query: Query) -> None:
    real = SMALL_WAVE.replace("id: small-2021", "id: real-2021").replace("simulated: true", "simulated: false")
    write_small_wave(run_project.waves / "real-2021", small_answers(seed=3), real)
    assert run(run_project, "real-2021") == []
    file = run_project.public_warehouse
    for table in (name for name, contract in TABLES.items() if contract.public):
        marks = query(file, f"SELECT DISTINCT wave, simulated FROM {table} ORDER BY 1")
        # Neither wave has one before it that its change could be since; the questionnaire has no index or SDG service.
        empty = table in ("published_trends", "published_change_decomposition", "index_sensitivity", "sdg_16_6_2")
        assert marks == ([] if empty else [("real-2021", False), (WAVE, True)]), table
    ranked = "SELECT wave, indicator, scope, districts, count(rank) AS own FROM district_rankings GROUP BY ALL"
    assert query(file, f"SELECT count(*), min(own) > 0 FROM ({ranked})") == [(8, True)]
    assert query(file, f"SELECT count(*) FROM ({ranked}) WHERE districts <> own") == [(0,)]


def test_a_folder_that_cannot_be_a_wave_id_is_named_and_never_becomes_a_partition(small_project: Project) -> None:
    failures = runner.run_waves(small_project, ["KP-2022"], lambda *_: None)
    assert [failure.wave for failure in failures] == ["KP-2022"]
    assert "Rename the folder" in failures[0].cause
    with runner.open_instance(small_project) as instance:
        assert instance.get_dynamic_partitions("wave") == []


def test_a_broken_boundary_file_leaves_the_public_warehouse_and_says_what_to_do(
    run_project: Project, whole_site: None
) -> None:
    before = run_project.public_warehouse.read_bytes()
    run_project.boundaries.mkdir()
    (run_project.boundaries / "districts.geojson").write_text("{}")
    (run_project.boundaries / "boundaries.yml").write_text("source: [")
    failures = run(run_project)
    assert [failure.asset for failure in failures] == ["site"]
    assert "boundaries.yml" in failures[0].cause
    assert "Traceback" not in failures[0].cause
    assert run_project.public_warehouse.read_bytes() == before


def test_districts_without_a_shape_are_told_after_a_run(run_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = district_geometry(load_gazetteer(run_project.reference), "2018", None).shapes
    run_project.boundaries.mkdir()
    lacking = ("kp-swat", "kp-bannu")
    some = shapes[~shapes["district_id"].isin(lacking)].replace({"district_id": {"kp-mardan": "Atlantis"}})
    some.to_file(run_project.boundaries / "districts.geojson")
    monkeypatch.setenv(PROJECT_VARIABLE, str(run_project.root))
    finished = CliRunner().invoke(cli.app, ["run", "--json"])
    assert finished.exit_code == 0, finished.output
    wanted = [f"vintage 2018: district {name} has no feature" for name in ("kp-bannu", "kp-mardan", "kp-swat")]
    told = json.loads(finished.stdout)["boundaries_not_matched"]
    assert told == [*wanted, "vintage 2018: feature Atlantis is no district of it"]
    assert all(line in finished.stderr for line in told)


def test_one_wave_failing_does_not_stop_another(small_project: Project, query: Query) -> None:
    broken = SMALL_WAVE.replace("id: small-2021", "id: broken-2021").replace("psu: psu", "psu: cluster")
    write_small_wave(small_project.waves / "broken-2021", wave=broken)
    failures = runner.run_waves(small_project, ["broken-2021", WAVE], lambda *_: None)
    assert [failure.wave for failure in failures] == ["broken-2021"]
    assert "'cluster'" in failures[0].cause
    assert query(small_project.public_warehouse, "SELECT wave FROM published_waves") == [(WAVE,)]


def test_a_frame_that_breaks_its_contract_is_not_stored(small_project: Project) -> None:
    @table_asset(group="test", per_wave=False)
    def published_drivers() -> pd.DataFrame:
        columns = {column.name: ["x"] for column in TABLES["published_drivers"].columns}
        return pd.DataFrame(columns)

    small_project.make_folders()
    tables = ParquetTables(root=str(small_project.root))
    project = ProjectResource(root=str(small_project.root))
    resources = {"tables": tables, "project": project}
    result = dg.materialize([published_drivers], resources=resources, raise_on_error=False)
    assert not result.success
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [False]
    assert not small_project.table("published_drivers", None).exists()


def test_versions_of_a_wave_do_not_mix(run_project: Project) -> None:
    write_small_wave(run_project.waves / WAVE, small_answers(seed=2))
    job = build_defs(run_project.root).resolve_job_def("wave_job")
    with runner.open_instance(run_project) as instance:
        some = {"instance": instance, "partition_key": WAVE, "raise_on_error": False}
        assert job.execute_in_process(asset_selection=[dg.AssetKey("raw_responses")], **some).success
        checks = [dg.AssetKey(name) for name in ("wave_quality", "wave_quality_rows", "fieldwork_summary")]
        mixed = job.execute_in_process(asset_selection=checks, **some)
        wave = run_project.waves / WAVE / "wave.yml"
        wave.write_text(wave.read_text().replace("Small survey", "Another survey"))
        tidy = [dg.AssetKey(name) for name in ("responses", "design_psus", "wave_remedies", "weights")]
        edited = job.execute_in_process(asset_selection=tidy, **some)
    assert "different versions of the wave" in cause(mixed)
    assert "has changed since" in cause(edited)


def test_a_table_of_an_earlier_version_is_named_with_its_wave(run_project: Project) -> None:
    file = run_project.complete_table("drivers", WAVE)
    pd.read_parquet(file).drop(columns="label").to_parquet(file)
    failures = runner.publish(run_project, lambda *_: None)
    assert [failure.asset for failure in failures] == ["published_drivers"]
    assert f"perception run --wave {WAVE}" in failures[0].cause


def test_a_second_run_of_the_same_wave_waits_for_the_first(small_project: Project) -> None:
    first = small_project.lock(WAVE)
    said = []

    def progress(place: str, stage: str, *_: int) -> None:
        if "another run" in stage:
            assert not small_project.table("raw_responses", WAVE).exists()
            first.release()
        said.append((place, stage))

    first.acquire()
    assert runner.run_waves(small_project, [WAVE], progress) == []
    assert said[0][0] == WAVE
    assert "another run" in said[0][1]
    assert small_project.complete_table("drivers", WAVE).exists()


def test_a_run_gives_up_waiting_in_the_end(small_project: Project) -> None:
    impatient = ProjectResource(root=str(small_project.root), lock_timeout=0.1)
    job = build_defs(small_project.root, project=impatient).resolve_job_def("wave_job")
    with runner.open_instance(small_project) as instance, small_project.lock(WAVE):
        instance.add_dynamic_partitions("wave", [WAVE])
        result = job.execute_in_process(instance=instance, partition_key=WAVE, raise_on_error=False)
    assert not result.success
    assert not small_project.table("raw_responses", WAVE).exists()


def test_readers_of_the_warehouse_are_not_blocked_and_do_not_block(
    run_project: Project, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run_project.public_warehouse
    holder = duckdb.connect(str(file), read_only=True)
    waves = "SELECT wave, respondents FROM published_waves"
    assert holder.sql(waves).fetchall() == [(WAVE, 600)]

    seen_while_writing = []
    copy_table = warehouse._copy_table

    one_at_a_time = Lock()

    def copy_and_read(*arguments: object) -> int:
        with one_at_a_time:
            seen_while_writing.append(query(file, waves))
        return copy_table(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(warehouse, "_copy_table", copy_and_read)
    write_small_wave(run_project.waves / WAVE, small_answers().iloc[:480])
    assert run(run_project) == []
    assert len(seen_while_writing) > len([t for t in TABLES.values() if t.public])
    assert seen_while_writing[0] == [(WAVE, 600)]
    assert holder.sql(waves).fetchall() == [(WAVE, 600)]
    assert query(file, waves) == [(WAVE, 480)]
    holder.close()


def test_no_warehouse_is_new_where_one_of_them_fails(run_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    both = (run_project.public_warehouse, run_project.internal_warehouse)
    before = [(file.read_bytes(), sorted(file.parent.iterdir())) for file in both]
    copy_table = warehouse._copy_table

    def full(connection: duckdb.DuckDBPyConnection, name: str, files: list[Path]) -> int:
        if name == "responses":  # which is internal
            raise OSError("no space left")
        return copy_table(connection, name, files)

    monkeypatch.setattr(warehouse, "_copy_table", full)
    with pytest.raises(OSError, match="no space left"):
        warehouse.build_warehouses(run_project)
    assert [(file.read_bytes(), sorted(file.parent.iterdir())) for file in both] == before


def test_remove_wave_takes_it_out_everywhere(
    run_project: Project, query: Query, whole_site: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(run_project.root))
    assert WAVE in (run_project.site / "index.html").read_text()
    result = CliRunner().invoke(cli.app, ["remove-wave", WAVE])
    assert result.exit_code == 0, result.output
    assert not (run_project.waves / WAVE).exists()
    assert (run_project.removed_waves / WAVE / "wave.yml").exists()
    assert not run_project.table("responses", WAVE).parent.exists()
    assert query(run_project.public_warehouse, "SELECT count(*) FROM published_estimates") == [(0,)]
    assert WAVE not in (run_project.site / "index.html").read_text()
    with runner.open_instance(run_project) as instance:
        assert instance.get_dynamic_partitions("wave") == []


def test_a_wave_whose_folder_was_deleted_by_hand_can_be_removed(
    run_project: Project, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(run_project.root))
    shutil.rmtree(run_project.waves / WAVE)
    assert CliRunner().invoke(cli.app, ["remove-wave", WAVE]).exit_code == 0
    assert query(run_project.public_warehouse, "SELECT count(*) FROM published_waves") == [(0,)]
    for name in ("across", "..", ""):
        assert CliRunner().invoke(cli.app, ["remove-wave", name]).exit_code == 1


def test_add_wave_over_a_wave_keeps_the_files_that_it_does_not_declare(small_project: Project) -> None:
    folder = small_project.waves / WAVE
    (folder / "notes.txt").write_text("field notes")
    add_wave(small_project, folder, None)
    assert (folder / "notes.txt").read_text() == "field notes"
    assert (folder / "SHA256SUMS").exists()


def test_the_command_line_checks_adds_and_runs(
    small_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROJECT_VARIABLE, str(small_project.root))
    command = CliRunner()
    assert command.invoke(cli.app, ["check", WAVE]).exit_code == 0
    unknown = command.invoke(cli.app, ["run", "--wave", "nowhere"])
    assert unknown.exit_code == 1
    assert "nowhere" in unknown.output
    assert WAVE in unknown.output
    delivered = write_small_wave(tmp_path / "second-2021", wave=SMALL_WAVE.replace("id: small-2021", "id: second-2021"))
    assert command.invoke(cli.app, ["add-wave", str(delivered)]).exit_code == 0
    finished = command.invoke(cli.app, ["run", "--wave", "second-2021"])
    assert finished.exit_code == 0, finished.output
    for part in ("second-2021 (simulated)", "600", "Peshawar", "index.html"):
        assert part in finished.output


def test_the_sensor_waits_until_a_folder_has_stopped_changing() -> None:
    now, due = changes({}, {"a": "1"})
    assert due == {}
    now, due = changes(now, {"a": "1", "b": None})
    assert due == {"a": "1"}
    now, due = changes(now, {"a": "1", "b": None})
    assert due == {}
    now, due = changes(now, {"a": "2", "b": "1"})
    assert due == {}
    now, due = changes(now, {"a": "3", "b": "1"})
    assert due == {"b": "1"}
    now, due = changes(now, {"a": "3"})
    assert due == {"a": "3"}
    assert now == {"a": Seen("3", "3")}


def test_a_folder_that_goes_back_to_what_was_run_is_not_run_again() -> None:
    now, _ = changes({"a": Seen("1", "1")}, {"a": "2"})
    now, due = changes(now, {"a": "1"})
    now, due = changes(now, {"a": "1"})
    assert due == {}


def test_the_sensor_adds_the_partition_and_requests_the_run_in_one_tick(small_project: Project) -> None:
    defs = build_defs(small_project.root)
    instance = dg.DagsterInstance.ephemeral()
    half = small_project.waves / "half-2021"
    half.mkdir()
    (half / "wave.yml").write_text(SMALL_WAVE.replace("id: small-2021", "id: half-2021"))

    def tick(cursor: str | None) -> dg.SensorResult:
        resources = dict(defs.resources or {})
        with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
            result = wave_folder_sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    first = tick(None)
    assert not first.run_requests
    assert "half-2021" in str(first.skip_reason)
    second = tick(first.cursor)
    assert [request.partition_key for request in second.run_requests or []] == [WAVE]
    assert [request.partition_keys for request in second.dynamic_partitions_requests or []] == [[WAVE]]
    third = tick(second.cursor)
    assert not third.run_requests
    small_answers().to_csv(half / "answers.csv", index=False)
    fourth = tick(third.cursor)
    assert not fourth.run_requests
    fifth = tick(fourth.cursor)
    assert [request.partition_key for request in fifth.run_requests or []] == ["half-2021"]


def test_the_sensor_leaves_waves_alone_that_were_made_from_what_is_there(run_project: Project) -> None:
    made = made_waves(run_project)
    assert made == found_waves(run_project)
    now, _ = changes({wave: Seen(None, content) for wave, content in made.items()}, made)
    _, due = changes(now, made)
    assert due == {}


def test_every_table_asset_has_a_blocking_check_of_its_contract() -> None:
    defs = build_defs(Path("."))
    keys = {check.asset_key.to_user_string() for check in defs.resolve_asset_graph().asset_check_keys}
    assert keys == {*TABLES, "quality_page"}
    specs = [spec for asset in defs.resolve_asset_graph().assets_defs for spec in asset.check_specs]
    assert all(spec.blocking for spec in specs)
