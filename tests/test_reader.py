"""The researcher's handle: what it answers is what is published, and it can do no harm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import duckdb
import pandas as pd
import plotly.io
import pytest
from PIL import Image
from plotly.graph_objects import Figure

import perception
from perception.errors import InputError
from perception.project import Project
from perception.publish import maps, words
from perception.publish.figures import NOT_CAUSE
from perception.publish.warehouse import build_warehouse
from perception.reader import INTERNAL_NOTE, Reader
from perception.schemas import TABLES
from tests.site_tables import (
    BETTER,
    CAREFUL,
    REFERENCE,
    SUPPRESSED,
    UNCOVERED,
    UNRELIABLE,
    frame,
    published_tables,
    reference,
)

SEXES = {"female": 0.31, "male": 0.42}
HIDDEN = "kp-swat"
"""Where the estimate of women is suppressed."""


def by_sex(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Estimates by sex of satisfaction in KP 2021, men listed first."""
    rows = tables["published_estimates"].query("wave == 'kp-2021' and indicator == 'satisfied' and level == 'district'")
    made = []
    for unit in rows["unit_id"]:
        for sex in ("male", "female"):
            row = {"wave": "kp-2021", "indicator": "satisfied", "level": "district", "unit_id": unit, "simulated": True}
            row |= {"domain": f"sex={sex}", "method": "direct"}
            value = SEXES[sex]
            known = {"estimate": value, "low": value - 0.1, "high": value + 0.1, "n": 61, "quality": "publish"}
            if unit == HIDDEN and sex == "female":
                known = {"quality": "suppress", "reason": "few_responses;wide_interval"}
            made.append(row | known)
    return frame("published_estimates", made)


def write_warehouse(file: Path, tables: dict[str, pd.DataFrame]) -> None:
    """A warehouse of the tables."""
    folder = file.with_suffix(".parquet")
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    build_warehouse(file, {name: [folder / f"{name}.parquet"] for name in tables})


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    _, units = reference()
    made = published_tables(units["2018"])
    made["published_estimates"] = pd.concat([made["published_estimates"], by_sex(made)], ignore_index=True)
    return made


@pytest.fixture(scope="module")
def project(tables: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("reader"))
    shutil.copytree(REFERENCE, made.reference)
    write_warehouse(made.public_warehouse, tables)
    secret = frame("indicators", []).reindex(columns=TABLES["indicators"].names)
    write_warehouse(made.internal_warehouse, {**tables, "indicators": secret})
    return made


@pytest.fixture(scope="module")
def reader(project: Project) -> Reader:
    return perception.open(project.root)


def problems(ask: Callable[[], object]) -> list[str]:
    with pytest.raises(InputError) as caught:
        ask()
    return [str(problem) for problem in caught.value.problems]


def test_opening_is_light_and_finds_the_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys, perception; assert not {'duckdb', 'pandas', 'perception.reader'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])
    monkeypatch.setenv("PERCEPTION_PROJECT", str(project.root))
    assert perception.open().project.root == project.root


def test_a_project_without_a_warehouse_says_what_to_run(tmp_path: Path) -> None:
    (said,) = problems(lambda: perception.open(tmp_path))
    assert "perception run" in said
    assert str(tmp_path) in said


