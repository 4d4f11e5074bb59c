"""Intake on small hand-made waves: what is read from each format, and how every kind of mistake is reported."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyreadstat
import pytest
import yaml

from perception import wave_folders
from perception.drivers.wave_drivers import indicator_values
from perception.errors import InputError
from perception.estimation.totals import indicator_quantity, totals
from perception.geography import Gazetteer, load_gazetteer
from perception.intake.describe import indicator_facts, wave_facts
from perception.intake.harmonise import declaration_problems, responses, sampled_psus
from perception.intake.instrument import Indicator, Instrument, Service, load_instrument
from perception.intake.raw import raw_responses
from perception.intake.readers import code_key, code_keys, read_table
from perception.intake.wave_file import (
    CHECKSUMS_FILE,
    Wave,
    checksum_problems,
    load_wave,
    wave_version,
    write_checksums,
)
from perception.project import Project, open_wave
from tests.conftest import ROOT, SMALL_WAVE, small_answers, write_small_wave

INSTRUMENT: dict[str, Any] = {
    "id": "tiny",
    "title": "Tiny questionnaire",
    "source": "made for tests",
    "questions": {
        "used": {"label": "Used it?", "type": "category", "categories": {"no": "No", "yes": "Yes"}},
        "service": {
            "label": "How good is it?",
            "type": "ordinal",
            "categories": {"bad": "Bad", "fair": "Fair", "good": "Good"},
        },
        "step": {"label": "Which step?", "type": "number", "unit": "steps", "range": [0, 10]},
    },
    "indicators": {
        "satisfied": {
            "label": "Satisfied",
            "question": "service",
            "positive": ["good", "fair"],
            "universe": {"question": "used", "answers": ["yes"]},
            "population": "users",
        },
        "user": {"label": "Used it", "question": "used", "positive": ["yes"], "population": "adults"},
        "mean_step": {"label": "Mean step", "question": "step", "population": "adults"},
    },
}

SERVICE = {"label": {"en": "The clinic", "ur": "کلینک"}, "indicators": ["user", "satisfied"]}

WAVE: dict[str, Any] = {
    "id": "tiny-2021",
    "round": "2021",
    "title": "Tiny survey",
    "instrument": "tiny",
    "dates": {"start": "2021-03-01", "end": "2021-03-31"},
    "producer": "Tests",
    "citation": "Tests (2021)",
    "licence": "CC0-1.0",
    "simulated": True,
    "files": [{"path": "answers.csv"}],
    "rows": [{"column": "result", "keep": [1]}],
    "respondent_id": ["id"],
    "design": {"weight": "w", "weight_scale": "relative", "strata": ["district", "area"], "psu": "psu"},
    "geography": {"vintage": "2018", "district": "district"},
    "variables": {
        "urban": {"source": "area", "map": {1: "urban", 2: "rural"}},
        "age": {"source": "age"},
        "wealth": {"source": "wealth", "map": {1: "lowest", 5: "highest"}, "missing": {9: "refused"}},
        "used": {"source": "used", "map": {0: "no", 1: "yes"}},
        "service": {
            "source": "q1",
            "map": {1: "bad", 2: "fair", 3: "good"},
            "missing": {8: "dont_know", 9: "refused"},
            "blank": "not_asked",
        },
        "step": {"source": "q2", "missing": {98: "dont_know", 99: "refused"}},
    },
}

# Peshawar has two PSUs in its city and one, with a single respondent, outside; Swat has one of each; one row is no
# interview.
ANSWERS = pd.DataFrame(
    [
        (1, "Peshawar", 1, 11, 1.5, 24, 1, 1, 3, 7, 1),
        (2, "Peshawar", 1, 11, 0.5, 25, 5, 1, 8, 98, 1),
        (3, "Peshawar", 1, 12, 1.0, 98, 9, 0, None, 10, 1),
        (4, "Peshawar", 2, 13, 2.0, 65, 1, 1, 9, 99, 1),
        (5, "Swat", 1, 21, 1.0, 44, 5, 1, 1, None, 1),
        (6, "Swat", 2, 22, 1.0, 34, None, 1, 2, 0, 1),
        (7, "Swat", 2, 23, None, None, None, None, None, None, 2),
    ],
    columns=["id", "district", "area", "psu", "w", "age", "wealth", "used", "q1", "q2", "result"],
)


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A deep copy with values replaced at dotted places (`design__psu=...`); None removes the key."""
    result = copy.deepcopy(base)
    for place, value in changes.items():
        *path, last = place.split("__")
        inner = result
        for key in path:
            inner = inner[key]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return result


def write_wave(folder: Path, answers: pd.DataFrame = ANSWERS, **changes: Any) -> Path:
    """The folder of the tiny wave with `answers` as CSV, and its wave.yml with some values changed."""
    folder = folder / "tiny-2021"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wave.yml").write_text(yaml.safe_dump(changed(WAVE, **changes), sort_keys=False), encoding="utf-8")
    answers.to_csv(folder / "answers.csv", index=False)
    return folder


def with_cells(row: int, **cells: Any) -> pd.DataFrame:
    """The answers with some cells of one row replaced."""
    answers = ANSWERS.astype(object)
    for column, value in cells.items():
        answers.at[row, column] = value
    return answers


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer(ROOT / "data/raw/reference")


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return Instrument.model_validate(INSTRUMENT)


@pytest.fixture(scope="module")
def tidy(instrument: Instrument, gazetteer: Gazetteer) -> Callable[[Path], pd.DataFrame]:
    """Reads a wave folder into responses."""

    def read(folder: Path) -> pd.DataFrame:
        wave = load_wave(folder)
        return responses(raw_responses(wave, folder), wave, instrument, gazetteer).set_index("respondent_id")

    return read


@pytest.fixture
def found(tidy: Callable[[Path], pd.DataFrame]) -> Callable[[Path], list[str]]:
    """The problems that reading a wave folder raises, as text."""

    def problems(folder: Path) -> list[str]:
        with pytest.raises(InputError) as raised:
            tidy(folder)
        return [str(problem) for problem in raised.value.problems]

    return problems


Tidy = Callable[[Path], pd.DataFrame]
Found = Callable[[Path], list[str]]


# What is read


