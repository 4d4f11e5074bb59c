"""The quality gate: each check fires at the planted place of a small hand-made wave and passes without it; its tables,
thresholds, accepted findings, what supervisors see, the page, and what looks personal.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from python_calamine import CalamineWorkbook

from perception.errors import InputError
from perception.intake import fieldwork
from perception.intake.declarations import REASONS
from perception.intake.instrument import Instrument
from perception.intake.privacy import looks_personal
from perception.intake.quality import (
    CHECKS,
    Check,
    Interviews,
    declaration_problems,
    fieldwork_summary,
    gather,
    quality_tables,
)
from perception.intake.quality.comparing import (
    adjusted_for_place,
    against_others,
    enumerator_similarity,
    nesting,
    polychoric,
)
from perception.intake.quality.duplicates import pair_weights
from perception.intake.quality.evidence import Groups, crossed, groups
from perception.intake.quality.register import Outcome
from perception.intake.wave_file import Wave
from perception.publish.quality_page import shown_checks, write_quality_page
from perception.schemas import contract_breaches

REGISTER = {check.id: check for check in CHECKS}
AGREEMENT = {name: name for name in ("no", "rather_no", "rather_yes", "yes")}
ITEMS = [f"item_{number}" for number in range(12)]


def instrument(**changes: Any) -> Instrument:
    """A questionnaire with a filter, an ordinal question, an overall question, a number and two batteries of six."""
    yes_no = {"type": "category", "categories": {"no": "No", "yes": "Yes"}}
    opinion = {"type": "ordinal", "categories": {"bad": "Bad", "fair": "Fair", "good": "Good"}}
    questions = {
        "used": {"label": "Used the service", **yes_no},
        "service": {"label": "How good is the service", **opinion},
        "overall": {"label": "How good is everything", **opinion},
        "wait": {"label": "How many minutes did you wait", "type": "number", "range": [0, 2000]},
        **{name: {"label": "Agree", "type": "ordinal", "categories": AGREEMENT} for name in ITEMS},
    }
    declared = {
        "id": "hand-made",
        "title": "Hand-made questionnaire",
        "source": "made for tests",
        "questions": questions,
        "indicators": {"good": {"label": "Good", "question": "service", "positive": ["good"], "population": "users"}},
        "overall": "overall",
        "batteries": {"first": ITEMS[:6], "second": ITEMS[6:]},
    }
    return Instrument.model_validate({**declared, **changes})


WAVE: dict[str, Any] = {
    "id": "hand-2021",
    "round": "2021",
    "title": "Hand-made survey",
    "instrument": "hand-made",
    "dates": {"start": "2021-03-01", "end": "2021-03-31"},
    "producer": "Tests",
    "citation": "Tests (2021)",
    "licence": "CC0-1.0",
    "simulated": True,
    "files": [{"path": "answers.csv"}],
    "rows": [{"column": "result", "keep": [1]}],
    "respondent_id": ["id"],
    "design": {"weight": "w", "weight_scale": "relative", "strata": ["stratum"], "psu": "psu"},
    "geography": {"vintage": "2018", "district": "district"},
}
UNITS = pd.DataFrame({"district_id": ["kp-swat", "kp-kohat"]})


def survey(
    size: int = 12,
    answers: dict[str, Any] | None = None,
    raw: dict[str, Any] | None = None,
    questionnaire: Instrument | None = None,
    further: dict[str, Any] | None = None,
    **wave: Any,
) -> Interviews:
    """A wave of `size` interviews that count: `answers` by question, `raw` columns, changes of the wave file.

    By default there are two districts, four PSUs of a stratum each district, and every row counts.
    """
    asked = questionnaire or instrument()
    answers = answers or {}
    place = np.arange(size) * 8 // size
    frame: dict[str, Any] = {
        "source_row": np.arange(1, size + 1),
        "id": [f"r{number}" for number in range(size)],
        "result": 1,
        "psu": [f"p{number}" for number in place],
        "stratum": [f"s{number // 4}" for number in place],
        "district": [["Swat", "Kohat"][number // 4] for number in place],
        "w": 1.0,
        **(raw or {}),
    }
    rows = pd.DataFrame(frame)
    rows.attrs = {"column_files": dict.fromkeys(rows.columns, "answers.csv"), "value_labels": {}}
    variables = {name: {"source": name, "map": {1: asked.scale(name)[0]}} for name in answers if asked.scale(name)}
    variables |= {name: {"source": name} for name in answers if not asked.scale(name)}
    for name, declared in wave.pop("variables", {}).items():
        variables[name] = {**variables[name], **declared}
    declared_wave = Wave.model_validate({**WAVE, "variables": variables, **wave})
    counting = rows[rows["result"] == 1]
    tidy: dict[str, Any] = {
        "wave": declared_wave.id,
        "respondent_id": counting["id"].astype("str"),
        "district_id": counting["district"].map({"Swat": "kp-swat", "Kohat": "kp-kohat"}).astype("str"),
        "stratum": counting["stratum"].astype("str"),
        "psu": counting["psu"].astype("str"),
        "weight": counting["w"].astype(float),
    }
    for name, given in answers.items():
        values = pd.Series(given, index=counting.index) if np.ndim(given) else pd.Series([given] * len(counting))
        if asked.scale(name):
            tidy[name] = pd.Categorical(values.to_numpy(), categories=[*asked.scale(name), *REASONS, "strange"])
        else:
            tidy[name] = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
            why = values.where(values.isin(REASONS)).to_numpy()
            tidy[name + "_reason"] = pd.Categorical(why, categories=list(REASONS))
    responses = pd.DataFrame(tidy).reset_index(drop=True)
    design = responses.groupby(["stratum", "psu"], as_index=False).agg(
        district_id=("district_id", "first"), responses=("psu", "size")
    )
    design = design.assign(wave=declared_wave.id, single_psu=None, variance_stratum=design["stratum"])
    return Interviews(
        declared_wave,
        asked,
        rows,
        responses,
        design,
        fieldwork.interviews(rows, declared_wave),
        **{"units": UNITS, **(further or {})},
    )


def run(check: str, interviews: Interviews) -> Outcome:
    """One check with the thresholds that apply; rows of a finding have its verdict and each says what is odd."""
    done = REGISTER[check](interviews)
    found = verdicts(done)
    for rows in done.rows:
        assert len(rows.positions) == len(rows.details)
        assert not rows.unit or rows.verdict == found[rows.unit]
    return done


def verdicts(outcome: Outcome) -> dict[str, str]:
    """The verdict of each unit; the wave is ''."""
    return {finding.unit: finding.verdict for finding in outcome.findings}


def listed(outcome: Outcome) -> set[int]:
    """The places of all rows listed."""
    return {int(position) for rows in outcome.rows for position in rows.positions}


def is_pass(outcome: Outcome) -> bool:
    """Whether the wave passed, with nothing listed."""
    return outcome.findings[0].verdict == "pass" and not outcome.findings[0].unit and not listed(outcome)


def times(starts: list[str], minutes: Any = 30) -> dict[str, list[str]]:
    """Columns start and end of the raw rows."""
    begin = pd.to_datetime(pd.Series(starts))
    end = begin + pd.to_timedelta(pd.Series(minutes, index=begin.index).astype(float), unit="min")
    return {"start": list(begin.astype("str")), "end": list(end.astype("str"))}


# The register


def test_the_register_has_every_check_of_the_reference_once() -> None:
    assert len(CHECKS) == len(REGISTER) == 26
    stages = pd.Series([check.stage for check in CHECKS]).value_counts().to_dict()
    assert stages == {"intake": 24, "estimates": 1, "publication": 1}
    for check in CHECKS:
        assert re.fullmatch(r"[a-z_]+", check.id)
        assert check.title
        assert check.severity
        assert check.source
        assert check.function.__doc__


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_without_what_it_needs_says_so(check: Check) -> None:
    bare = survey(answers={"service": "good"}, further={"units": None}, questionnaire=instrument(overall=None))
    findings = check(bare).findings
    assert findings
    needs_nothing = {"unique_ids", "missing_values", "constraints", "weights", "dont_know_refused", "sample_plan"}
    if check.id not in needs_nothing:
        assert [finding.verdict for finding in findings] == ["not_run"]
        assert findings[0].message.startswith("not run: ")


def test_tables_keep_their_contracts_and_every_check_reports() -> None:
    wave = survey(
        answers={"service": ["good"] * 11 + ["dont_know"]}, raw={"hh": ["1"] * 12}, fieldwork={"household": ["hh"]}
    )
    quality, rows = quality_tables(wave)
    assert contract_breaches(quality, "wave_quality") == []
    assert contract_breaches(rows, "wave_quality_rows") == []
    assert set(quality["check"]) == {check.id for check in CHECKS if check.stage == "intake"}
    twice = rows[rows["check"] == "unique_ids"]
    assert sorted(twice["respondent_id"]) == [
        "r0",
        "r1",
        "r10",
        "r3",
        "r4",
        "r6",
        "r7",
        "r9",
    ]  # p0: r0, r1; p1: r2 alone
    assert (twice["verdict"] == "fail").all()


def test_thresholds_of_the_instrument_and_then_of_the_wave() -> None:
    asked = instrument(quality={"dont_know_refused": {"share": 0.5, "floor": 0.3}})
    wave = survey(questionnaire=asked, quality={"dont_know_refused": {"share": 0.25}})
    limits = REGISTER["dont_know_refused"].limits(wave)
    assert (limits["share"], limits["floor"], limits["deviations"]) == (0.25, 0.3, 3)


def test_thresholds_and_remedies_that_name_no_check_are_problems() -> None:
    asked = instrument(quality={"duration": {"speed": 1}})
    remedy = {"check": "durations", "reason": "why", "accept": ["x"]}
    wave = survey(questionnaire=asked, quality={"form_versions": {"x": 1}, "form_version": {"x": 1}}, remedies=[remedy])
    assert [problem.where for problem in declaration_problems(wave.wave, asked)] == [
        "hand-made.yml, quality.duration.speed",
        "hand-2021/wave.yml, quality.form_versions",
        "hand-2021/wave.yml, quality.form_version.x",
        "hand-2021/wave.yml, remedies 1, check durations",
    ]
    sound = {"check": "duration", "reason": "why", "accept": ["x"]}
    assert declaration_problems(survey(remedies=[sound], quality={"duration": {"hours": 2}}).wave, instrument()) == []


def test_accepted_findings_warn_with_the_reason_and_unknown_ones_are_named() -> None:
    unit = "id of household"
    remedy = {"check": "unique_ids", "reason": "twins", "accept": ["household (psu, hh)", unit]}
    wave = survey(raw={"hh": ["1"] * 12}, fieldwork={"household": ["hh"]}, remedies=[remedy])
    quality, rows = quality_tables(wave)
    found = quality[quality["check"] == "unique_ids"].set_index("unit")
    assert found.loc["household (psu, hh)", "verdict"] == "warn"
    assert found.loc["household (psu, hh)", "message"].endswith("(accepted: twins)")
    assert found.loc[f"accepted: {unit}", "verdict"] == "warn"
    assert set(rows.loc[rows["check"] == "unique_ids", "verdict"]) == {"warn"}
    assert not (quality["verdict"] == "fail").any()


def test_raw_rows_that_are_not_those_of_the_responses_are_refused() -> None:
    wave = survey()
    broken = Interviews(wave.wave, wave.instrument, wave.raw, wave.responses.iloc[1:], paradata=wave.paradata)
    with pytest.raises(ValueError, match="12 raw rows count, but there are 11 responses"):
        _ = broken.positions


def test_wave_quality_of_the_tables_alone() -> None:
    wave = survey(answers={"service": "good"})
    quality, _ = quality_tables(gather(wave.raw, wave.responses, wave.design_psus, wave.wave, wave.instrument))
    assert quality.loc[quality["check"] == "district_names", "verdict"].tolist() == ["not_run"]  # no units given
    assert not (quality["verdict"] == "fail").any()


# What identifies an interview


def test_form_version() -> None:
    field = {"form_version": "v", "current_versions": [2], "stale_versions": [1]}
    done = run("form_version", survey(raw={"v": ["2"] * 9 + ["1", "9", None]}, fieldwork=field))
    assert verdicts(done) == {"v=1": "warn", "v=9": "fail", "v=(blank)": "fail"}
    assert listed(done) == {9, 10, 11}
    assert is_pass(run("form_version", survey(raw={"v": ["2"] * 12}, fieldwork=field)))


def test_unique_ids() -> None:
    household = ["1", "2", "1", "1", "2", "1", "1", "2", "1", "2", "1", None]  # p0 has 1, 2; p1 has 1; p2 has 1, 2 ...
    raw = {"hh": household, "_uuid": [f"u{number}" for number in range(11)] + ["u3"]}
    wave = survey(raw=raw, fieldwork={"household": ["hh"]})
    assert wave.raw["psu"].tolist()[:6] == ["p0", "p0", "p1", "p2", "p2", "p3"]
    done = run("unique_ids", wave)
    assert verdicts(done) == {"_uuid": "fail"}
    assert listed(done) == {3, 11}
    assert done.rows[0].details == ["_uuid: as in row 12", "_uuid: as in row 4"]
    wave = survey(
        raw={"hh": ["1", "1", *household[2:]], "id": ["a", "a "] + [f"r{n}" for n in range(10)]},
        fieldwork={"household": ["hh"]},
    )
    done = run("unique_ids", wave)
    assert verdicts(done) == {"respondent_id (id)": "fail", "household (psu, hh)": "fail"}
    assert done.findings[0].value == 2
    assert is_pass(run("unique_ids", survey(raw={"hh": household}, fieldwork={"household": ["hh"]})))


def test_rows_that_do_not_count_repeat_nothing() -> None:
    wave = survey(raw={"result": [1] * 11 + [2], "hh": [*range(11), 10]}, fieldwork={"household": ["hh"]})
    assert len(wave.responses) == 11
    assert is_pass(run("unique_ids", wave))


def test_several_respondents_of_a_submission_share_its_id() -> None:
    wave = survey(raw={"_uuid": ["u"] * 12, "line": range(12)}, respondent_id=["_uuid", "line"])
    assert is_pass(run("unique_ids", wave))


def test_unique_values() -> None:
    place = {"lat": [34.12345 + 0.00113 * n for n in range(12)], "lon": [72.0] * 12}
    raw = {**place, "phone": ["x"] + [f"h{number}" for number in range(9)] + ["x", None]}
    field = {"unique": ["phone"], "gps": {"latitude": "lat", "longitude": "lon"}}
    done = run("unique_values", survey(raw=raw, fieldwork=field))
    assert verdicts(done) == {"phone": "warn"}
    assert listed(done) == {0, 10}
    raw = {**raw, "phone": range(12), "lat": [place["lat"][5], *place["lat"][1:]]}
    done = run("unique_values", survey(raw=raw, fieldwork=field))
    assert verdicts(done) == {"gps": "warn"}
    assert listed(done) == {0, 5}
    rounded = {**raw, "lat": [34.12, 34.12] * 6}
    assert is_pass(run("unique_values", survey(raw=rounded, fieldwork=field)))


def test_missing_values() -> None:
    answers = {
        "used": ["yes"] * 12,
        "service": ["good"] * 5 + ["missing"] * 2 + ["not_asked"] * 5,
        "overall": ["missing"] * 12,
        "wait": ["missing"] + [5] * 11,
    }
    done = run(
        "missing_values",
        survey(
            answers=answers,
            raw={"phone": ["1"] * 11 + [" "]},
            fieldwork={"must_have": ["service", "wait", "phone", "x"]},
        ),
    )
    found = {finding.unit: (finding.verdict, finding.value) for finding in done.findings}
    assert found == {
        "overall": ("fail", 1.0),
        "service": ("warn", 2 / 7),  # of those asked
        "wait": ("warn", 1 / 12),
        "phone": ("warn", 1 / 12),
        "x": ("not_run", None),
    }
    assert listed(done) == {0, 5, 6, 11}
    unknown = survey(answers={"used": "yes"}, raw={"enum": ["a"] * 10 + [None, " "]}, fieldwork={"enumerator": "enum"})
    assert verdicts(run("missing_values", unknown)) == {"enum": "warn"}
    wave = survey(
        answers={"used": "yes", "wait": 5},
        fieldwork={"must_have": ["used"]},
        quality={"missing_values": {"must_have": 0.0}},
    )
    assert is_pass(run("missing_values", wave))


def test_district_names() -> None:
    wave = survey()
    assert is_pass(run("district_names", wave))
    assert "2 names in district are 2 of the 2 districts" in run("district_names", wave).findings[0].message
    lost = survey(further={"units": UNITS[UNITS["district_id"] == "kp-swat"]})
    assert verdicts(run("district_names", lost)) == {"district=kp-kohat": "fail"}
    assert listed(run("district_names", lost)) == {6, 7, 8, 9, 10, 11}


# Answers


def test_dont_know_and_refused_by_question() -> None:
    service = ["good"] * 6 + ["dont_know"] * 2 + ["refused"] * 2 + ["missing"] + ["not_asked"]
    done = run("dont_know_refused", survey(answers={"service": service, "wait": ["dont_know"] + [4] * 11}))
    found = {finding.unit: finding for finding in done.findings}
    assert found["service"].value == pytest.approx(2 / 11)
    assert found["service"].verdict == "warn"
    assert found["service"].message == "asked of 11: 2 did not know, 2 refused, 1 missing"
    assert found["wait"].value == pytest.approx(1 / 12)
    assert found["wait"].verdict == "pass"
    assert found["all"].verdict == "not_run"  # no enumerators


def test_dont_know_by_enumerator() -> None:
    """Six enumerators of ten interviews, each with four questions; one gets a don't know in every interview."""
    enumerator = [f"e{number}" for number in range(6) for _ in range(10)]
    own = np.array(enumerator) == "e2"
    answers = {name: np.where(own & (name == "item_0"), "dont_know", "yes") for name in ITEMS[:4]}
    wave = survey(
        60,
        answers,
        {"enum": enumerator},
        fieldwork={"enumerator": "enum"},
        quality={"dont_know_refused": {"share": 0.3}},
    )
    done = run("dont_know_refused", wave)
    alarms = [finding for finding in done.findings if finding.verdict == "warn"]
    assert [(finding.unit, finding.value) for finding in alarms] == [("e2: don't know", 0.25)]
    calm = survey(
        60,
        {**answers, "item_0": ["yes", "dont_know"] * 30},
        {"enum": enumerator},
        fieldwork={"enumerator": "enum"},
        quality={"dont_know_refused": {"share": 0.6}},
    )
    assert run("dont_know_refused", calm).findings[0].verdict == "pass"