def test_only_the_internal_handle_is_marked_and_has_internal_tables(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    public = perception.open(project.root)
    assert capsys.readouterr().out == ""
    assert "published" not in repr(public)
    internal = perception.open(str(project.root), internal=True)
    assert INTERNAL_NOTE in capsys.readouterr().out
    assert "must not be published" in repr(internal)
    assert set(internal.tables()["table"]) - set(public.tables()["table"]) == {"indicators"}


def test_tables_and_columns_are_described_by_the_schemas(reader: Reader, tables: dict[str, pd.DataFrame]) -> None:
    listed = reader.tables().set_index("table")
    assert listed["rows"].to_dict() == {name: len(table) for name, table in tables.items()}
    assert listed.loc["withheld", "meaning"] == TABLES["withheld"].meaning
    described = reader.describe("district_rankings").set_index("column")
    assert list(described.index) == TABLES["district_rankings"].names
    assert described.loc["band", "allowed"] == "low, watch, not_distinguishable, high"
    assert described.loc["band", "nullable"]
    assert not described.loc["wave", "nullable"]


def test_columns_of_a_wave_are_described_by_their_type(project: Project, tmp_path: Path) -> None:
    row = dict.fromkeys(TABLES["responses"].names) | {"water_source": "tap", "visits": 3}
    own = Project(tmp_path)
    write_warehouse(own.internal_warehouse, {"responses": pd.DataFrame([row])})
    described = perception.open(tmp_path, internal=True).describe("responses").set_index("column")
    assert described["type"].iloc[-2:].to_dict() == {"water_source": "string", "visits": "integer"}


def test_a_table_comes_as_it_was_published(reader: Reader, tables: dict[str, pd.DataFrame]) -> None:
    pd.testing.assert_frame_equal(reader.table("published_estimates"), tables["published_estimates"])
    found = reader.table("district_rankings", wave="kp-2021", district_id=["kp-swat", "kp-bannu"], rank=pd.Series([1]))
    expected = tables["district_rankings"].query("wave == 'kp-2021' and district_id in ['kp-swat', 'kp-bannu']")
    pd.testing.assert_frame_equal(found, expected[expected["rank"] == 1].reset_index(drop=True))
    unranked = reader.table("district_rankings", wave="kp-2021", rank=None)
    assert set(unranked["district_id"]) == {SUPPRESSED}


def test_every_wrong_filter_is_told_with_the_nearest_names(reader: Reader) -> None:
    (said,) = problems(lambda: reader.table("publishd_estimates"))
    assert "Nearest: published_estimates" in said
    wrong = problems(
        lambda: reader.table("published_estimates", wav="x", wave="kp2021", indicator=["satisfied", "hard"])
    )
    assert [next(word for word in ("Nearest: wave", "kp-2021", "heard") if word in said) for said in wrong] == [
        "Nearest: wave",
        "kp-2021",
        "heard",
    ]
    (said,) = problems(lambda: reader.table("published_waves", wave="x' OR '1'='1"))
    assert "no row has" in said
    (said,) = problems(lambda: reader.table("published_waves", **{'wave" = wave --': "x"}))
    assert "no such column" in said


def test_sql_answers_with_bound_parameters(reader: Reader) -> None:
    query = "SELECT wave, count(*) AS n FROM published_waves WHERE simulated = $mark GROUP BY wave ORDER BY wave"
    assert reader.sql(query, {"mark": True}).to_dict("list") == {"wave": ["kp-2018", "kp-2021"], "n": [1, 1]}
    assert len(reader.sql("SELECT * FROM published_waves WHERE wave = ?", ["kp-2021"])) == 1


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FROM published_wave", "Nearest: published_waves"),
        ("SELECT respondent FROM published_waves", "Nearest: respondents"),
        ("SELECT w.citaton FROM published_waves w", "Nearest: citation"),
        ("SELECT gap FROM published_waves", "Tables that have it: published_gaps"),
        ("SELECT wave FORM published_waves", "syntax error"),
        ("DELETE FROM published_waves", "can only be read"),
        ("SELECT 1; DROP TABLE published_waves", "can only be read"),
        ("CREATE TABLE more AS SELECT 1", "can only be read"),
        ("COPY published_waves TO '{folder}/out.csv'", "no file"),
        ("EXPORT DATABASE '{folder}/out'", "no file"),
        ("ATTACH '{folder}/out.duckdb'", "no file"),
        ("SELECT * FROM read_csv('/etc/passwd')", "no file"),
        ("SELECT * FROM read_text('{internal}')", "no file"),
        ("ATTACH '{internal}' AS internal (READ_ONLY)", "no file"),
        ("SET enable_external_access = true", "locked"),
    ],
)
def test_sql_refuses_to_write_and_to_leave_the_warehouse(
    reader: Reader, project: Project, tmp_path: Path, query: str, told: str
) -> None:
    asked = query.replace("{folder}", str(tmp_path)).replace("{internal}", str(project.internal_warehouse))
    (said,) = problems(lambda: reader.sql(asked))
    assert told in said
    assert list(tmp_path.iterdir()) == []
    assert len(reader.waves()) == 3