def test_responses_of_the_tiny_wave(tmp_path: Path, tidy: Tidy) -> None:
    frame = tidy(write_wave(tmp_path))
    assert frame.index.tolist() == ["1", "2", "3", "4", "5", "6"]
    assert frame["district_id"].tolist() == ["kp-peshawar"] * 4 + ["kp-swat"] * 2
    assert frame["stratum"].tolist() == ["Peshawar/1"] * 3 + ["Peshawar/2", "Swat/1", "Swat/2"]
    assert frame["psu"].tolist() == ["11", "11", "12", "13", "21", "22"]
    assert frame["weight"].tolist() == [1.5, 0.5, 1.0, 2.0, 1.0, 1.0]
    assert frame["urban"].tolist() == ["urban"] * 3 + ["rural", "urban", "rural"]
    assert frame["wealth"].fillna("").tolist() == ["lowest", "highest", "", "lowest", "highest", ""]
    assert frame["sex"].isna().all()


def test_reasons_for_no_answer_are_kept(tmp_path: Path, tidy: Tidy) -> None:
    frame = tidy(write_wave(tmp_path))
    assert frame["service"].tolist() == ["good", "dont_know", "not_asked", "refused", "bad", "fair"]
    np.testing.assert_array_equal(frame["step"], [7, np.nan, 10, np.nan, np.nan, 0])
    assert frame["step_reason"].astype(object).fillna("").tolist() == ["", "dont_know", "", "refused", "missing", ""]


def test_98_is_a_true_age_where_it_is_not_declared_missing(tmp_path: Path, tidy: Tidy) -> None:
    assert tidy(write_wave(tmp_path))["age"].tolist() == [24, 25, 98, 65, 44, 34]
    declared = tidy(write_wave(tmp_path, variables__age={"source": "age", "missing": {98: "dont_know"}}))
    assert np.isnan(declared.loc["3", "age"])
    assert pd.isna(declared.loc["3", "age_group"])


def test_age_groups_begin_at_their_first_year(tmp_path: Path, tidy: Tidy) -> None:
    assert tidy(write_wave(tmp_path))["age_group"].tolist() == ["<25", "25-34", "65+", "65+", "35-44", "25-34"]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"column": "result", "keep": [1]}, "123456"),
        ({"column": "result", "keep": ["1"]}, "123456"),
        ({"column": "result", "drop": [2]}, "123456"),
        ({"column": "area", "drop": [2.0]}, "1235"),
        ({"column": "wealth", "keep": [1, 5]}, "1245"),
        ({"column": "wealth", "drop": [1, 5]}, "36"),  # a blank is none of the codes to drop
    ],
)
def test_row_rules(tmp_path: Path, tidy: Tidy, rule: dict[str, Any], kept: str) -> None:
    rules = [{"column": "result", "keep": [1]}, rule]
    assert "".join(tidy(write_wave(tmp_path, rows=rules)).index) == kept


def test_no_row_that_counts_is_a_mistake(tmp_path: Path, found: Found) -> None:
    (problem,) = found(write_wave(tmp_path, rows=[{"column": "result", "keep": [5]}]))
    assert "none of 7 rows counts" in problem


def test_a_constant_and_an_id_of_several_columns(tmp_path: Path, tidy: Tidy) -> None:
    folder = write_wave(tmp_path, respondent_id=["psu", "id"], variables__sex={"constant": "female"})
    frame = tidy(folder)
    assert frame.index[0] == "11/1"
    assert set(frame["sex"]) == {"female"}


def test_districts_by_code_and_declared_names(tmp_path: Path, tidy: Tidy) -> None:
    coded = ANSWERS.assign(district=ANSWERS["district"].map({"Peshawar": 7, "Swat": 8}))
    place = {"vintage": "2018", "district": "district", "by": "code", "names": {7: "kp-peshawar", 8: "kp-swat"}}
    frame = tidy(write_wave(tmp_path, coded, geography=place))
    assert frame["district_id"].tolist() == ["kp-peshawar"] * 4 + ["kp-swat"] * 2


# Codes and formats


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (1, "1"),
        (1.0, "1"),
        (" 1 ", "1"),
        (np.float64(98), "98"),
        (0.5, "0.5"),
        (-3.0, "-3"),
        ("98.0", "98"),
        ("1.50", "1.50"),
        ("01", "01"),
        (True, "1"),
        (datetime.date(2021, 3, 8), "2021-03-08"),
    ],
)
def test_code_keys_are_the_same_across_formats(value: object, key: str) -> None:
    assert code_key(value) == key


def test_blank_text_is_no_code() -> None:
    assert code_keys(pd.Series(["a", " ", "", None, "b "])).fillna("-").tolist() == ["a", "-", "-", "-", "b"]


def test_spss_file_keeps_user_missing_codes_and_reads_labels_and_dates(tmp_path: Path, tidy: Tidy) -> None:
    folder = write_wave(
        tmp_path,
        files=[{"path": "answers.sav"}],
        variables__used={"source": "used", "by": "label", "map": {"Never": "no", "Yes, I did": "yes"}},
    )
    labels = {"q1": {1.0: "Bad", 8.0: "DK"}, "used": {0.0: "Never", 1.0: " Yes, I did "}}
    pyreadstat.write_sav(
        ANSWERS.assign(day=[datetime.date(2021, 3, 8)] * 6 + [None]),
        str(folder / "answers.sav"),
        variable_value_labels=labels,
        missing_ranges={"q1": [8.0, 9.0], "q2": [{"lo": 98, "hi": 99}]},
    )
    expected = tidy(write_wave(tmp_path / "csv"))
    pd.testing.assert_frame_equal(tidy(folder), expected)
    raw = raw_responses(load_wave(folder), folder)
    assert raw.loc[0, "day"] == "2021-03-08"
    assert raw.attrs["value_labels"]["q1"] == {"1": "Bad", "8": "DK"}


def test_stata_file_keeps_extended_missing_codes(tmp_path: Path, tidy: Tidy) -> None:
    answers = ANSWERS.astype({"q1": object, "q2": object})
    answers["q1"] = answers["q1"].map(lambda code: {8: "d", 9: "r"}.get(code, code))
    answers["q2"] = answers["q2"].map(lambda code: {98: "a", 99: "r"}.get(code, code))
    folder = write_wave(
        tmp_path,
        files=[{"path": "answers.dta"}],
        variables__service__missing={".d": "dont_know", ".r": "refused"},
        variables__step={"source": "q2", "missing": {".a": "dont_know", ".r": "refused"}},
    )
    pyreadstat.write_dta(answers, str(folder / "answers.dta"), missing_user_values={"q1": ["d", "r"], "q2": ["a", "r"]})
    pd.testing.assert_frame_equal(tidy(folder), tidy(write_wave(tmp_path / "csv")))


