"""What a wave file may declare beyond plain columns: filters, several sources, select-multiple answers, remedies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from perception.errors import InputError
from perception.geography import Gazetteer, load_gazetteer
from perception.intake.harmonise import responses
from perception.intake.instrument import Instrument
from perception.intake.raw import raw_responses
from perception.intake.remedies import remedied
from perception.intake.wave_file import load_wave
from tests.conftest import ROOT

INSTRUMENT: dict[str, Any] = {
    "id": "clinic",
    "title": "Clinic questionnaire",
    "source": "made for tests",
    "questions": {
        "needed": {"label": "Needed a clinic?", "type": "category", "categories": {"no": "No", "yes": "Yes"}},
        "used": {"label": "Used it?", "type": "category", "categories": {"no": "No", "yes": "Yes"}},
        "far": {"label": "Not used: too far", "type": "category", "categories": {"no": "No", "yes": "Yes"}},
        "service": {"label": "How good?", "type": "ordinal", "categories": {"bad": "Bad", "good": "Good"}},
        "wait": {"label": "How long?", "type": "number", "unit": "minutes", "range": [0, 600]},
    },
    "indicators": {
        "satisfied": {"label": "Satisfied", "question": "service", "positive": ["good"], "population": "users"}
    },
}
USERS = {"question": "used", "answers": ["yes"]}
WAVE: dict[str, Any] = {
    "id": "clinic-2021",
    "round": "2021",
    "title": "Clinic survey",
    "instrument": "clinic",
    "dates": {"start": "2021-03-01", "end": "2021-03-31"},
    "producer": "Tests",
    "citation": "Tests (2021)",
    "licence": "CC0-1.0",
    "simulated": True,
    "files": [{"path": "answers.csv"}],
    "respondent_id": ["key"],
    "design": {"weight": "w", "weight_scale": "relative", "strata": ["district"], "psu": "psu"},
    "geography": {"vintage": "2018", "district": "district", "by": "code"},
    "variables": {
        "needed": {"source": "need", "map": {0: "no", 1: "yes"}},
        "used": {
            "source": "use",
            "map": {0: "no", 1: "yes"},
            "missing": {98: "dont_know"},
            "asked_if": {"question": "needed", "answers": ["yes"]},
        },
        "far": {
            "source": "why",
            "contains": "far",
            "choices": ["cost", "farther"],
            "missing": {98: "dont_know"},
            "map": {1: "yes", 0: "no"},
            "asked_if": {"question": "used", "answers": ["no"]},
        },
        "service": {
            "source": ["a/sat", "b/sat"],
            "map": {1: "bad", 2: "good"},
            "missing": {99: "refused"},
            "asked_if": USERS,
        },
        "wait": {"source": "wait", "missing": {999: "dont_know"}, "asked_if": USERS, "blank": "refused"},
    },
}
COLUMNS = ["key", "form", "district", "psu", "w", "need", "use", "why", "a/sat", "b/sat", "wait"]
ROWS = [
    ("k1", "v1", "Swat", 1, 1.0, 1, 1, None, 2, None, 30),
    ("k2", "v1", "Swat", 1, 1.0, 1, 1, None, 99, None, None),
    ("k3", "v2", "Swat", 2, 1.0, 1, 1, None, None, 1, 999),
    ("k4", "v2", "Swat", 2, 1.0, 1, 0, "cost far", None, None, None),
    ("k5", "v2", "Swat", 3, 1.0, 1, 0, "farther", None, None, None),
    ("k6", "v2", "Swat", 3, 1.0, 0, None, None, None, None, None),
    ("k7", "v2", "Swat", 4, 1.0, 1, 98, None, None, None, None),
    ("k8", "v2", "Swat", 4, 1.0, 1, None, None, None, 2, 0.5),
]
ANSWERS = pd.DataFrame(ROWS, columns=COLUMNS)
Tidy = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer(ROOT / "data/raw/reference")


def write(folder: Path, answers: pd.DataFrame, **changes: Any) -> Path:
    folder = folder / "clinic-2021"
    folder.mkdir(exist_ok=True)
    (folder / "wave.yml").write_text(yaml.safe_dump({**WAVE, **changes}), encoding="utf-8")
    answers.to_csv(folder / "answers.csv", index=False)
    return folder


@pytest.fixture
def tidy(tmp_path: Path, gazetteer: Gazetteer) -> Tidy:
    def read(answers: pd.DataFrame = ANSWERS, **changes: Any) -> pd.DataFrame:
        folder = write(tmp_path, answers, **changes)
        wave = load_wave(folder)
        instrument = Instrument.model_validate(INSTRUMENT)
        return responses(raw_responses(wave, folder), wave, instrument, gazetteer).set_index("respondent_id")

    return read


def problems_of(tidy: Tidy, *args: Any, **changes: Any) -> list[str]:
    with pytest.raises(InputError) as raised:
        tidy(*args, **changes)
    return [str(problem) for problem in raised.value.problems]


def with_variable(name: str, **changes: Any) -> dict[str, Any]:
    variables: dict[str, Any] = WAVE["variables"]
    return {**variables, name: {**variables[name], **changes}}


def test_a_blank_is_not_asked_only_of_those_whom_the_filter_leaves_out(tidy: Tidy) -> None:
    frame = tidy()
    used = ["yes", "yes", "yes", "no", "no", "not_asked", "dont_know", "missing"]
    assert frame["used"].tolist() == used
    # k8 answered although nobody knows whether they used it: the answer stays, a quality check reports it.
    assert frame["service"].tolist() == ["good", "refused", "bad", *["not_asked"] * 4, "good"]
    np.testing.assert_array_equal(frame["wait"], [30, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0.5])
    reasons = ["", "refused", "dont_know", *["not_asked"] * 4, ""]
    assert frame["wait_reason"].astype(object).fillna("").tolist() == reasons


def test_contains_reads_one_answer_of_a_select_multiple_column(tidy: Tidy) -> None:
    # "farther" is another answer than "far"
    assert tidy()["far"].tolist() == [*["not_asked"] * 3, "yes", "no", *["not_asked"] * 3]
    unsure = tidy(ANSWERS.assign(why=ANSWERS["why"].replace("farther", "98")))
    assert unsure["far"].tolist() == [*["not_asked"] * 3, "yes", "dont_know", *["not_asked"] * 3]


def test_a_choice_that_nobody_looks_for_must_be_listed(tidy: Tidy) -> None:
    (problem,) = problems_of(tidy, ANSWERS.assign(why=ANSWERS["why"].replace("farther", "far unsafe")))
    assert "column why: code 'unsafe' stands in 1 rows and is not declared" in problem
    assert "Add it to `choices` or `missing` of variables.far" in problem


def test_two_filled_source_columns_that_differ_are_a_problem(tidy: Tidy) -> None:
    same = ANSWERS.assign(**{"b/sat": ANSWERS["b/sat"].where(ANSWERS["key"] != "k1", 2)})
    assert tidy(same).loc["k1", "service"] == "good"
    differs = ANSWERS.assign(**{"b/sat": ANSWERS["b/sat"].where(ANSWERS["key"] != "k1", 1)})
    (problem,) = problems_of(tidy, differs)
    assert "answers.csv, column b/sat: service: 1 rows fill it" in problem
    assert "'2' and '1' in row 1" in problem


def test_an_undeclared_code_in_any_source_column_is_a_problem(tidy: Tidy) -> None:
    (problem,) = problems_of(tidy, ANSWERS.assign(**{"b/sat": ANSWERS["b/sat"].replace(1, 7)}))
    assert "columns a/sat, b/sat: code '7' stands in 1 rows and is not declared" in problem


@pytest.mark.parametrize(
    ("variable", "change", "message"),
    [
        ("far", {"map": {"yes": "yes"}}, "reads a select-multiple column without a map of 1 and 0"),
        ("service", {"asked_if": {"question": "heard", "answers": ["yes"]}}, "heard is not among the wave's variables"),
        ("service", {"asked_if": {"question": "used", "answers": ["ja"]}}, "ja is not a category of used"),
    ],
)
def test_declarations_that_do_not_fit(tidy: Tidy, variable: str, change: dict[str, Any], message: str) -> None:
    (problem,) = problems_of(tidy, variables=with_variable(variable, **change))
    assert f"variables.{variable}" in problem
    assert message in problem


def test_mistakes_of_the_declaration_do_not_hide_those_of_the_data(tidy: Tidy) -> None:
    variables = with_variable("service", source=["a/sat", "c/sat"]) | {"stranger": {"source": "w"}}
    answers = ANSWERS.assign(need=ANSWERS["need"].replace(0, 5), district="Atlantis")
    problems = problems_of(tidy, answers, variables=variables)
    assert len(problems) == 4
    for part in ("variables.stranger", "'c/sat'", "column need: code '5'", "Atlantis"):
        assert sum(part in problem for problem in problems) == 1


# Remedies


def log_of(tmp_path: Path, answers: pd.DataFrame, remedies: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = write(tmp_path, answers, remedies=[{"check": "c", "reason": "because", **remedy} for remedy in remedies])
    wave = load_wave(folder)
    return remedied(raw_responses(wave, folder), wave)


def test_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    twice = pd.concat([ANSWERS, ANSWERS.iloc[[0, 3]].assign(key=["k9", "k10"], w=2.0)], ignore_index=True)
    blank = pd.concat([twice, ANSWERS.iloc[[1, 1]].assign(key=["k11", "k12"], psu=None)], ignore_index=True)
    frame, log = log_of(
        tmp_path,
        blank,
        [
            {"drop_repeats": {"columns": ["psu", "need", "use", "why", "a/sat", "wait"], "keep": "last"}},
            {"drop_repeats": {"columns": ["psu", "district", "need", "use"]}},
            {"drop": {"column": "form", "codes": ["v1"]}},
        ],
    )
    # Rows with a blank key column are never repeats; what the first remedy dropped the second does not see.
    assert log["rows"].tolist() == [0, 3, 3]
    assert frame["key"].tolist() == ["k3", "k4", "k5", "k6", "k7", "k8"]
    assert frame["source_row"].tolist() == [3, 4, 5, 6, 7, 8]
    assert log["action"].tolist() == ["drop_repeats", "drop_repeats", "drop"]
    assert log["detail"].iloc[2] == "rows with form v1"


def test_the_last_of_repeated_rows_can_be_kept(tmp_path: Path) -> None:
    remedies = [{"drop_repeats": {"columns": ["psu", "form"], "keep": "last"}}]
    frame, _ = log_of(tmp_path, ANSWERS, remedies)
    assert frame["key"].tolist() == ["k2", "k4", "k6", "k8"]


def test_values_are_put_right_where_declared_only(tmp_path: Path, tidy: Tidy) -> None:
    remedies = [
        {"multiply": {"columns": ["wait"], "by": 60, "where": {"column": "form", "codes": ["v2"]}}},
        {"replace": {"columns": ["need", "use"], "codes": {1: 0, 0: 1}, "where": {"column": "psu", "codes": [1, 3]}}},
        {"replace": {"columns": ["district"], "codes": {"Swat": "Kohat"}}},
    ]
    frame, log = log_of(tmp_path, ANSWERS, remedies)
    # 999 is declared a missing code of what is made from the column, so it is no number to multiply.
    assert frame["wait"].astype(object).fillna("").tolist() == ["30", "", "999", "", "", "", "", "30"]
    assert frame["need"].astype("str").tolist() == ["0", "0", "1", "1", "0", "1", "1", "1"]
    assert log["rows"].tolist() == [1, 4, 8]
    assert set(frame["district"]) == {"Kohat"}
    assert frame.attrs["column_files"]["wait"] == "answers.csv"


def test_responses_are_those_after_the_remedies(tidy: Tidy) -> None:
    drop = [{"check": "id_unique", "reason": "test interviews", "drop": {"column": "form", "codes": ["v1"]}}]
    assert tidy(remedies=drop).index.tolist() == ["k3", "k4", "k5", "k6", "k7", "k8"]


def test_a_remedy_names_columns_that_exist_and_one_action(tmp_path: Path, tidy: Tidy) -> None:
    drop = {"check": "id_unique", "reason": "r", "drop": {"column": "version", "codes": ["v1"]}}
    (problem,) = problems_of(tidy, remedies=[drop])
    assert "wave.yml, remedies: column 'version' is in none of answers.csv" in problem
    (problem,) = problems_of(tidy, remedies=[{"check": "id_unique", "reason": "r"}])
    assert "needs one action of drop, drop_repeats, multiply, replace, accept" in problem


def test_unchecked_guesses_block_the_wave_line_by_line(tmp_path: Path) -> None:
    folder = write(tmp_path, ANSWERS)
    text = (folder / "wave.yml").read_text(encoding="utf-8")
    marked = text.replace("round: '2021'", "round: '2021'  # check").replace(
        "simulated: true", "simulated: true  #check"
    )
    (folder / "wave.yml").write_text(marked + "# checked by hand\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load_wave(folder)
    first, second = (str(problem) for problem in raised.value.problems)
    assert "is a guess that nobody has checked: round: '2021'  # check" in first
    assert f"line {marked.splitlines().index('simulated: true  #check') + 1}" in second