def test_a_variable_is_no_table(reader: Reader) -> None:
    connection = pd.DataFrame({"a": [1]})
    assert problems(lambda: reader.sql("SELECT * FROM connection"))
    assert len(connection) == 1


def test_a_swapped_warehouse_is_seen_even_beside_an_open_connection(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    own = Project(tmp_path)
    write_warehouse(own.public_warehouse, tables)
    reader = perception.open(tmp_path)
    with duckdb.connect(str(own.public_warehouse), read_only=True):
        assert len(reader.waves()) == 3
        fewer = tables["published_waves"].query("wave != 'kp-2018'").reset_index(drop=True)
        write_warehouse(own.public_warehouse, {**tables, "published_waves": fewer})
        assert list(reader.waves()["wave"]) == ["kp-2021", "punjab-2021"]


def test_waves_and_indicators_are_listed_newest_first(reader: Reader) -> None:
    assert list(reader.waves()["wave"]) == ["kp-2021", "punjab-2021", "kp-2018"]
    listed = reader.indicators().set_index("indicator")
    assert listed.loc["satisfied", "waves"] == "kp-2021, punjab-2021, kp-2018"
    assert listed.loc["satisfied", "service"] == "Health & <b>care</b>"
    assert pd.isna(listed.loc["heard", "service"])
    assert list(reader.indicators("punjab-2021")["indicator"]) == ["satisfied", "minutes"]
    (said,) = problems(lambda: reader.indicators("punjab"))
    assert "punjab-2021" in said


def test_estimates_are_those_of_the_maps(reader: Reader, tables: dict[str, pd.DataFrame]) -> None:
    found = reader.estimate("heard", wave="kp-2021").set_index("district_id")
    published = tables["published_estimates"].query("indicator == 'heard' and method == 'small_area'")
    expected = published.set_index("unit_id")["estimate"]
    assert found["estimate"].to_dict() == pytest.approx(expected.to_dict(), abs=0, nan_ok=True)
    assert found.loc[UNRELIABLE, "method"] == "small_area"
    assert found.loc[UNRELIABLE, "district"] == "Swat"
    direct = reader.estimate("heard", wave="kp-2021", method="direct").set_index("district_id")
    assert direct.loc[UNRELIABLE, "quality"] == "suppress"
    assert pd.isna(direct.loc[UNRELIABLE, "estimate"])


def test_estimates_by_group_keep_suppressed_cells_with_the_reason(reader: Reader) -> None:
    found = reader.estimate("satisfied", by=["district", "sex"], wave="kp-2021")
    assert list(found["sex"].iloc[:2]) == ["female", "male"]
    shown = found[found["district_id"] != HIDDEN]
    assert (shown["estimate"] == shown["sex"].map(SEXES)).all()
    assert shown["reason"].isna().all()
    (hidden,) = found[(found["district_id"] == HIDDEN) & (found["sex"] == "female")].to_dict("records")
    assert all(pd.isna(hidden[name]) for name in ("estimate", "low", "high", "n"))
    assert hidden["reason"] == maps.reason_words("few_responses;wide_interval")
    assert hidden["district"] == "Swat"
    assert hidden["province"] == "Khyber Pakhtunkhwa"
    assert hidden["simulated"]


def test_estimates_without_a_wave_are_of_the_latest_round_real_before_simulated(reader: Reader) -> None:
    assert set(reader.estimate("satisfied")["wave"]) == {"punjab-2021"}
    assert set(reader.estimate("asked_bribe")["wave"]) == {"kp-2021"}
    province = reader.estimate("satisfied", by="province", wave="kp-2021")
    assert province[["province", "estimate"]].to_numpy().tolist() == [["Khyber Pakhtunkhwa", 0.345]]
    assert list(reader.estimate("satisfied", level="all", wave="kp-2021")["estimate"]) == [0.345]


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        ({"indicator": "satisfid"}, ["Nearest: satisfied"]),
        ({"indicator": "hard", "wave": "kp2021"}, ["heard", "kp-2021"]),
        ({"indicator": "minutes", "wave": "kp-2021"}, ["Waves that have it: punjab-2021"]),
        ({"indicator": "satisfied", "wave": "kp-2021", "by": ["sx"]}, ["sx: Nearest: sex. There are: sex."]),
        ({"indicator": "satisfied", "wave": "kp-2018", "by": "sex"}, ["There are: none"]),
        ({"indicator": "satisfied", "wave": "kp-2021", "by": "division"}, ["all (direct); district (direct)"]),
        ({"indicator": "satisfied", "wave": "kp-2021", "method": "small_area"}, ["no small_area estimates"]),
        ({"indicator": "satisfied", "level": "tehsil", "method": "both"}, ["level tehsil", "method both"]),
        ({"indicator": "satisfied", "by": "province", "level": "district"}, ["`by` names province"]),
    ],
)
def test_what_is_not_published_cannot_be_estimated(reader: Reader, ask: dict[str, str], told: list[str]) -> None:
    said = problems(lambda: reader.estimate(**ask))
    assert len(said) == len(told)
    assert all(part in text for part, text in zip(told, said, strict=True)), said