def test_undeclared_extended_missing_code_is_named(tmp_path: Path, found: Found) -> None:
    answers = ANSWERS.astype({"q1": object})
    answers.loc[1, "q1"] = "d"
    folder = write_wave(tmp_path, files=[{"path": "answers.dta"}])
    pyreadstat.write_dta(
        answers,
        str(folder / "answers.dta"),
        missing_user_values={"q1": ["d"]},
        variable_value_labels={"q1": {1: "Bad", "d": "Does not know"}},
    )
    (problem,) = found(folder)
    assert "answers.dta, column q1: code '.d' (Does not know) stands in 1 rows" in problem


def test_parquet_file(tmp_path: Path, tidy: Tidy) -> None:
    folder = write_wave(tmp_path, files=[{"path": "answers.parquet"}])
    typed = ANSWERS.astype({"district": "category", "q1": "Int64"}).assign(day=pd.Timestamp(2021, 3, 8))
    typed.to_parquet(folder / "answers.parquet")
    pd.testing.assert_frame_equal(tidy(folder), tidy(write_wave(tmp_path / "csv")))


def test_nothing_is_left_out_of_the_raw_responses(tmp_path: Path) -> None:
    folder = write_wave(tmp_path)
    raw = raw_responses(load_wave(folder), folder)
    assert raw["source_row"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert raw.columns.tolist() == ["source_row", *ANSWERS.columns]


# Several files

JOINED = [{"path": "answers.csv"}, {"path": "clusters.csv", "join": {"on": ["psu"]}}]


def clusters() -> pd.DataFrame:
    return pd.DataFrame({"psu": [23, 22, 21, 13, 12, 11], "cluster_weight": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})


def write_joined(folder: Path, further: pd.DataFrame, answers: pd.DataFrame = ANSWERS, **changes: Any) -> Path:
    changes = {"files": JOINED, "design__weight": "cluster_weight", **changes}
    folder = write_wave(folder, answers, **changes)
    further.to_csv(folder / "clusters.csv", index=False)
    return folder


def test_a_further_file_is_joined_on_its_key_in_the_order_of_the_first(tmp_path: Path, tidy: Tidy) -> None:
    assert tidy(write_joined(tmp_path, clusters()))["weight"].tolist() == [6, 6, 5, 4, 3, 2]


def test_files_join_whose_keys_are_text_in_one_and_numbers_in_the_other(tmp_path: Path, tidy: Tidy) -> None:
    files = [{"path": "answers.csv"}, {"path": "clusters.sav", "join": {"on": ["psu"]}}]
    folder = write_wave(tmp_path, files=files, design__weight="cluster_weight")
    pyreadstat.write_sav(clusters(), str(folder / "clusters.sav"))
    assert tidy(folder)["weight"].tolist() == [6, 6, 5, 4, 3, 2]


def test_a_join_key_that_stands_twice(tmp_path: Path, found: Found) -> None:
    further = pd.concat([clusters(), clusters().iloc[[1]]])
    (problem,) = found(write_joined(tmp_path, further))
    assert "clusters.csv, join column psu: 2 rows share a key, for example ['22']" in problem
    assert "must hold each key once" in problem


def test_rows_without_a_partner(tmp_path: Path, found: Found) -> None:
    (problem,) = found(write_joined(tmp_path, clusters().query("psu != 11")))
    assert "2 rows of answers.csv find no row, for example ['11']" in problem


def test_columns_of_both_files_must_agree(tmp_path: Path, found: Found, tidy: Tidy) -> None:
    same = clusters().merge(ANSWERS[["psu", "area"]].drop_duplicates())
    assert tidy(write_joined(tmp_path, same))["urban"].notna().all()
    (problem,) = found(write_joined(tmp_path, same.assign(area=[2, 2, 1, 2, 2, 1])))
    assert "clusters.csv, column area: differs from the same column of an earlier file in 1 rows" in problem
    files = [JOINED[0], {**JOINED[1], "columns": ["cluster_weight"]}]
    assert len(tidy(write_joined(tmp_path, same.assign(area=9), files=files))) == 6


def test_a_join_key_that_a_file_does_not_have(tmp_path: Path, found: Found) -> None:
    (problem,) = found(write_joined(tmp_path, clusters().rename(columns={"psu": "cluster"})))
    assert "join column psu: is not in both files" in problem


def test_columns_to_take_that_are_not_there(tmp_path: Path, found: Found) -> None:
    first = {"path": "answers.csv", "columns": ["id", "nope", "nil"]}
    problems = found(write_wave(tmp_path, files=[first]))
    assert [problem.split(":")[0] for problem in problems] == [
        "tiny-2021/answers.csv, column nope",
        "tiny-2021/answers.csv, column nil",
    ]


# Mistakes in the data


def test_an_undeclared_code_names_file_column_code_count_and_remedy(tmp_path: Path, found: Found) -> None:
    answers = with_cells(0, q1=4)
    answers.at[1, "q1"] = 4
    (problem,) = found(write_wave(tmp_path, answers))
    assert problem == (
        "tiny-2021/answers.csv, column q1: code '4' stands in 2 rows and is not declared. "
        "Add it to `map` or `missing` of variables.service in wave.yml."
    )


def test_every_problem_is_reported_at_once(tmp_path: Path, found: Found) -> None:
    answers = with_cells(0, q1=4, used=7, w=-1)
    answers.loc[1, ["q2", "psu", "district"]] = ["many", None, "Peshawur"]
    answers.at[2, "id"] = 1
    problems = found(write_wave(tmp_path, answers))
    wanted = [
        "column q1: code '4'",
        "column used: code '7'",
        "column q2: code 'many'",
        "column district, in 1 rows: 'Peshawur' is not a district",
        "column w: 1 of 6 rows",
        "respondent_id (id): 1 ids stand in 2 rows, for example 1",
        "answers.csv, design.psu (psu): is blank in 1 rows",
    ]
    assert len(problems) == len(wanted)
    for text in wanted:
        assert sum(text in problem for problem in problems) == 1, text


def test_an_unknown_district_comes_with_a_suggestion(tmp_path: Path, found: Found) -> None:
    (problem,) = found(write_wave(tmp_path, ANSWERS.replace({"district": {"Peshawar": "Pesshawar"}})))
    assert "tiny-2021/answers.csv, column district, in 4 rows: 'Pesshawar' is not a district of vintage 2018" in problem
    assert "If Peshawar is meant, declare 'Pesshawar' as kp-peshawar" in problem


def test_a_blank_district(tmp_path: Path, found: Found) -> None:
    problems = found(write_wave(tmp_path, with_cells(0, district=None)))
    assert any("column district: the district is blank in 1 rows" in problem for problem in problems)


@pytest.mark.parametrize("weight", [None, 0, -1.5, "heavy", "inf"])
def test_a_weight_must_be_a_positive_number(tmp_path: Path, found: Found, weight: object) -> None:
    (problem,) = found(write_wave(tmp_path, with_cells(2, w=weight)))
    assert "answers.csv, column w: 1 of 6 rows that count have no positive weight" in problem


def test_psu_ids_that_restart_in_each_stratum(tmp_path: Path, found: Found, tidy: Tidy) -> None:
    restarting = ANSWERS.assign(psu=[1, 1, 2, 1, 1, 2, 3])
    (problem,) = found(write_wave(tmp_path, restarting))
    assert (
        "answers.csv, design.psu (psu): 2 PSU ids stand in several strata, for example 1 in Peshawar/1, Peshawar/2"
        in problem
    )
    assert "List under design.psu_within" in problem
    frame = tidy(write_wave(tmp_path, restarting, design__psu_within=["district", "area"]))
    places = ["Peshawar/1/1", "Peshawar/1/1", "Peshawar/1/2", "Peshawar/2/1", "Swat/1/1", "Swat/2/2"]
    assert frame["psu"].tolist() == places


def test_a_blank_stratum_or_id(tmp_path: Path, found: Found) -> None:
    assert any(
        "answers.csv, design.strata (district, area): is blank in 1 rows" in p
        for p in found(write_wave(tmp_path, with_cells(0, area=None)))
    )
    (problem,) = found(write_wave(tmp_path, with_cells(3, id=None)))
    assert "respondent_id (id): is blank in 1 rows, first at rows [4]" in problem


def test_a_number_out_of_range(tmp_path: Path, found: Found) -> None:
    (problem,) = found(write_wave(tmp_path, with_cells(0, q2=11)))
    assert "column q2: step is 11 in 1 rows, outside 0 to 10. Declare it under `missing`" in problem
    (problem,) = found(write_wave(tmp_path, with_cells(0, age=131)))
    assert "age is 131 in 1 rows, outside 0 to 130" in problem


def test_missing_columns_are_named_with_the_place_that_wants_them(tmp_path: Path, found: Found) -> None:
    problems = found(write_wave(tmp_path, ANSWERS.drop(columns=["w", "q1", "result", "area"])))
    places = [problem.split(":")[0].removeprefix("tiny-2021/wave.yml, ") for problem in problems]
    assert places == ["rows", "design.weight", "design.strata", "variables.urban", "variables.service"]
    assert "column 'w' is in none of answers.csv" in problems[1]


# Mistakes in files


def test_a_file_that_differs_from_its_checksum(tmp_path: Path, found: Found, tidy: Tidy) -> None:
    folder = write_wave(tmp_path)
    write_checksums(load_wave(folder), folder)
    assert len(tidy(folder)) == 6
    (folder / "answers.csv").write_text((folder / "answers.csv").read_text() + "\n")
    (problem,) = found(folder)
    assert "tiny-2021/answers.csv: is not the file whose checksum was recorded. Restore it" in problem


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path, found: Found) -> None:
    names = [
        "absent.csv",
        "broken.sav",
        "broken.dta",
        "empty.csv",
        "notes.docx",
        "none.csv",
        "long.csv",
        "latin.csv",
    ]
    files = [{"path": "answers.csv"}, *({"path": name, "join": {"on": ["id"]}} for name in names)]
    folder = write_wave(tmp_path, files=files)
    for name in names[1:]:
        (folder / name).write_bytes(b"nonsense")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "none.csv").write_text("id,x\n")
    (folder / "long.csv").write_text("id,x\n1,2,3\n4,5,6\n")
    (folder / "latin.csv").write_bytes("id,x\n1,é\n".encode("latin-1"))
    problems = found(folder)
    assert [problem.split(":")[0] for problem in problems] == [f"tiny-2021/{name}" for name in names]
    said = ["not there", *["cannot be read"] * 3, "files of type .docx are not read", "no rows"]
    said += ["its rows have more values than the header has names", "utf-8"]
    for problem, words in zip(problems, said, strict=True):
        assert words in problem