def test_a_group_is_held_against_all_others() -> None:
    """Means 1, 2, 3, 2, 2 and 5: the others of the last have mean 2 and variance 0.4; within groups there is none."""
    values = np.repeat([1.0, 2.0, 3.0, 2.0, 2.0, 5.0], 4)
    found = against_others(values, Groups(np.repeat(np.arange(6), 4), list("abcdef")), 3)
    assert found.loc["f", "limit"] == pytest.approx(2 + 3 * np.sqrt(0.4))
    assert found.index[found["mean"] > found["limit"]].tolist() == ["f"]
    assert against_others(values[:16], Groups(np.repeat(np.arange(4), 4), list("abcd")), 3)["limit"].isna().all()


def test_filter_dodging() -> None:
    """Five enumerators share every PSU; one gets no yes, the others half."""
    enumerator = [f"e{number % 5}" for number in range(200)]
    used = np.where(np.arange(200) // 5 % 2 == 0, "yes", "no")
    dodged = np.where(np.array(enumerator) == "e3", "no", used)
    wave: dict[str, Any] = {
        "fieldwork": {"enumerator": "enum"},
        "variables": {"service": {"asked_if": {"question": "used", "answers": ["yes"]}}},
    }
    answers = {"used": dodged, "service": "good"}
    done = run("filter_dodging", survey(200, answers, {"enum": enumerator}, **wave))
    assert verdicts(done) == {"e3": "warn"}
    assert done.findings[0].value == 0
    assert "0 yes, expected 20" in done.findings[0].message  # 40 interviews, half of which say yes with the others
    wave = {
        "fieldwork": {"enumerator": "enum"},
        "variables": {"service": {"asked_if": {"question": "used", "answers": ["yes"]}}},
    }
    assert is_pass(run("filter_dodging", survey(200, {"used": used, "service": "good"}, {"enum": enumerator}, **wave)))


def test_an_enumerator_in_a_place_where_hardly_anybody_says_yes_dodges_nothing() -> None:
    """Two enumerators in each PSU; in half of the PSUs nobody uses the service."""
    count = np.arange(400)
    psu = count // 20
    enumerators = groups(pd.Series([f"e{place // 2}-{number % 2}" for place, number in zip(psu, count, strict=True)]))
    yes = np.where(psu % 4 < 2, 0.0, (count // 2) % 2)
    seen = adjusted_for_place(yes, np.ones(400), enumerators, groups(pd.Series(psu)), groups(pd.Series(psu // 4)))
    assert seen.z.min() > -3


def test_the_answer_that_opens_most_questions_is_the_filter() -> None:
    """`no` opens one question and `yes` two: who avoids work gets few yeses."""
    enumerator = [f"e{number % 5}" for number in range(200)]
    used = np.where(np.array(enumerator) == "e3", "no", np.where(np.arange(200) // 5 % 2 == 0, "yes", "no"))
    doors = {"service": "yes", "overall": "yes", "item_0": "no"}
    variables = {name: {"asked_if": {"question": "used", "answers": [answer]}} for name, answer in doors.items()}
    answers = {"used": used, "service": "good", "overall": "good", "item_0": "yes"}
    done = run(
        "filter_dodging",
        survey(200, answers, {"enum": enumerator}, fieldwork={"enumerator": "enum"}, variables=variables),
    )
    assert verdicts(done) == {"e3": "warn"}


def test_numeric_outliers() -> None:
    """Of 10, 20 ... 400 the quartiles are 107.5 and 302.5: fences at -185 and 595, far ones at -477.5 and 887.5."""
    even = np.arange(10.0, 401.0, 10.0)
    assert is_pass(run("numeric_outliers", survey(40, {"wait": even})))
    done = run("numeric_outliers", survey(41, {"wait": [*even, 1500]}))
    assert verdicts(done) == {"wait": "warn"}
    assert listed(done) == {40}
    assert "1 of them far outside" in done.findings[0].message
    assert done.rows[0].details == ["wait is 1500"]
    near = survey(41, {"wait": [*even, 650]})  # beyond the fence, not far: one of 41 is more than 2 %
    assert verdicts(run("numeric_outliers", near)) == {"wait": "warn"}
    tolerant = survey(41, {"wait": [*even, 650]}, quality={"numeric_outliers": {"share": 0.05}})
    assert is_pass(run("numeric_outliers", tolerant))
    by_sd = survey(41, {"wait": [*even, 500]}, quality={"numeric_outliers": {"sd": 2}})  # mean 212, SD 123
    assert listed(run("numeric_outliers", by_sd)) == {40}


def test_numbers_of_another_unit() -> None:
    """The first version of a form asked for hours: all of it is odd, though no number lies outside."""
    minutes = np.tile(np.arange(30.0, 130.0, 10.0), 6)
    version = np.repeat(["1", "2"], 30)
    field = {"form_version": "v", "enumerator": "enum"}
    raw = {"v": version, "enum": np.repeat(["a", "b", "c"], 20)}
    done = run(
        "numeric_outliers", survey(60, {"wait": np.where(version == "1", minutes / 60, minutes)}, raw, fieldwork=field)
    )
    assert [finding.unit for finding in done.findings if "unit?" in finding.message] == ["wait: form 1"]
    assert is_pass(run("numeric_outliers", survey(60, {"wait": minutes}, raw, fieldwork=field)))
    one = {"v": ["1"] * 60, "enum": raw["enum"]}
    own = np.where(raw["enum"] == "b", minutes / 60, minutes)
    done = run("numeric_outliers", survey(60, {"wait": own}, one, fieldwork=field))
    assert [finding.unit for finding in done.findings if "unit?" in finding.message] == ["wait: enumerator b"]


def test_constraints() -> None:
    asked_if = {"variables": {"service": {"asked_if": {"question": "used", "answers": ["yes"]}}}}
    used = ["yes"] * 6 + ["no", "no", "dont_know", "missing", "yes", "yes"]
    service = ["good"] * 6 + ["bad", "not_asked", "refused", "good", "strange", "missing"]
    done = run("constraints", survey(answers={"used": used, "service": service, "wait": [-5, *range(11)]}, **asked_if))
    assert verdicts(done) == {"service": "fail", "wait": "fail", "service asked if used": "fail"}
    rows = {part.unit: part.positions.tolist() for part in done.rows}
    # Answered though the filter says no or don't know; what a blank filter means is not known.
    assert rows == {"service": [10], "wait": [0], "service asked if used": [6, 8]}
    asked_if = {"variables": {"service": {"asked_if": {"question": "used", "answers": ["yes"]}}}}
    clean = survey(
        answers={"used": used, "service": [*service[:6], *["not_asked"] * 3, *["good"] * 3], "wait": 5}, **asked_if
    )
    assert is_pass(run("constraints", clean))


def test_other_specify() -> None:
    raw = {"why": ["far"] * 8 + ["other"] * 2 + [None] * 2, "why_other": [None] * 8 + ["دور", "دور"] + [" "] * 2}
    done = run("other_specify", survey(raw=raw, fieldwork={"other_specify": ["why_other"]}))
    assert done.findings[0].value == pytest.approx(2 / 10)  # of those who answered `why`
    assert "دور" in done.findings[0].message
    assert listed(done) == {8, 9}
    tolerant = survey(raw=raw, fieldwork={"other_specify": ["why_other"]}, quality={"other_specify": {"share": 0.2}})
    assert is_pass(run("other_specify", tolerant))


def test_straight_lining_pools_short_batteries_of_a_scale() -> None:
    answers: dict[str, list[str]] = {name: ["yes", "no", "rather_yes"] * 4 for name in ITEMS}
    for number, name in enumerate(ITEMS):
        answers[name] = ["yes" if number < 11 else "no", *[list(AGREEMENT)[(number + row) % 4] for row in range(1, 12)]]
    answers["item_3"][1] = answers["item_4"][1] = "dont_know"
    done = run("straight_lining", survey(answers=answers))
    assert listed(done) == {0}  # 11 of 12 are the same
    assert done.findings[0].value == pytest.approx(1 / 12)
    answers["item_10"][0] = "no"
    assert is_pass(run("straight_lining", survey(answers=answers)))  # 10 of 12 are under 90 %
    few = {name: ["yes"] * 12 for name in ITEMS[:9]}
    assert run("straight_lining", survey(answers=few)).findings[0].verdict == "not_run"


def test_straight_lining_by_enumerator() -> None:
    enumerator = [f"e{number % 6}" for number in range(60)]
    own = np.array(enumerator) == "e1"
    answers = {name: np.where(own, "yes", list(AGREEMENT)[number % 4]) for number, name in enumerate(ITEMS)}
    done = run("straight_lining", survey(60, answers, {"enum": enumerator}, fieldwork={"enumerator": "enum"}))
    assert verdicts(done) == {"": "warn", "e1": "warn"}
    own &= np.arange(60) < 24  # four of them
    answers = {name: np.where(own, "yes", list(AGREEMENT)[number % 4]) for number, name in enumerate(ITEMS)}
    done = run("straight_lining", survey(60, answers, {"enum": enumerator}, fieldwork={"enumerator": "enum"}))
    assert verdicts(done) == {"": "warn"}


def test_digit_heaping_is_reported_and_never_a_breach() -> None:
    done = run("digit_heaping", survey(60, {"wait": [30] * 45 + [31] * 15}))
    assert [(finding.verdict, finding.value, finding.unit) for finding in done.findings] == [("pass", 0.75, "wait")]
    assert run("digit_heaping", survey(40, {"wait": 5})).findings[0].verdict == "not_run"


# Scales


def test_polychoric_of_a_fourfold_table_is_the_tetrachoric_correlation() -> None:
    """With both questions cut at the median it is sin(2 pi (p - 1/4)), p the share that is high on both."""
    assert polychoric(np.array([[40, 10], [10, 40]])).rho == pytest.approx(np.sin(2 * np.pi * 0.15), abs=1e-4)
    assert polychoric(np.array([[10, 40], [40, 10]])).rho == pytest.approx(-np.sin(2 * np.pi * 0.15), abs=1e-4)
    assert abs(polychoric(np.full((3, 3), 20)).rho) < 1e-4
    assert np.isnan(polychoric(np.array([[5, 0], [7, 0]])).rho)


def test_polychoric_recovers_a_correlation_and_its_error() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        pair = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], 500)
        table = np.zeros((4, 3), dtype=int)
        np.add.at(table, (np.digitize(pair[:, 0], [-1, 0, 0.7]), np.digitize(pair[:, 1], [-0.3, 0.9])), 1)
        found.append(polychoric(table)[:2])
    rho, error = np.array(found).T
    assert rho.mean() == pytest.approx(0.4, abs=0.02)
    assert error.mean() == pytest.approx(rho.std(), rel=0.3)


def opinions(size: int, correlation: float, seed: int = 1) -> dict[str, Any]:
    """Answers to `overall` and `service` of so many people."""
    pair = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size)
    cut = np.array(["bad", "fair", "good"])[np.digitize(pair, [-0.5, 0.6])]
    return {"overall": cut[:, 0], "service": cut[:, 1]}


def test_scale_direction() -> None:
    assert is_pass(run("scale_direction", survey(1000, opinions(1000, 0.3))))
    done = run("scale_direction", survey(1000, opinions(1000, -0.3)))
    assert verdicts(done)["service"] == "fail"
    small = opinions(60, -0.1, seed=5)  # as a small sample of what does not go together at all may look
    done = run("scale_direction", survey(60, small))
    assert done.findings[0].value < REGISTER["scale_direction"].thresholds["correlation"]
    assert done.findings[0].verdict == "pass"
    perfect = {"overall": ["bad", "good"] * 100, "service": ["good", "bad"] * 100}
    assert "fail" in verdicts(run("scale_direction", survey(200, perfect))).values()
    assert run("scale_direction", survey(answers={"service": "good"})).findings[0].verdict == "not_run"


def test_the_overall_question_itself_may_run_the_wrong_way() -> None:
    asked = opinions(400, -0.5)
    done = run("scale_direction", survey(400, {"overall": asked["overall"], "service": asked["service"]}))
    assert verdicts(done) == {"service": "fail", "overall": "fail"}


# Enumerators


def similarity_by_hand(y: np.ndarray, e: np.ndarray, p: np.ndarray, s: np.ndarray) -> float:
    """Over all pairs: half squared differences of different enumerators less those of one, both in different PSUs."""
    same: dict[int, list[float]] = {}
    different: dict[int, list[float]] = {}
    everything = []
    for i in range(len(y)):
        for j in range(len(y)):
            if i != j and s[i] == s[j]:
                half = (y[i] - y[j]) ** 2 / 2
                everything.append(half)
                if p[i] != p[j]:
                    (same if e[i] == e[j] else different).setdefault(s[i], []).append(half)
    total = weights = 0.0
    for stratum in same.keys() & different.keys():
        a, b = same[stratum], different[stratum]
        weight = len(a) * len(b) / (len(a) + len(b))
        total += weight * (np.mean(b) - np.mean(a))
        weights += weight
    return float(total / weights / np.mean(everything))


def test_enumerator_similarity_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(2)
    s = np.repeat([0, 1, 2], 30)
    p, e, y = s * 5 + rng.integers(0, 5, 90), s * 3 + rng.integers(0, 3, 90), rng.normal(size=90)
    parts = [Groups(codes.astype(np.intp), [str(code) for code in range(15)]) for codes in (e, p, s)]
    found = enumerator_similarity(y, nesting(*parts))
    assert found.icc == pytest.approx(similarity_by_hand(y, e, p, s))
    y[:5] = np.nan
    known = ~np.isnan(y)
    assert enumerator_similarity(y, nesting(*parts)).icc == pytest.approx(
        similarity_by_hand(y[known], e[known], p[known], s[known])
    )


def test_similarity_within_psus_where_enumerators_keep_to_one() -> None:
    """In each PSU one enumerator hears 0, 0 and the other 1, 1: all variance of the pairs is theirs."""
    psu = np.repeat(np.arange(4), 4)
    enumerator = np.arange(16) // 2
    parts = (Groups(enumerator, list("abcdefgh")), Groups(psu, list("abcd")), Groups(psu * 0, ["s"]))
    found = enumerator_similarity(np.tile([0.0, 0, 1, 1], 4), nesting(*parts))
    # Within an enumerator 0, between those of a PSU 1/2; of all 240 pairs 128 differ: half squares of 8/15 / 2.
    assert found.icc == pytest.approx(0.5 / (128 / 240 / 2))


def test_enumerator_variance() -> None:
    rng = np.random.default_rng(4)
    enumerator = rng.integers(0, 10, 800)
    raw = {"enum": [f"e{number}" for number in enumerator]}
    scale = np.array(["bad", "fair", "good"])
    style = np.linspace(-1.5, 1.5, 10)[enumerator]
    led = scale[np.digitize(style + rng.normal(size=800), [-0.5, 0.5])]
    free = scale[np.digitize(rng.normal(size=800), [-0.5, 0.5])]
    done = run(
        "enumerator_variance", survey(800, {"service": led, "overall": free}, raw, fieldwork={"enumerator": "enum"})
    )
    assert verdicts(done) == {"service": "warn"}
    assert done.findings[0].value > 0.25
    assert is_pass(run("enumerator_variance", survey(800, {"overall": free}, raw, fieldwork={"enumerator": "enum"})))
    alone = {"enum": [f"e{number * 8 // 800}" for number in range(800)]}  # one for each PSU
    done = run("enumerator_variance", survey(800, {"service": led}, alone, fieldwork={"enumerator": "enum"}))
    assert done.findings[0].verdict == "not_run"


def honest_answers(rng: np.random.Generator, size: int) -> np.ndarray:
    """Places in the scale of 40 questions: respondents differ in how they answer altogether."""
    latent = 0.7 * rng.normal(size=(size, 1)) + rng.normal(size=(size, 40))
    return np.digitize(latent, [-1.0, 0.0, 1.0])


def long_instrument() -> Instrument:
    questions = {f"q{number}": {"label": "Agree", "type": "ordinal", "categories": AGREEMENT} for number in range(40)}
    return instrument(
        questions=questions,
        indicators={"a": {"label": "A", "question": "q0", "positive": ["yes"], "population": "all"}},
        overall=None,
        batteries={},
    )


def alike(codes: np.ndarray, enumerators: int = 10, **wave: Any) -> Outcome:
    """The check of near-duplicates on answers given as places in the scale."""
    answers = {f"q{number}": np.array(list(AGREEMENT))[codes[:, number]] for number in range(codes.shape[1])}
    raw = {"enum": [f"e{number % enumerators}" for number in range(len(codes))]}
    return run(
        "near_duplicates", survey(len(codes), answers, raw, long_instrument(), fieldwork={"enumerator": "enum"}, **wave)
    )


def test_near_duplicates_finds_copies_and_nothing_else() -> None:
    rng = np.random.default_rng(8)
    codes = honest_answers(rng, 400)
    assert is_pass(alike(codes))
    planted = [(10, 30), (41, 91), (72, 132)]  # each pair of one enumerator
    for original, copy in planted:
        codes[copy] = codes[original]
        changed = rng.choice(40, 2, replace=False)  # 5 % of the answers
        codes[copy, changed] = (codes[copy, changed] + 1) % 4
    done = alike(codes)
    assert done.findings[0].verdict == "warn"
    assert done.findings[0].value == 3
    assert listed(done) == {row for pair in planted for row in pair}
    assert "agrees in 95.0% of 40 questions with row 31" in done.rows[0].details
    assert is_pass(alike(codes, quality={"near_duplicates": {"match": 0.96}}))
    assert is_pass(alike(codes, quality={"near_duplicates": {"questions": 41}}))


def test_a_pair_scores_the_log_likelihood_ratio_of_a_copy() -> None:
    """Two questions in one district of four: shares 3/4 and 1/4, and 2/3 and 1/3 of the three who were asked."""
    codes = np.array([[2, 2], [2, 3], [2, 2], [3, 0]], dtype=np.int16)
    worth, given, chance = pair_weights(codes, np.zeros(4, dtype=np.intp))
    same = {share: np.log((0.95 + 0.05 * share) / share) for share in (3 / 4, 1 / 4, 2 / 3, 1 / 3)}
    changed = np.log(0.05)
    expected = np.array(
        [
            [same[3 / 4] + same[2 / 3], same[3 / 4] + changed, same[3 / 4] + same[2 / 3], changed],
            [same[3 / 4] + changed, same[3 / 4] + same[1 / 3], same[3 / 4] + changed, changed],
            [same[3 / 4] + same[2 / 3], same[3 / 4] + changed, same[3 / 4] + same[2 / 3], changed],
            [changed, changed, changed, same[1 / 4]],
        ]
    )
    assert worth @ given.T == pytest.approx(expected, abs=1e-5)
    own = (same[3 / 4] - changed) ** 2 * 3 / 16 + 3 / 4 * (same[2 / 3] - changed) ** 2 * 2 / 9
    assert chance[0] == pytest.approx(np.sqrt(own + 1), abs=1e-5)


def test_near_duplicates_by_different_enumerators_are_found_too() -> None:
    rng = np.random.default_rng(9)
    codes = honest_answers(rng, 400)
    codes[57] = codes[31]
    done = alike(codes)
    assert listed(done) == {31, 57}
    assert "(0 by one enumerator)" in done.findings[0].message


def test_near_duplicates_look_at_numbers_too() -> None:
    rng = np.random.default_rng(13)
    questions = {f"n{number}": {"label": "How many", "type": "number"} for number in range(40)}
    indicators = {"a": {"label": "A", "question": "n0", "population": "all"}}
    asked = instrument(questions=questions, indicators=indicators, overall=None, batteries={})
    numbers = rng.normal(100, 30, (400, 40)) + 20 * rng.normal(size=(400, 1))
    numbers[90] = numbers[20]
    answers = {name: numbers[:, place].astype(object) for place, name in enumerate(questions)}
    for name in list(questions)[:4]:  # two that know nothing in common are no copies for it
        answers[name][[33, 143]] = "dont_know"
    raw = {"enum": [f"e{number % 10}" for number in range(400)]}
    done = run("near_duplicates", survey(400, answers, raw, asked, fieldwork={"enumerator": "enum"}))
    assert listed(done) == {20, 90}
    assert "agrees in 100.0% of 40 questions with row 91" in done.rows[0].details


def test_people_who_agree_on_what_everybody_says_are_no_duplicates() -> None:
    """Nearly everybody says no to nearly everything: most interviews have a twin, which the plain rule would report."""
    rng = np.random.default_rng(10)
    codes = (rng.random((400, 40)) < 0.02).astype(int)
    twins = pd.DataFrame(codes).duplicated(keep=False)
    assert twins.sum() > 200
    assert is_pass(alike(codes))


def test_an_enumerator_with_a_pattern_of_their_own() -> None:
    """No two interviews are copies, but all of one enumerator follow a model in two thirds of the answers."""
    rng = np.random.default_rng(11)
    codes = honest_answers(rng, 400)
    own = np.arange(3, 400, 10)
    codes[own] = np.where(rng.random((40, 40)) < 0.66, codes[3], codes[own])
    assert verdicts(alike(codes)).get("e3") == "warn"


def test_near_duplicates_of_a_wave_too_large_say_what_is_left_out() -> None:
    codes = honest_answers(np.random.default_rng(12), 400)
    done = alike(codes, quality={"near_duplicates": {"comparisons": 40 * 20_000}})
    assert re.search(
        r"80 interviews of 2 enumerators compared; .*; 320 interviews left out by lot", done.findings[0].message
    )


# Fieldwork


def test_times_are_read_in_utc_whatever_their_form() -> None:
    def starts(values: list[str | None], **field: Any) -> list[str | None]:
        raw = pd.DataFrame({"source_row": range(1, len(values) + 1), "start": pd.Series(values, dtype="str")})
        raw.attrs = {"column_files": dict.fromkeys(raw.columns, "answers.csv")}
        read = fieldwork.interviews(
            raw, survey(fieldwork={}).wave.model_copy(update={"fieldwork": fieldwork_of(**field)})
        )
        return [None if pd.isna(time) else time.strftime("%Y-%m-%dT%H:%M:%S%z") for time in read["start"]]

    utc = "2024-03-04T04:12:11+0000"
    assert starts(["2024-03-04T09:12:11.000+05:00", "2024-03-04 09:12:11", "2024-03-04T04:12:11Z", None]) == [
        utc
    ] * 3 + [None]
    surveycto = "%b %d, %Y %I:%M:%S %p"
    assert starts(["Mar 4, 2024 9:12:11 AM", "Mar 4, 2024 9:12:11\u202fAM"], time_format=surveycto) == [utc] * 2
    assert starts(["04/03/2024 07:12"], time_format="%d/%m/%Y %H:%M", time_zone="Africa/Nairobi") == [
        "2024-03-04T04:12:00+0000"
    ]


def fieldwork_of(**field: Any) -> Any:
    return survey(fieldwork={}).wave.fieldwork.model_copy(update={"start": "start", **field})


def test_paradata_that_cannot_be_read_is_named() -> None:
    raw = {
        "start": ["yesterday", "2021-03-01T10:00"] + [None] * 10,
        "len": ["10", "a while"] + ["9"] * 10,
        "lat": ["34.1"] * 11 + ["340"],
        "lon": ["72"] * 12,
    }
    field = {"start": "start", "minutes": "len", "gps": {"latitude": "lat", "longitude": "lon"}}
    with pytest.raises(InputError) as error:
        survey(raw=raw, fieldwork=field)
    assert [(problem.where, problem.what) for problem in error.value.problems] == [
        ("hand-2021/answers.csv, column start", "1 values are no ISO time, for example 'yesterday' in row 1"),
        ("hand-2021/answers.csv, column len", "1 values are no number, for example 'a while' in row 2"),
        ("hand-2021/answers.csv, column lat", "1 values are no latitude, for example '340' in row 12"),
    ]
    with pytest.raises(InputError, match=r"'Asia/Karachee' is no time zone"):
        survey(raw=raw, fieldwork={"start": "start", "time_zone": "Asia/Karachee"})
    with pytest.raises(InputError, match=r"fieldwork: column 'begin' is in none of the files"):
        survey(fieldwork={"start": "begin"})


def test_places_are_read_from_one_column_or_several() -> None:
    points = ["34.5 72.25 980.1 4.5", "34.5 72.25", "0 0 0 0", None, " ", *["34 72 0 3"] * 7]
    read = survey(raw={"gps": points}, fieldwork={"gps": {"point": "gps"}}).paradata
    assert read["latitude"].tolist()[:2] == [34.5, 34.5]
    assert read["longitude"].tolist()[:2] == [72.25, 72.25]
    assert read["accuracy"].iloc[0] == 4.5
    assert read["latitude"].isna().tolist()[:6] == [False, False, True, True, True, False]
    assert read["at_zero"].tolist()[:4] == [False, False, True, False]
    split = survey(
        raw={"a": range(12), "b": ["1"] * 12}, fieldwork={"gps": {"latitude": "a", "longitude": "b"}}
    ).paradata
    assert split["latitude"].tolist() == list(range(12))
    assert split["accuracy"].isna().all()
    with pytest.raises(InputError, match=r"1 values are no latitude and longitude, for example '34.5'"):
        survey(raw={"gps": ["34.5"] + [None] * 11}, fieldwork={"gps": {"point": "gps"}})


def test_duration() -> None:
    """Median 30: limit 12; who was asked half of the questions may take half of it; 40 words take 12 seconds."""
    minutes = [30] * 8 + [11, 11, 181, -3]
    answers = {name: ["yes"] * 9 + ["not_asked"] + ["yes"] * 2 for name in ITEMS[:2]} | {
        "used": "yes",
        "overall": "bad",
    }
    done = run("duration", survey(answers=answers, raw={"len": minutes}, fieldwork={"minutes": "len"}))
    assert listed(done) == {8, 10, 11}
    assert done.rows[0].details == [
        "11.0 minutes: under 40.0% of the median",
        "181.0 minutes: over 3 hours",
        "-3.0 minutes: ended before it began",
    ]
    assert is_pass(run("duration", survey(answers=answers, raw={"len": [30] * 12}, fieldwork={"minutes": "len"})))
    slow = survey(
        answers={"used": "yes"},
        raw={"len": [1.4] * 12},
        fieldwork={"minutes": "len"},
        quality={"duration": {"words_per_minute": 2}},
    )
    assert "12 under the time to read its questions" in run("duration", slow).findings[0].message  # three words: 1.5


def test_question_speeding(tmp_path: Path) -> None:
    events = ["event,node,start,end,instance ID", "form start,,1000,,u0"]
    for instance, length in (("u0", 1500), ("u1", 1500), ("u2", 9000)):
        for number in range(12):
            slow = instance == "u1" and number < 6
            events.append(f"question,/data/q{number},1000,{1000 + (5000 if slow else length)},{instance}")
    events.append("question,/data/q0,90000,99000,u0")  # came back to it and stayed: 10.5 seconds in all
    (tmp_path / "audit.csv").write_text("\n".join(events), encoding="utf-8")
    raw = {"key": [f"u{number}" for number in range(12)]}
    audit = {"audit": {"path": "audit.csv", "key": "key"}}
    times = fieldwork.question_times(survey(raw=raw, fieldwork=audit).wave, tmp_path)
    assert times is not None
    assert times.loc[(times["instance"] == "u0") & (times["question"] == "/data/q0"), "seconds"].tolist() == [10.5]
    done = run("question_speeding", survey(raw=raw, fieldwork=audit, further={"question_times": times}))
    assert listed(done) == {0}  # u1 passed just half of them fast
    assert done.rows[0].details == ["91.7% of 12 questions in under 2 s"]
    assert "of 3 in the audit log" in done.findings[0].message
    calm = times[times["instance"] != "u0"]
    assert is_pass(run("question_speeding", survey(raw=raw, fieldwork=audit, further={"question_times": calm})))
    strangers = times.assign(instance="x")
    assert (
        run("question_speeding", survey(raw=raw, fieldwork=audit, further={"question_times": strangers}))
        .findings[0]
        .verdict
        == "not_run"
    )


def test_an_audit_log_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text("event,node,instance ID\nquestion,q,u", encoding="utf-8")
    wave = survey(raw={"key": range(12)}, fieldwork={"audit": {"path": "audit.csv", "key": "key"}}).wave
    with pytest.raises(InputError, match=r"audit\.csv, column start: is not in the file"):
        fieldwork.question_times(wave, tmp_path)
    assert fieldwork.question_times(survey().wave, tmp_path) is None


def shifts(**changes: str) -> dict[str, list[str]]:
    """Start and end of twelve interviews, two a day of each of two enumerators, and changed starts by row."""
    starts = [f"2021-03-{1 + number // 4:02d} {9 + number % 4 // 2 * 2:02d}:00" for number in range(12)]
    for row, start in changes.items():
        starts[int(row.removeprefix("row_"))] = start
    return {**times(starts), "enum": ["a", "b"] * 6}


FIELD = {"enumerator": "enum", "start": "start", "end": "end"}


def test_work_hours() -> None:
    assert is_pass(run("work_hours", survey(raw=shifts(), fieldwork=FIELD)))
    raw = shifts(row_2="2021-03-01 09:20", row_5="2021-03-02 21:30", row_6="2021-03-02 05:45", row_9="2021-04-03 09:00")
    raw["end"][7] = "2021-03-02 10:00:00"  # began at 11
    done = run("work_hours", survey(raw=raw, fieldwork=FIELD))
    details = dict(zip([int(place) for place in done.rows[0].positions], done.rows[0].details, strict=True))
    assert details == {
        2: "2021-03-01 09:20: began before the enumerator's last one ended",
        5: "2021-03-02 21:30: at night",
        6: "2021-03-02 05:45: at night",
        7: "2021-03-02 11:00: ended before it began",
        9: "2021-04-03 09:00: dated outside the days in the field",
    }
    assert verdicts(done) == {"": "warn", "a": "warn", "b": "warn"}
    sent = {**shifts(), "sent": ["2021-03-01 09:10"] + ["2021-03-20 10:00"] * 11}
    late = run("work_hours", survey(raw=sent, fieldwork={**FIELD, "submitted": "sent"}))
    assert listed(late) == {0}
    dates = {"start": ["2021-03-02"] * 12, "enum": ["a"] * 12}
    done = run("work_hours", survey(raw=dates, fieldwork={"enumerator": "enum", "start": "start"}))
    assert done.findings[0].message == "not run: start has dates without a time of day"


def test_an_interview_left_open_is_counted_once() -> None:
    """The next one overlaps with it; those after do not overlap with each other."""
    starts = [f"2021-03-02 {8 + number:02d}:00" for number in range(12)]
    raw = {**times(starts, [700] + [30] * 11), "enum": ["a"] * 12}
    assert listed(run("work_hours", survey(raw=raw, fieldwork=FIELD))) == {1}


def test_long_days() -> None:
    raw = {
        **times(["2021-03-02 06:10", "2021-03-02 20:20"] + ["2021-03-03 10:00"] * 10, 20),
        "enum": ["a"] * 2 + [f"e{n}" for n in range(10)],
    }
    done = run("work_hours", survey(raw=raw, fieldwork=FIELD))
    assert "1 day of an enumerator longer than 14 hours" in done.findings[0].message


def test_productivity() -> None:
    """Twenty enumerators hold 5 interviews each on two days; one of them 14 on a third: plan 5, SD 1.39, limit 9.2."""
    enumerator = [f"e{number}" for number in range(20) for _ in range(10)] + ["e7"] * 14
    day = [f"2021-03-0{1 + number % 2}" for number in range(200)] + ["2021-03-05"] * 14
    wave = {"enumerator": "enum", "start": "start", "plan": {"interviews_per_day": 5}}
    done = run("productivity", survey(214, raw={"enum": enumerator, "start": day}, fieldwork=wave))
    spread = np.std([5] * 40 + [14])
    assert [(finding.unit, finding.value) for finding in done.findings] == [("e7", 14)]
    assert done.findings[0].threshold == pytest.approx(5 + 3 * spread)
    assert listed(done) == set(range(200, 214))
    calm = survey(200, raw={"enum": enumerator[:200], "start": day[:200]}, fieldwork={**wave, "plan": {}})
    assert is_pass(run("productivity", calm))
    assert "no plan is declared" in run("productivity", calm).findings[0].message


def squares() -> Any:
    """Two districts, a degree wide, side by side."""
    import geopandas as gpd
    import shapely

    boxes = [shapely.box(72, 34, 73, 35), shapely.box(73, 34, 74, 35)]
    return gpd.GeoDataFrame({"district_id": ["kp-swat", "kp-kohat"]}, geometry=boxes, crs="EPSG:4326")


def test_gps() -> None:
    """Rows 0 to 5 are in Swat, in the west. A degree of latitude is 111.2 km, of longitude there 91.7 km."""
    lat, lon = [34.5] * 12, [72.9] * 6 + [73.1] * 6
    raw = {"lat": lat, "lon": lon, "acc": [5.0] * 12}
    field = {"gps": {"latitude": "lat", "longitude": "lon", "accuracy": "acc"}}
    assert is_pass(run("gps", survey(raw=raw, fieldwork=field, further={"shapes": squares})))
    raw["lon"] = [73.03, 73.08, *lon[2:]]  # 2.7 and 7.3 km beyond the border
    raw["lat"] = [*lat[:11], 34.55]
    raw["acc"] = [5.0] * 7 + [0.0] + [5.0] * 4
    raw["psu"] = ["a"] * 2 + ["b"] * 4 + ["c"] * 3 + ["d"] * 3
    done = run("gps", survey(raw=raw, fieldwork=field, further={"shapes": squares}))
    assert verdicts(done) == {"gps: district": "warn", "gps: psu": "warn", "gps: accuracy": "warn"}
    details = dict(zip([int(place) for place in done.rows[0].positions], done.rows[0].details, strict=True))
    assert details == {1: "7 km outside its district", 7: "accuracy 0", 11: "5.6 km from the middle of its PSU"}
    east = {**raw, "lat": lat, "lon": [*lon[:11], 73.16]}  # 5.5 km
    done = run("gps", survey(raw=east, fieldwork=field, further={"shapes": squares}))
    assert "5.5 km from the middle of its PSU" in done.rows[0].details
    loose = survey(
        raw=raw, fieldwork=field, further={"shapes": squares}, quality={"gps": {"border_km": 8, "psu_km": 6}}
    )
    assert verdicts(run("gps", loose)) == {"gps: accuracy": "warn"}


def test_gps_missing_zero_and_without_shapes() -> None:
    raw = {"lat": [0, None, None] + [34.5] * 9, "lon": [0, None, None] + [72.5] * 9}
    field = {"gps": {"latitude": "lat", "longitude": "lon"}}
    done = run("gps", survey(raw=raw, fieldwork=field))
    assert verdicts(done) == {"gps: zero": "warn", "gps: missing": "warn", "gps: district": "not_run"}
    assert listed(done) == {0}
    assert run("gps", survey(fieldwork={})).findings[0].verdict == "not_run"
    nowhere = survey(raw={"lat": [0] * 12, "lon": [0] * 12}, fieldwork=field)
    assert verdicts(run("gps", nowhere))["gps: zero"] == "warn"


def test_back_checks(tmp_path: Path) -> None:
    again = pd.DataFrame(
        {
            "id": ["r0", "r1", "r2", "r3", "r4", "r5", "stranger"],
            "sex": ["1", "2", "2", "1", "1", "1", "1"],
            "kids": ["3"] * 7,
            "mood": [None] * 6 + ["x"],
        }
    )
    again.to_csv(tmp_path / "again.csv", index=False)
    raw = {"sex": [1] * 12, "kids": ["3", "2"] * 6, "mood": ["y"] * 12, "enum": ["a"] * 3 + ["b"] * 9}
    checks = {"path": "again.csv", "key": ["id"], "type_1": ["sex"], "type_2": ["kids", "lost"], "type_3": ["mood"]}
    wave = survey(raw=raw, fieldwork={"enumerator": "enum", "back_checks": checks})
    with pytest.raises(InputError, match=r"again\.csv, column lost: is not in the file"):
        fieldwork.back_checks(wave.wave, tmp_path)
    checks["type_2"] = ["kids"]
    field = {"enumerator": "enum", "back_checks": checks}
    read = fieldwork.back_checks(survey(raw=raw, fieldwork=field).wave, tmp_path)
    lenient = {"back_checks": {"compared": 3}}
    done = run("back_checks", survey(raw=raw, fieldwork=field, further={"back_checks": read}, quality=lenient))
    assert [(finding.unit, finding.value) for finding in done.findings] == [("a", pytest.approx(2 / 3))]
    assert listed(done) == {1, 2}
    assert done.rows[0].details[0] == "sex was 1, asked again 2"
    calm = survey(
        raw={**raw, "sex": [1, 2, 2, *[1] * 9]}, fieldwork=field, further={"back_checks": read}, quality=lenient
    )
    assert is_pass(run("back_checks", calm))
    assert "type 1 0.0% of 6, type 2 50.0% of 6" in run("back_checks", calm).findings[0].message
    alone = {"back_checks": checks}
    done = run("back_checks", survey(raw=raw, fieldwork=alone, further={"back_checks": read}, quality=lenient))
    assert [(finding.level, finding.unit, finding.value) for finding in done.findings] == [("wave", "", 2 / 6)]


def test_sample_plan() -> None:
    plan = {"plan": {"interviews_per_psu": 3, "psus": 8}}
    done = run("sample_plan", survey(24, fieldwork=plan, quality={"sample_plan": {"responses": 5}}))
    assert is_pass(done)
    assert done.findings[0].message == "24 of 24 rows count; 8 of 8 sampled PSUs have a response"
    done = run("sample_plan", survey(12, fieldwork={"plan": {"interviews_per_psu": 3, "psus": 10}}))
    assert verdicts(done) == {"s0": "warn", "s1": "warn", "PSUs planned": "warn", "kp-swat": "warn", "kp-kohat": "warn"}
    assert {finding.unit: finding.value for finding in done.findings}["s0"] == pytest.approx(6 / 4 / 3)


def test_strata_of_one_psu_and_replaced_psus() -> None:
    wave = survey(
        12, fieldwork={"plan": {"replaced": {"column": "new", "codes": [1]}}}, raw={"new": [1] * 2 + [0] * 10}
    )
    psus = wave.design_psus.assign(
        single_psu=["collapsed", *[None] * 7], stratum=["x", *wave.design_psus["stratum"][1:]]
    )
    psus = psus.assign(variance_stratum=["s0", *psus["stratum"][1:]], responses=[2, 0, *psus["responses"][2:]])
    done = run("sample_plan", Interviews(**{**vars_of(wave), "design_psus": psus}))
    found = {finding.unit: finding for finding in done.findings}
    assert found["x"].message == "one PSU, for variances joined with s0"
    assert found["x"].verdict == "warn"
    assert found["PSUs replaced"].value == pytest.approx(1 / 8)
    assert found["PSUs without a response"].verdict == "warn"
    assert found["PSUs without a response"].message == (
        "12 of 12 rows count; 7 of 8 sampled PSUs have a response; none in p1"
    )
    strict = wave.wave.model_copy(update={"design": wave.wave.design.model_copy(update={"single_psu": "fail"})})
    done = run("sample_plan", Interviews(**{**vars_of(wave), "wave": strict, "design_psus": psus}))
    assert {finding.unit: finding.verdict for finding in done.findings}["x"] == "fail"


def vars_of(wave: Interviews) -> dict[str, Any]:
    names = ("wave", "instrument", "raw", "responses", "design_psus", "paradata", "units")
    return {name: getattr(wave, name) for name in names}


def test_weights() -> None:
    """Eleven weights of 1 and one of 13: 13 times the median; Kish 12 (11 + 169) / 24^2 = 3.75."""
    design = {**WAVE["design"], "weight_scale": "population"}
    raw = {"w": [1.0] * 11 + [13.0]}
    margins = pd.DataFrame({"district_id": ["kp-swat", "kp-kohat"], "persons": ["12", "12"]})
    done = run("weights", survey(raw=raw, design=design, further={"margins": margins}))
    found = {finding.unit: finding for finding in done.findings}
    assert found["largest over median"].value == 13
    assert found["largest over median"].verdict == "warn"
    assert found["Kish design effect"].value == pytest.approx(3.75)
    assert found["sum"].verdict == "pass"
    off = run("weights", survey(raw=raw, design=design, further={"margins": margins.assign(persons=[12, 12.2])}))
    said = {finding.unit: finding for finding in off.findings}["sum"]
    assert said.verdict == "fail"
    assert said.message == "the weights sum to 24, 0.8% below the margins' 24"
    unknown = run("weights", survey(raw=raw, design=design))
    assert {finding.unit: finding.verdict for finding in unknown.findings}["sum"] == "not_run"
    relative = run("weights", survey(raw=raw, further={"margins": margins.assign(persons=[1, 1])}))
    assert "sum" not in verdicts(relative)  # relative weights need not sum to anything
    bad = survey(raw={"w": [1.0] * 9 + [0.0, -1.0, np.inf]})
    done = run("weights", bad)
    assert verdicts(done)["positive and finite"] == "fail"
    assert listed(done) == {9, 10, 11}
    assert is_pass(run("weights", survey()))


# Other waves and publication


def changes(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    """Codebook changes: variable, aspect, declared verdict."""
    frame = pd.DataFrame(rows, columns=["variable", "aspect", "verdict"]).astype("str")
    return frame.assign(wave="hand-2021", predecessor="hand-2018", before="a", after="b", reason=None)


def test_codebook_drift() -> None:
    followed = {"predecessor": "hand-2018"}
    found = changes(("service", "codes", None), ("service", "scale", None), ("used", "codes", "same"))
    done = run("codebook_drift", survey(further={"codebook_changes": found}, **followed))
    assert verdicts(done) == {"service": "fail"}
    assert done.findings[0].value == 2
    assert "codes, scale" in done.findings[0].message
    followed = {"predecessor": "hand-2018"}
    done = run("codebook_drift", survey(further={"codebook_changes": found[2:]}, **followed))
    assert is_pass(done)
    assert "(variables: 1 same)" in done.findings[0].message
    assert run("codebook_drift", survey(predecessor="hand-2018")).findings[0].verdict == "not_run"


def estimates(*values: float, se: float = 0.03) -> pd.DataFrame:
    units = ["kp-swat", "kp-kohat", "kp-tank"][: len(values)]
    return pd.DataFrame(
        {"indicator": "good", "level": "district", "domain": "all", "unit_id": units, "estimate": values, "se": se}
    )


def test_estimate_jump() -> None:
    """With errors of 0.03 and 0.04 the change has one of 0.05: 0.25 is 5 of them, 0.19 is 3.8."""
    now, then = estimates(0.65, 0.59, 0.5), estimates(0.40, 0.40, se=0.04)
    wave = survey(predecessor="hand-2018", further={"estimates": now, "previous_estimates": then})
    done = run("estimate_jump", wave)
    assert [(finding.verdict, finding.unit) for finding in done.findings] == [("hold", "kp-swat good")]
    assert done.findings[0].value == pytest.approx(5)
    quality, rows = quality_tables(wave, stage="estimates")
    assert quality["check"].tolist() == ["estimate_jump"]
    assert rows.empty
    calm = {"estimates": estimates(0.5, 0.5), "previous_estimates": estimates(0.4, 0.4, se=0.04)}
    done = run("estimate_jump", survey(predecessor="hand-2018", further=calm))
    assert is_pass(done)
    assert done.findings[0].value == pytest.approx(2)
    still = {"estimates": estimates(0.0, 0.5, se=0.0), "previous_estimates": estimates(0.4, 0.4, se=0.0)}
    assert (
        "2 estimates without a standard error left out"
        in run("estimate_jump", survey(predecessor="hand-2018", further=still)).findings[0].message
    )
    broken = {"estimates": now, "previous_estimates": then, "codebook_changes": changes(("service", "scale", "break"))}
    done = run("estimate_jump", survey(predecessor="hand-2018", further=broken))
    assert done.findings[0].verdict == "not_run"


def test_personal_columns() -> None:
    table = pd.DataFrame(
        {"unit_id": ["kp-swat"] * 30, "estimate": 0.5, "cell": [f"0300-{number:07d}" for number in range(30)]}
    )
    done = run("personal_columns", survey(further={"public_tables": {"published": table}}))
    assert verdicts(done) == {"published.cell": "fail"}
    assert is_pass(
        run("personal_columns", survey(further={"public_tables": {"published": table.drop(columns="cell")}}))
    )


NUMBERS = np.random.default_rng(0).integers(0, 10_000_000, 60)
PERSONAL: list[tuple[str, Any, str]] = [
    ("respondent_name", [f"Person {number}" for number in NUMBERS], "a person's name"),
    ("HHHeadName", [f"Person {number}" for number in NUMBERS], "a person's name"),
    ("name", [f"Person {number}" for number in NUMBERS], "a person's name"),
    ("resp/father_name", [f"Person {number}" for number in NUMBERS], "a person's name"),
    ("mobile_no", 3_000_000_000 + NUMBERS * 53, "a phone number"),
    ("q17", [f"03{number % 7}0{number:07d}" for number in NUMBERS], "a phone number"),
    ("q18", [f"+92 345 {number:07d}" for number in NUMBERS], "a phone number"),
    ("remarks", ["nothing"] * 59 + ["call 0345-1234567"], "a phone number"),
    ("q19", [f"17301-{number:07d}-3" for number in NUMBERS], "an identity card number"),
    ("q20", 1_730_100_000_000 + NUMBERS * 99_991, "an identity card number"),
    ("cnic", [f"{number:013d}" for number in NUMBERS], "an identity card number"),
    ("gps_lat", np.linspace(31.12345, 35.6789, 60), "the place of a person"),
    ("_gps_longitude", np.linspace(70.12345, 72.6789, 60), "the place of a person"),
    ("where", [f"34.{number:07d} 72.{number:07d} 300 5" for number in NUMBERS], "the place of a person"),
    ("email", [f"a{number}@example.org" for number in NUMBERS], "an e-mail address"),
    ("q21", [f"a{number}@example.org" for number in NUMBERS], "an e-mail address"),
]
HARMLESS: list[tuple[str, Any]] = [
    ("respondent_id", [f"uuid:{number:08d}-aaaa" for number in NUMBERS]),
    ("hhcode", 3_001_000_000 + np.arange(60) * 17),
    ("psu", 1_730_100_000_000 + NUMBERS * 99_991),
    ("household_no", range(60)),
    ("weight", NUMBERS * 317.123),
    ("population", 3_000_000_000 + NUMBERS),
    ("start", [f"{1_614_571_200_000 + number}" for number in NUMBERS]),
    ("district_name", [f"District {number}" for number in NUMBERS]),
    ("name", ["Swat", "Kohat", "Tank"] * 20),
    ("facility_name", [f"Facility {number}" for number in NUMBERS]),
    ("has_cnic", ["yes", "no"] * 30),
    ("owns_mobile_phone", [1, 0] * 30),
    ("platform", ["a", "b"] * 30),
    ("latitude", [34, 35] * 30),
    ("estimate", np.linspace(0.1, 0.9, 60)),
    ("mean_minutes", np.linspace(31.12345, 35.6789, 60)),
    ("first_day", ["2021-03-01"] * 60),
    ("producer", ["Bureau of Statistics"] * 60),
    ("wave_version", [f"{number:064x}" for number in NUMBERS]),
    ("title", ["Survey"] * 60),
    ("identity_used", ["yes", "no"] * 30),
    ("empty", [None] * 60),
]


@pytest.mark.parametrize(
    ("column", "values", "what"), PERSONAL, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_looks_personal(column: str, values: Any, what: str) -> None:
    assert looks_personal(column, pd.Series(values)) == what


@pytest.mark.parametrize(("column", "values"), HARMLESS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_does_not_look_personal(column: str, values: Any) -> None:
    assert looks_personal(column, pd.Series(values)) is None


def test_a_categorical_column_is_looked_at_like_any_other() -> None:
    values = pd.Series([f"0345-{number:07d}" for number in NUMBERS]).astype("category")
    assert looks_personal("q", values) == "a phone number"


# What people see


def test_fieldwork_summary() -> None:
    """Enumerator a has rows 0 to 3; one of eight answers is don't know; two of the rows are listed, one twice."""
    answers = {"used": ["dont_know"] + ["yes"] * 11, "service": ["good"] * 3 + ["refused"] * 2 + ["good"] * 7}
    raw = {"enum": ["a"] * 4 + ["b"] * 8, "len": [10, 20, 30, 90] + [30] * 8}
    wave = survey(answers=answers, raw=raw, fieldwork={"enumerator": "enum", "minutes": "len"})
    rows = pd.DataFrame({"check": ["duration", "near_duplicates", "duration"], "source_row": [1, 1, 2]})
    summary = fieldwork_summary(wave, rows)
    assert contract_breaches(summary, "fieldwork_summary") == []
    first = summary.set_index(["by", "unit"]).loc[("enumerator", "a")]
    assert first["interviews"] == 4
    assert first["others"] == 3  # PSUs p0, p1, p2
    assert first["minutes"] == 25
    assert first["dont_know"] == pytest.approx(1 / 8)
    assert first["refused"] == pytest.approx(1 / 8)
    assert first[["odd_length", "near_duplicates", "straight_lining", "flagged"]].tolist() == [2, 1, 0, 2]
    assert first["district_id"] == "kp-swat"
    psus = summary[summary["by"] == "psu"]
    assert psus["interviews"].sum() == 12
    assert psus["unit"].iloc[0] == "p0"  # the most flagged first


def page_tables(wave: Interviews, **changes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    quality, rows = quality_tables(wave)
    facts = {"wave": "hand-2021", "title": "Hand-made <survey>", "first_day": "2021-03-01", "last_day": "2021-03-31"}
    facts |= {"simulated": True, "respondents": 12, "psus": 8, "districts": 2}
    weights = {
        "step": "final",
        "n": 12,
        "sum": 12.0,
        "smallest": 1.0,
        "median": 1.0,
        "largest": 1.0,
        "cv": 0.0,
        "kish": 1.0,
    }
    remedy = {"number": 1, "check": "unique_ids", "action": "drop_repeats", "detail": "all but the first", "rows": 3}
    return {
        "wave_quality": quality,
        "wave_quality_rows": rows,
        "fieldwork_summary": fieldwork_summary(wave, rows),
        "wave_remedies": pd.DataFrame([{**remedy, "wave": "hand-2021", "reason": "Sent twice."}]),
        "weights": pd.DataFrame([{**weights, "max_over_median": 1.0}]),
        "waves": pd.DataFrame([facts]),
        **changes,
    }


def faulty() -> Interviews:
    raw = {"hh": ["1"] * 12, "enum": ["=2+3", "<b>x</b>"] * 6, "why_other": ["=HYPERLINK(1)", *["-1+2"] * 11]}
    field = {"household": ["hh"], "enumerator": "enum", "other_specify": ["why_other"]}
    return survey(answers={"service": "good"}, raw=raw, fieldwork=field)


def test_the_page_of_a_blocked_wave(tmp_path: Path) -> None:
    page = write_quality_page(tmp_path / "hand-2021", page_tables(faulty()))
    text = page.read_text(encoding="utf-8")
    assert "The wave is blocked: 1 finding must be put right first." in text
    assert "SIMULATED DATA" in text
    assert "Sent twice." in text
    assert "Hand-made &lt;survey&gt;" in text
    assert "<b>x</b>" not in text
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", text)
    assert "<script" not in text
    assert 'href="follow-up.xlsx"' in text
    assert all(f'<th scope="row">{unit}</th>' in text for unit in ("p0", "p7", "=2+3"))


def test_the_page_of_a_wave_that_can_go_on(tmp_path: Path) -> None:
    tables = page_tables(survey(answers={"service": "good"}))
    tables["waves"] = tables["waves"].assign(simulated=False)
    text = write_quality_page(tmp_path, tables).read_text(encoding="utf-8")
    assert "The wave can go on: nothing blocks it." in text
    assert "SIMULATED" not in text
    assert "not run: fieldwork.gps is not declared" in text


def test_every_check_is_shown_with_its_gravest_verdict() -> None:
    tables = page_tables(faulty())
    shown = {check.id: check for check in shown_checks(tables["wave_quality"], tables["wave_quality_rows"])}
    assert list(shown) == [check.id for check in CHECKS if check.stage == "intake"]
    assert shown["unique_ids"].verdict == "fail"
    assert shown["unique_ids"].rows == 8
    assert shown["other_specify"].verdict == "warn"
    assert shown["gps"].verdict == "not_run"
    assert shown["constraints"].verdict == "pass"


def test_the_workbook_holds_text_and_no_formula(tmp_path: Path) -> None:
    write_quality_page(tmp_path, page_tables(faulty()))
    book = CalamineWorkbook.from_path(str(tmp_path / "follow-up.xlsx"))
    assert book.sheet_names == ["about", "to follow up", "by enumerator", "by PSU", "checks"]
    follow = book.get_sheet_by_name("to follow up").to_python()
    assert follow[0][:3] == ["title", "check", "source row"]
    assert sorted({row[follow[0].index("enumerator")] for row in follow[1:]}, reverse=True) == ["=2+3", "<b>x</b>"]
    assert "why_other: =HYPERLINK(1)" in {row[-1] for row in follow[1:]}
    by_enumerator = book.get_sheet_by_name("by enumerator").to_python()
    assert {row[0] for row in by_enumerator} == {"unit", "=2+3", "<b>x</b>"}
    assert len(book.get_sheet_by_name("by PSU").to_python()) == 9
    about = book.get_sheet_by_name("about").to_python()
    assert about[-1][0] == "SIMULATED DATA"
    with zipfile.ZipFile(tmp_path / "follow-up.xlsx") as parts:
        sheets = [parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/worksheets/sheet")]
    assert len(sheets) == 5
    assert not any("<f>" in sheet or "<f " in sheet for sheet in sheets)


def test_groups_crossed_keep_their_names() -> None:
    both = crossed(groups(pd.Series(["a", "b", "a", None])), groups(pd.Series(["x", "y", "y", "x"])))
    assert [both.names[code] if code >= 0 else None for code in both.codes] == ["a/x", "b/y", "a/y", None]
    assert both.sums().tolist() == [1, 1, 1]