def test_rankings_say_bands_and_rank_sets_in_words(reader: Reader, tables: dict[str, pd.DataFrame]) -> None:
    found = reader.ranking("satisfied", "kp-2021")
    assert "rank" not in found
    ranked = tables["district_rankings"].query("wave == 'kp-2021' and indicator == 'satisfied' and scope == 'province'")
    worst = ranked.sort_values("rank")
    assert list(found["district_id"]) == list(worst["district_id"])
    assert found["district_id"].iloc[-1] == SUPPRESSED
    assert list(found["band"].iloc[:3]) == ["Low", "Low", "Watch"]
    assert found["rank_set"].iloc[0] == f"between 1st and 4th of {len(ranked) - 1}"
    assert list(found["estimate"].iloc[:2]) == list(worst["estimate"].iloc[:2])
    assert pd.isna(found["rank_set"].iloc[-1])
    assert found["reason"].iloc[-1] == maps.reason_words("few_responses;wide_interval")
    assert set(found["band"].dropna()) <= set(words.BAND_NAMES.values())
    assert found.loc[found["quality"] == "caution", "district_id"].tolist() == [CAREFUL]


def test_a_round_ranks_the_waves_that_were_fielded_together(reader: Reader) -> None:
    # KP is simulated and Punjab is not, so that they are not ranked together.
    assert set(reader.ranking("satisfied", "kp-2021", scope="round")["wave"]) == {"kp-2021"}
    (said,) = problems(lambda: reader.ranking("satisfied", scope="provinces"))
    assert "Nearest: province" in said


def drawn(figure: Figure) -> dict[str, dict]:
    """The traces of districts by their id."""
    return {trace.meta: trace.to_plotly_json() for trace in figure.data if trace.meta}


def test_a_map_has_every_district_in_the_colour_of_its_class(reader: Reader, tables: dict[str, pd.DataFrame]) -> None:
    _, units = reference()
    areas = drawn(reader.map("satisfied", "kp-2021"))
    assert set(areas) == set(units["2018"].query("province_id == 'kp'")["district_id"])
    # The median district is between 30 and 40 %, so that cuts are at 20, 30, 40 and 50 %; darker is worse.
    darkest_first = maps.PALETTE[::-1]
    rows = tables["published_estimates"].query("wave == 'kp-2021' and indicator == 'satisfied' and level == 'district'")
    for row in maps.records(rows[rows["domain"] == "all"].dropna(subset="estimate")):
        place = sum(round(row["estimate"], 3) >= cut for cut in (0.2, 0.3, 0.4, 0.5))
        assert areas[row["unit_id"]]["fillcolor"] == darkest_first[place], row["unit_id"]
        assert f"{row['estimate']:.1%}" in areas[row["unit_id"]]["text"]
    assert areas[UNCOVERED]["fillcolor"] == maps.NO_DATA
    assert areas[SUPPRESSED]["fillpattern"]["fgcolor"] == maps.HATCH_LINE
    assert "Not published" in areas[SUPPRESSED]["text"]
    assert "1,234 respondents" in areas["kp-swat"]["text"]
    assert "rank between" in areas["kp-swat"]["text"]