def test_a_csv_whose_lines_end_with_a_comma_keeps_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\n1,2,\n3,4,\n")
    assert read_table(tmp_path / "a.csv", "a").frame.to_dict("list") == {"id": ["1", "3"], "x": ["2", "4"]}


# Mistakes in wave.yml


def wave_mistakes(folder: Path, text: str | bytes) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "wave.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as raised:
        load_wave(folder)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"id: caf\xe9\n", "is not UTF-8 text"),
        ("id: a\nid: b\n", "the key 'id' stands twice"),
        ("variables: {a: {map: {1: yes, 1.0: no}}}\n", "the key 1.0 stands twice"),
        ("id: [unclosed\n", "is not valid YAML"),
        ("- a\n- b\n", "does not hold a mapping"),
        ("", "does not hold a mapping"),
    ],
)
def test_wave_files_that_are_no_yaml_mapping(tmp_path: Path, text: str | bytes, said: str) -> None:
    (problem,) = wave_mistakes(tmp_path / "w", text)
    assert problem.startswith("w/wave.yml: ")
    assert said in problem


def test_a_wave_folder_without_wave_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"empty/wave\.yml: the file does not exist"):
        load_wave(tmp_path / "empty")


def test_every_mistake_of_a_wave_file_is_listed_with_its_place(tmp_path: Path) -> None:
    mistaken = changed(
        WAVE,
        licence=None,
        producr="typo",
        dates__start="soon",
        design__weight_scale="huge",
        geography__by="number",
        rows=[{"column": "a", "keep": [1], "drop": [2]}],
        variables={
            "used": {"source": "used", "constant": "yes"},
            "service": {"source": "q1", "map": {8: "bad"}, "missing": {"8": "refused"}},
            "step": {"source": "q2", "missing": {98: "no_idea"}},
        },
    )
    problems = wave_mistakes(tmp_path / "tiny-2021", yaml.safe_dump(mistaken))
    places = sorted(problem.split(":")[0].removeprefix("tiny-2021/wave.yml, ") for problem in problems)
    assert places == [
        "dates.start",
        "design.weight_scale",
        "geography.by",
        "licence",
        "producr",
        "rows.0",
        "variables.service",
        "variables.step.missing.98",
        "variables.used",
    ]
    said = "\n".join(problems)
    assert "licence: is missing. Add it." in said
    assert "producr: is not a key that is known here. Remove it or correct its spelling." in said
    assert "variables.used: needs either `source` or `constant`. Give one of the two." in said
    assert "rows.0: needs either `keep` or `drop`. Give one of the two." in said
    assert "codes ['8'] stand twice in `map` and `missing` together" in said
    assert "(found 'huge')" in said


def test_a_code_written_as_number_and_as_text_would_lose_one_of_them(tmp_path: Path) -> None:
    twice = changed(WAVE, variables__used__map={1: "yes", "1": "no"})
    (problem,) = wave_mistakes(tmp_path / "tiny-2021", yaml.safe_dump(twice))
    assert "codes ['1'] stand twice" in problem


def test_only_the_first_file_stands_alone(tmp_path: Path) -> None:
    alone = changed(WAVE, files=[{"path": "a.csv"}, {"path": "b.csv"}])
    (problem,) = wave_mistakes(tmp_path / "tiny-2021", yaml.safe_dump(alone))
    assert "every further one needs `join`" in problem


def test_a_wave_lies_in_a_folder_of_its_name(tmp_path: Path) -> None:
    (problem,) = wave_mistakes(tmp_path / "other", yaml.safe_dump(WAVE))
    assert "other/wave.yml, id: is 'tiny-2021'. Name the folder tiny-2021 or correct the id." in problem


@pytest.mark.parametrize("wave_id", ["Tiny", "tiny_2021", "../up", "-tiny", ""])
def test_wave_ids_are_slugs(tmp_path: Path, wave_id: str) -> None:
    problems = wave_mistakes(tmp_path / "w", yaml.safe_dump(changed(WAVE, id=wave_id)))
    assert problems[0].startswith("w/wave.yml, id:")


def test_data_files_lie_beside_the_wave_file(tmp_path: Path) -> None:
    (problem,) = wave_mistakes(tmp_path / "w", yaml.safe_dump(changed(WAVE, files=[{"path": "../secret.csv"}])))
    assert "files.0.path" in problem


def test_yes_and_no_are_words_and_years_may_be_rounds(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(WAVE, variables=None, round=None, simulated=None))
    text += "round: 2021\nsimulated: false\n"
    text += "variables: {used: {source: used, map: {0: no, 1: yes, 2: on, 3: Off, n: no}}}\n"
    (tmp_path / "tiny-2021").mkdir()
    (tmp_path / "tiny-2021/wave.yml").write_text(text)
    wave = load_wave(tmp_path / "tiny-2021")
    assert wave.variables["used"].map == {0: "no", 1: "yes", 2: "on", 3: "Off", "n": "no"}
    assert wave.round == "2021"
    assert wave.simulated is False


def test_what_a_wave_declares_must_fit_its_instrument(instrument: Instrument) -> None:
    variables = {
        "used": {"source": "used", "map": {1: "yes", 2: "nope", 3: "nope"}},
        "service": {"source": "q1"},
        "step": {"source": "q2", "map": {1: "one"}},
        "age": {"constant": "30"},
        "sex": {"constant": "woman"},
        "mood": {"source": "q9", "map": {1: "good"}},
    }
    wave = Wave.model_validate(changed(WAVE, variables=variables))
    problems = [str(problem) for problem in declaration_problems(wave, instrument)]
    wanted = [
        "variables.used, nope: is not a category of used. Use one of no, yes.",
        "variables.service: has no `map` from codes to categories. Map its codes to bad, fair, good.",
        "variables.step: step is a number and takes no map or constant.",
        "variables.age: age is a number and takes no map or constant.",
        "variables.sex, woman: is not a category of sex. Use one of female, male, transgender.",
        "variables.mood: is neither a question of tiny nor a background variable.",
    ]
    assert len(problems) == len(wanted)
    for problem, text in zip(problems, wanted, strict=True):
        assert problem.startswith(f"tiny-2021/wave.yml, {text}")


def test_a_wave_must_fill_an_indicator(instrument: Instrument) -> None:
    wave = Wave.model_validate(changed(WAVE, variables={"service": WAVE["variables"]["service"]}))
    (problem,) = declaration_problems(wave, instrument)  # `satisfied` also needs its universe, `used`
    assert "fill none of the indicators of tiny" in str(problem)


# Mistakes in instruments


def instrument_mistakes(tmp_path: Path, **changes: Any) -> str:
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(changed(INSTRUMENT, **changes)))
    with pytest.raises(InputError) as raised:
        load_instrument(tmp_path / "tiny.yml")
    return str(raised.value)