def test_a_map_carries_source_boundaries_and_the_mark_of_simulated_data(reader: Reader) -> None:
    simulated = reader.map("satisfied", "kp-2021")
    said = " ".join(note.text for note in simulated.layout.annotations).replace("<br>", " ")
    for part in ("Source: Producer (2021). Survey &lt;one&gt;", maps.PREVIEW_NOTE, maps.SIMULATED, "Not published"):
        assert part.replace("Not published", "not published") in said, part
    assert "<script>" not in simulated.to_json().replace("\\u003c", "<")
    assert simulated.layout.meta["warning"].startswith(maps.SIMULATED)
    assert {"No data (see note)", "Not published (see note)", "Use with caution"} <= {
        one.name for one in simulated.data
    }
    real = reader.map("minutes", "punjab-2021")
    assert maps.SIMULATED not in real.to_json()


@pytest.mark.parametrize("kind", ["bands", "change", "uncertainty"])
def test_other_kinds_of_map(reader: Reader, kind: maps.Kind) -> None:
    areas = drawn(reader.map("satisfied", "kp-2021", kind))
    district, said = {
        "bands": ("kp-abbottabad", "Low"),  # the worst of all
        "change": (BETTER, "Better: +5.0 points"),
        "uncertainty": ("kp-swat", "±4.0 points"),
    }[kind]
    assert said in areas[district]["text"]


def test_a_map_that_has_nothing_to_show_is_told(reader: Reader) -> None:
    (said,) = problems(lambda: reader.map("satisfied", "kp-2018", "change"))
    assert "no published change" in said
    (said,) = problems(lambda: reader.map("satisfied", "kp-2021", "maps"))  # type: ignore[arg-type]
    assert "Nearest: map" in said


def test_a_citation_names_software_and_survey_and_says_what_is_simulated(reader: Reader) -> None:
    real = reader.citation("punjab-2021")
    assert real.startswith("Producer (2021). Survey <one>. Estimates from these data: perception ")
    assert real.endswith(" Licence: CC BY 4.0.")
    assert maps.SIMULATED not in real
    assert reader.citation("kp-2021").startswith(maps.SIMULATED)
    (said,) = problems(lambda: reader.citation("kp2021"))
    assert "kp-2021" in said