MODEL = {"label": "m", "outcome": "satisfied", "drivers": [{"variable": "used"}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"questions__used__type": "number"}, "questions.used: a number has no categories"),
        ({"questions__used__categories": {"no": "No"}}, "questions.used: needs at least two categories"),
        ({"questions__used__categories__refused": "R"}, "['refused'] are reasons for no answer"),
        ({"questions__used__type": "choice"}, "questions.used.type"),
        ({"questions__Bad-Name": INSTRUMENT["questions"]["used"]}, "questions.Bad-Name"),
        ({"questions__weight": INSTRUMENT["questions"]["used"]}, "question weight has the name of a column"),
        ({"questions__sex": INSTRUMENT["questions"]["used"]}, "question sex has the name of a column"),
        ({"questions__step_reason": INSTRUMENT["questions"]["used"]}, "question step_reason has the name of a column"),
        ({"indicators__used": INSTRUMENT["indicators"]["user"]}, "indicator used has the name of a variable"),
        ({"indicators__user__question": "usage"}, "indicator user: usage is not a question"),
        ({"indicators__user__positive": ["yes", "often"]}, "indicator user: used has no answers ['often']"),
        ({"indicators__user__positive": []}, "indicator user has no `positive` answers, and its question"),
        ({"indicators__user__any_of": ["used"]}, "indicators.user: needs either `question` or `any_of`"),
        ({"indicators__user__question": None}, "indicators.user: needs either `question` or `any_of`"),
        ({"indicators__user__question": "sex", "indicators__user__positive": ["female"]}, "sex is a background"),
        ({"indicators__mean_step__positive": ["high"]}, "indicator mean_step: step has no answers ['high']"),
        ({"indicators__satisfied__universe__answers": ["always"]}, "indicator satisfied: used has no answers"),
        ({"indicators__satisfied__minimum_level": "tehsil"}, "indicators.satisfied.minimum_level"),
        (
            {"services": {"clinic": SERVICE | {"indicators": ["joy"]}}},
            "service clinic: joy is not an indicator or index",
        ),
        ({"services": {"clinic": SERVICE | {"indicators": []}}}, "services.clinic.indicators"),
        ({"services": {"clinic": SERVICE, "use": SERVICE}}, "service use: user stands 2 times under `services`"),
        ({"driver_models": {"m": {**MODEL, "outcome": "joy"}}}, "outcome joy is not an indicator"),
        ({"driver_models": {"m": {**MODEL, "outcome": "mean_step"}}}, "outcome mean_step is not a share"),
        ({"driver_models": {"m": {**MODEL, "drivers": []}}}, "driver_models.m.drivers"),
        ({"driver_models": {"m": {**MODEL, "controls": [{"variable": "mood"}]}}}, "mood is not a question"),
        ({"driver_models": {"m": {**MODEL, "drivers": [{"variable": "mean_step"}]}}}, "mean_step is a mean"),
        *(
            (
                {"driver_models": {"m": {**MODEL, "drivers": [{"variable": v, "reference": r}]}}},
                f"{v} has no answer {r}",
            )
            for v, r in (("used", "often"), ("user", "often"), ("age_group", "young"), ("sex", "man"))
        ),
    ],
)
def test_instrument_mistakes(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in instrument_mistakes(tmp_path, **changes)


def test_all_instrument_mistakes_of_names_come_at_once(tmp_path: Path) -> None:
    said = instrument_mistakes(
        tmp_path,
        indicators__user__question="usage",
        indicators__satisfied__positive=["great"],
        driver_models={"m": {**MODEL, "outcome": "joy"}},
    )
    for part in ("usage is not a question", "service has no answers ['great']", "outcome joy"):
        assert part in said


def test_the_instruments_of_the_repository_are_sound() -> None:
    for file in (ROOT / "data/raw/instruments").glob("*.yml"):
        assert load_instrument(file).id == file.stem


# Indicators of a respondent

ANSWERS_POSSIBLE = ("yes", "often", "no", "never", "dont_know", "refused", "not_asked", "missing")


def any_of_by_definition(answers: tuple[str, ...]) -> tuple[float | None, str | None]:
    """1 when any answer is positive; 0 when each was answered otherwise or not asked, and not all not asked."""
    if "yes" in answers or "often" in answers:
        return 1.0, None
    asked = [answer for answer in answers if answer != "not_asked"]
    if asked and all(answer in ("no", "never") for answer in asked):
        return 0.0, None
    return None, next((reason for reason in ("dont_know", "refused") if reason in answers), None)


@pytest.mark.parametrize("questions", [1, 2, 3])
def test_any_of_means_what_it_says(questions: int) -> None:
    columns = ["a", "b", "c"][:questions]
    indicator = Indicator.model_validate(
        {"label": "x", "any_of": columns, "positive": ["yes", "often"], "population": "all"}
    )
    rows = list(product(ANSWERS_POSSIBLE, repeat=questions))
    expected = pd.DataFrame([any_of_by_definition(row) for row in rows], columns=["value", "reason"])
    frame = pd.DataFrame(rows, columns=columns, dtype="str").assign(weight=2.0, row=range(len(rows)))
    np.testing.assert_array_equal(indicator_values(indicator, frame), expected["value"].astype(float))
    counts = pd.DataFrame(
        {
            "n": expected["value"].notna(),
            "n_positive": expected["value"] == 1,
            "n_dont_know": expected["reason"] == "dont_know",
            "n_refused": expected["reason"] == "refused",
        }
    ).astype(int)
    with duckdb.connect() as connection:
        for native in (frame, connection.from_df(frame)):
            summed = totals(native, {"x": indicator_quantity(indicator)}, ["row"]).set_index("row")
            found = summed[list(counts)].reindex(range(len(rows)), fill_value=0).astype(int)
            np.testing.assert_array_equal(found, counts)


def test_an_indicator_is_about_its_universe(tmp_path: Path, tidy: Tidy, instrument: Instrument) -> None:
    # Respondent 3 did not use the service; 2 does not know and 4 refuses.
    frame = tidy(write_wave(tmp_path))
    values = indicator_values(instrument.indicators["satisfied"], frame)
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, np.nan, 0, 1])
    stray = frame.assign(service=["good"] * 6)  # an answer of somebody outside the universe does not count
    np.testing.assert_array_equal(indicator_values(instrument.indicators["satisfied"], stray), [1, 1, np.nan, 1, 1, 1])


def test_a_mean_is_the_number(tmp_path: Path, tidy: Tidy, instrument: Instrument) -> None:
    values = indicator_values(instrument.indicators["mean_step"], tidy(write_wave(tmp_path)))
    np.testing.assert_array_equal(values, [7, np.nan, 10, np.nan, np.nan, 0])


# Sampled PSUs


def sampled(folder: Path, instrument: Instrument, gazetteer: Gazetteer) -> pd.DataFrame:
    wave = load_wave(folder)
    raw = raw_responses(wave, folder)
    return sampled_psus(raw, wave, responses(raw, wave, instrument, gazetteer)).set_index("psu")


def test_a_psu_without_an_interview_counts_unless_left_out(
    tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer
) -> None:
    psus = sampled(write_wave(tmp_path), instrument, gazetteer)
    assert psus["responses"].to_dict() == {"11": 2, "12": 1, "13": 1, "21": 1, "22": 1, "23": 0}
    assert psus.loc["23", ["stratum", "district_id", "urban"]].tolist() == ["Swat/2", "kp-swat", "rural"]
    left = sampled(write_wave(tmp_path, design__empty_psus="leave_out"), instrument, gazetteer)
    assert left.index.tolist() == ["11", "12", "13", "21", "22"]


def test_a_stratum_outside_the_wave_brings_no_psu(tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer) -> None:
    rules = [{"column": "result", "keep": [1]}, {"column": "district", "drop": ["Swat"]}]
    assert sampled(write_wave(tmp_path, rows=rules), instrument, gazetteer).index.tolist() == ["11", "12", "13"]


def test_rows_that_do_not_count_must_not_put_a_psu_in_another_stratum(
    tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer
) -> None:
    with pytest.raises(InputError, match=r"1 PSU ids stand in several strata, for example 22 in Swat/2, Swat/1"):
        sampled(write_wave(tmp_path, with_cells(6, psu=22, area=1)), instrument, gazetteer)


def test_psus_of_the_population_are_those_of_the_stratum(
    tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer
) -> None:
    assert sampled(write_wave(tmp_path), instrument, gazetteer)["population_psus"].isna().all()
    known = ANSWERS.assign(total=[40, 40, 40, 9, 8, 2, 2])
    psus = sampled(write_wave(tmp_path, known, design__population_psus="total"), instrument, gazetteer)
    assert psus["population_psus"].to_dict() == {"11": 40, "12": 40, "13": 9, "21": 8, "22": 2, "23": 2}


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (
            [40, 41, 40, 9, 8, 2, 2],
            r"column total \(design.population_psus\): differs within stratum Peshawar/1: 40, 41",
        ),
        ([40, 40, 40, 9, 8, 1, 1], "is 1 in stratum Swat/2, of which 2 PSUs were sampled"),
        ([40, 40, 40, 9.5, 8, 2, 2], "is 9.5 in stratum Peshawar/2"),
        ([40, 40, 40, None, 8, 2, 2], "is nan in stratum Peshawar/2"),
    ],
)
def test_numbers_of_psus_that_cannot_be(
    total: list[float | None], said: str, tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer
) -> None:
    folder = write_wave(tmp_path, ANSWERS.assign(total=total), design__population_psus="total")
    with pytest.raises(InputError, match=said):
        sampled(folder, instrument, gazetteer)


def test_a_column_with_numbers_of_psus_must_be_there(tmp_path: Path, tidy: Tidy) -> None:
    with pytest.raises(InputError, match=r"population_psus: column 'total' is in none of answers\.csv"):
        tidy(write_wave(tmp_path, design__population_psus="total"))


# What is told about a wave


def test_facts_of_wave_and_indicators(tmp_path: Path, instrument: Instrument, gazetteer: Gazetteer) -> None:
    folder = write_wave(tmp_path)
    wave = load_wave(folder)
    raw = raw_responses(wave, folder)
    tidy = responses(raw, wave, instrument, gazetteer)
    facts = wave_facts(tidy, sampled_psus(raw, wave, tidy), wave, "v1").iloc[0]
    assert facts[["respondents", "psus", "districts", "first_day", "wave_version"]].tolist() == [
        6,
        6,
        2,
        "2021-03-01",
        "v1",
    ]
    indicators = indicator_facts(tidy, wave, instrument).set_index("indicator")
    assert indicators["kind"].to_dict() == {"satisfied": "share", "user": "share", "mean_step": "mean"}
    assert indicators.loc["satisfied", "positive"] == "Good, Fair"
    assert indicators.loc["mean_step", "unit"] == "steps"
    assert indicators["service"].isna().all()
    grouped = instrument.model_copy(update={"services": {"clinic": Service.model_validate(SERVICE)}})
    services = indicator_facts(tidy, wave, grouped).set_index("indicator")
    assert services["service"].dropna().to_dict() == {"satisfied": "clinic", "user": "clinic"}
    assert services["service_label"].dropna().unique().tolist() == ["The clinic"]
    without = indicator_facts(tidy.drop(columns="used"), wave, instrument)
    assert without["indicator"].tolist() == ["mean_step"]  # the universe of `satisfied` needs `used`


def test_a_wave_version_covers_everything_the_wave_is_made_from(tmp_path: Path) -> None:
    folder = write_wave(tmp_path)
    instrument_file = tmp_path / "tiny.yml"
    instrument_file.write_text("one")
    versions = [wave_version(load_wave(folder), folder, instrument_file)]
    assert wave_version(load_wave(folder), folder, instrument_file) == versions[0]
    for file in (instrument_file, folder / "wave.yml", folder / "answers.csv"):
        file.write_text(file.read_text() + "\n# more\n")
        versions.append(wave_version(load_wave(folder), folder, instrument_file))
    assert len(set(versions)) == 4


# Wave folders


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_add_wave_copies_what_is_declared_and_records_checksums(small_project: Project, tmp_path: Path) -> None:
    recipe, data = tmp_path / "recipe/small-2021", tmp_path / "data"
    write_small_wave(recipe)
    (recipe / "answers.csv").unlink()
    write_small_wave(data, small_answers(2))
    (data / "secret.csv").write_text("not declared")
    folder = wave_folders.add_wave(small_project, recipe, data)
    assert folder == small_project.waves / "small-2021"
    assert sorted(tree(folder)) == [CHECKSUMS_FILE, "answers.csv", "wave.yml"]
    assert (folder / "answers.csv").read_bytes() == (data / "answers.csv").read_bytes()
    assert checksum_problems(load_wave(folder), folder) == []
    (folder / "answers.csv").write_text("edited")
    assert len(checksum_problems(load_wave(folder), folder)) == 1
    assert [path.name for path in small_project.waves.iterdir()] == ["small-2021"]  # nothing temporary is left