def shown_in_a_notebook(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")
    monkeypatch.setattr("IPython.display.display", lambda content, **_: shown.append(content))
    monkeypatch.setattr(
        "plotly.io.show", lambda one, **_: shown.append({"application/vnd.plotly.v1+json": one.to_json()})
    )
    figure._ipython_display_()
    return shown


def test_a_notebook_keeps_the_image_of_a_map_beside_it_unless_it_was_changed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = reader.map("satisfied", "kp-2021")
    (shown,) = shown_in_a_notebook(figure, monkeypatch)
    assert set(shown) == {"application/vnd.plotly.v1+json", "image/png", "text/plain"}
    with Image.open(BytesIO(shown["image/png"])) as image:
        assert maps.SIMULATED in image.info["Title"]
    assert shown["text/plain"].startswith(maps.SIMULATED)
    (shown,) = shown_in_a_notebook(figure.update_layout(title="My own"), monkeypatch)
    assert set(shown) == {"application/vnd.plotly.v1+json"}


def test_a_chart_shows_estimates_in_their_order_with_intervals_respondents_and_cautions(reader: Reader) -> None:
    rows = reader.estimate("satisfied", wave="kp-2021").sort_values("estimate")
    figure = reader.chart(rows, "district", "Satisfied, by district").figure
    known = rows.dropna(subset="estimate")
    assert [bar.label for bar in figure.bars] == list(known["district"])
    for bar, row in zip(figure.bars, maps.records(known), strict=True):
        assert bar.value == f"{row['estimate']:.1%}"
        assert (bar.interval.low, bar.interval.high) == pytest.approx((100 * row["low"], 100 * row["high"]))
        assert bar.detail == f"{row['n']:,} respondents"
        assert bool(bar.sign) == (row["quality"] != "caution")
    assert figure.simulated
    assert figure.alt.startswith(maps.SIMULATED)
    assert f"{len(rows) - len(known)} of {len(rows)} are not published." in figure.notes
    assert "Source: Producer (2021)" in figure.source
    assert (figure.measure, figure.key[1]) == ("Percent", ("point", 0, "use with caution"))


def test_a_chart_of_differences_leaves_open_what_cannot_be_told_from_zero(reader: Reader) -> None:
    rows = reader.table("published_trends", wave="kp-2021", indicator="satisfied", level="district", domain="all")
    figure = reader.chart(rows, "unit_id", "Change", value="change").figure
    bars = {bar.label: bar for bar in figure.bars}
    known = {row["unit_id"]: row for row in maps.records(rows.dropna(subset="change"))}
    assert {name: bar.sign for name, bar in bars.items()} == {
        name: {"better": 1, "worse": -1, "cannot_tell": 0}[row["verdict"]] for name, row in known.items()
    }
    assert {bar.sign for bar in figure.bars} == {-1, 0, 1}
    assert bars[BETTER].value == "+5.0"
    assert figure.measure == "Difference, percentage points"
    assert NOT_CAUSE in figure.notes
    assert f"{sum(bool(bar.sign) for bar in figure.bars)} of {len(bars)} can be told from zero." in figure.alt


def test_a_chart_says_what_it_cannot_show(reader: Reader) -> None:
    rows = reader.estimate("satisfied", wave="kp-2021")
    said = problems(lambda: reader.chart(rows, "districts", "Satisfied", value="share"))
    assert "column districts" in said[0]
    assert "Nearest: district" in said[0]
    assert "column share" in said[1]
    (said,) = problems(lambda: reader.chart(rows[rows["estimate"].isna()], "district", "None"))
    assert "no row has a number" in said
    minutes = reader.estimate("minutes", wave="punjab-2021")
    (said,) = problems(lambda: reader.chart(pd.concat([rows, minutes]), "district", "Both"))
    assert "different units (minutes, share)" in said
    assert reader.chart(minutes, "district", "Minutes").figure.measure == "Minutes"


def test_districts_of_a_wave_have_names_and_census_figures(reader: Reader) -> None:
    _, units = reference()
    found = reader.districts("kp-2021").set_index("district_id")
    swat = units["2018"].set_index("district_id").loc["kp-swat"]
    assert set(found.index) == set(units["2018"]["district_id"])
    assert found.loc["kp-swat", ["district", "division", "population_2023"]].tolist() == [
        *("Swat", swat["division"], swat["population_2023"])
    ]
    (said,) = problems(lambda: reader.districts("kp-2012"))
    assert "Nearest: kp-2018" in said


def test_numbers_are_shown_as_the_site_writes_them(reader: Reader) -> None:
    rows = reader.estimate("satisfied", wave="kp-2021")
    shown = reader.shown(rows)
    for text, value in zip(shown["estimate"], rows["estimate"], strict=True):
        assert text == ("" if pd.isna(value) else f"{value:.1%}")
    assert shown.drop(columns=["estimate", "low", "high"]).equals(rows.drop(columns=["estimate", "low", "high"]))
    changes = reader.table("published_trends", wave="kp-2021", indicator="satisfied", unit_id=BETTER, domain="all")
    (row,) = maps.records(reader.shown(changes))
    assert row["change"] == "+5.0"
    assert row["after"].endswith("%")
    minutes = reader.shown(reader.estimate("minutes", wave="punjab-2021"))
    assert not minutes["estimate"].str.contains("%").any()
    (said,) = problems(lambda: reader.shown(rows.drop(columns="indicator")))
    assert "column indicator" in said


def test_a_published_wave_without_a_row_in_a_table_is_no_mistake(reader: Reader) -> None:
    assert reader.table("published_trends", wave="kp-2018").empty
    (said,) = problems(lambda: reader.table("published_trends", wave="kp-2017"))
    assert "Nearest: kp-2018" in said


def test_an_error_in_a_notebook_is_its_message(reader: Reader) -> None:
    with pytest.raises(InputError) as caught:
        reader.table("published_trend")
    assert caught.value._render_traceback_() == str(caught.value).splitlines()