@pytest.mark.parametrize("failing", ["no wave.yml", "bad wave.yml", "no data", "disk"])
def test_a_failing_add_leaves_the_old_wave_untouched(
    small_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = tree(small_project.waves)
    source = write_small_wave(tmp_path / "small-2021", small_answers(2))
    if failing == "no wave.yml":
        (source / "wave.yml").unlink()
    elif failing == "bad wave.yml":
        (source / "wave.yml").write_text(SMALL_WAVE.replace("licence", "license"))
    elif failing == "no data":
        (source / "answers.csv").unlink()
    elif failing == "disk":

        def full(*_: object) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr(wave_folders, "write_checksums", full)
    with pytest.raises(OSError if failing == "disk" else InputError):
        wave_folders.add_wave(small_project, source, None)
    assert tree(small_project.waves) == before
    assert [path.name for path in small_project.waves.iterdir()] == ["small-2021"]


def test_add_wave_takes_the_name_from_the_wave_file(small_project: Project, tmp_path: Path) -> None:
    folder = wave_folders.add_wave(small_project, write_small_wave(tmp_path / "downloads", small_answers(2)), None)
    assert folder == small_project.waves / "small-2021"
    assert (folder / "answers.csv").read_bytes() == (tmp_path / "downloads/answers.csv").read_bytes()


def test_add_wave_names_every_file_that_is_not_there(small_project: Project, tmp_path: Path) -> None:
    two = SMALL_WAVE.replace("files: [{path: answers.csv}]", "files: [{path: a.csv}, {path: b.csv, join: {on: [id]}}]")
    source = write_small_wave(tmp_path / "small-2021", wave=two)
    with pytest.raises(InputError) as raised:
        wave_folders.add_wave(small_project, source, None)
    assert [problem.where for problem in raised.value.problems] == ["small-2021/a.csv", "small-2021/b.csv"]


def test_remove_wave_keeps_the_folder_and_deletes_what_was_made(small_project: Project) -> None:
    before = tree(small_project.waves / "small-2021")
    for wave in ("small-2021", "other-2021", None):
        file = small_project.table("responses", wave)
        file.parent.mkdir(parents=True)
        file.write_text("made")
    place = wave_folders.remove_wave(small_project, "small-2021")
    assert place == small_project.removed_waves / "small-2021"
    assert tree(place) == before
    assert small_project.wave_ids() == []
    assert not small_project.table("responses", "small-2021").exists()
    assert small_project.table("responses", "other-2021").exists()
    assert small_project.table("responses", None).exists()


def test_tables_of_a_wave_whose_folder_is_gone_can_be_removed(small_project: Project) -> None:
    file = small_project.table("responses", "gone-2021")
    file.parent.mkdir(parents=True)
    file.write_text("made")
    assert wave_folders.remove_wave(small_project, "gone-2021") is None
    assert not file.exists()
    assert not (small_project.removed_waves / "gone-2021").exists()


@pytest.mark.parametrize("wave", ["nowhere-2021", "", ".", ".."])
def test_only_a_wave_can_be_removed(small_project: Project, wave: str) -> None:
    before = tree(small_project.root)
    with pytest.raises(InputError, match="there is no such wave"):
        wave_folders.remove_wave(small_project, wave)
    assert tree(small_project.root) == before


def test_a_removed_wave_is_not_overwritten(small_project: Project) -> None:
    wave_folders.remove_wave(small_project, "small-2021")
    write_small_wave(small_project.waves / "small-2021", small_answers(2))
    with pytest.raises(InputError, match="exists already"):
        wave_folders.remove_wave(small_project, "small-2021")
    assert small_project.wave_ids() == ["small-2021"]


def test_check_finds_nothing_in_a_sound_wave_and_writes_nothing(small_project: Project) -> None:
    before = tree(small_project.root)
    assert wave_folders.wave_problems(small_project, "small-2021") == []
    assert tree(small_project.root) == before


def test_check_lists_declarations_and_data_together(small_project: Project) -> None:
    folder = small_project.waves / "small-2021"
    write_checksums(load_wave(folder), folder)
    (folder / "wave.yml").write_text(SMALL_WAVE.replace("heard: {source: q2", "herd: {source: q2"))
    small_answers(2).to_csv(folder / "answers.csv", index=False)
    before = tree(small_project.root)
    problems = [str(problem) for problem in wave_folders.wave_problems(small_project, "small-2021")]
    assert len(problems) == 2
    assert "variables.herd: is neither a question of small nor a background variable" in problems[0]
    assert "answers.csv: is not the file whose checksum was recorded" in problems[1]
    assert tree(small_project.root) == before


def test_check_lists_what_stops_the_design_and_the_drivers(small_project: Project) -> None:
    folder = small_project.waves / "small-2021"
    (folder / "wave.yml").write_text(SMALL_WAVE.replace("psu: psu}", "psu: psu, single_psu: fail}"))
    answers = small_answers()
    answers.loc[answers["district"] == "Swat", "psu"] = 50
    write_small_wave(folder, answers, (folder / "wave.yml").read_text())
    (problem,) = wave_folders.wave_problems(small_project, "small-2021")
    assert "wave small-2021, stratum Swat: has one sampled PSU" in str(problem).replace(
        "small-2021,", "wave small-2021,"
    )
    # Nobody who was heard is satisfied, everybody else is: the model has no finite effects.
    parted = small_answers()
    parted["q1"] = parted["q2"].map({0: 3, 1: 1})
    write_small_wave(folder, parted)
    problems = [str(problem) for problem in wave_folders.wave_problems(small_project, "small-2021")]
    assert len(problems) == 2
    for problem, category in zip(problems, ("no", "yes"), strict=True):
        assert "driver model satisfaction of instrument small" in problem
        assert f"heard, category {category}: the outcome is" in problem


def test_opening_a_wave_lists_vintage_and_instrument_mistakes(small_project: Project) -> None:
    write_small_wave(small_project.waves / "small-2021", wave=SMALL_WAVE.replace('"2018"', '"1947"'))
    small_project.instrument_file("small").unlink()
    with pytest.raises(InputError) as raised:
        open_wave(small_project, "small-2021")
    said = [str(problem) for problem in raised.value.problems]
    assert "'1947' is not a known district map" in said[0]
    assert "small.yml: the file does not exist" in said[1]
    with pytest.raises(InputError, match=r"Waves are: small-2021\."):
        open_wave(small_project, "large-2021")
