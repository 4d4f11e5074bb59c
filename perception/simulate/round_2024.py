"""The 2024 round as SurveyCTO exports it: one wide CSV with text dates and repeats, codes -98 and -99, back-checks.

The same wave as a Stata file, with value labels and extended missing values, is written here too.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perception.intake.declarations import BACKGROUND
from perception.intake.instrument import Instrument
from perception.intake.wave_file import WAVE_FILE
from perception.intake.xlsform import form_labels, read_xlsform
from perception.simulate.coding import Coded, Delivery, codes_of, numbered, wave_text, written
from perception.simulate.forms import (
    PERSON_ROWS,
    QUINTILES,
    SCHOOLING,
    SEXES,
    SURVEYCTO,
    WHY,
    Choices,
    FormRow,
    questions_sheet,
    write_form,
)
from perception.simulate.questionnaire import PROVINCES, REASONS_NOT_USED, SERVICES, WAIT, Round, service_of

VERSIONS = {1: "2401091512", 2: "2401180930"}
"""The pilot's form, and the one that was fielded."""
YES_NO = {"yes": 1, "no": 0}
NO_ANSWER = {"dont_know": -98, "refused": -99}
SHORT = dict(zip(SERVICES, ("hlth", "edup", "edus", "watr", "wste", "elec", "polc", "nadr"), strict=True))
ITEMS = {
    **{"needed": "need12", "used": "use12", "access": "a_access", "affordability": "a_afford"},
    **{"facilities": "a_facil", "quality": "a_quality", "equality": "a_equal", "courtesy": "a_staff"},
    **{"teaching": "a_teach", "process": "a_process", "timeliness": "a_time"},
    **{"wait": "wait_min", "bribe_asked": "bribe_ask", "satisfaction": "sat"},
}
GOVERNMENT = {
    "safety_after_dark": "safe_dark",
    "local_government_responds": "lg_responsive",
    "discrimination": "discrim12",
    "complaint_made": "complain",
    "complaint_solved": "compl_solved",
    "district_satisfaction": "dist_sat_all",
}
WORDINGS = {
    "safety_after_dark": (
        "How safe do you feel walking alone in your area after dark?",
        "اندھیرے میں اپنے علاقے میں اکیلے چلنا آپ کو کتنا محفوظ لگتا ہے؟",
    )
}
BACK_CHECKED = ("sex", "educ", "hlth_use12", "nadr_use12", "hlth_sat", "dist_sat_all")

WAVE = """\
files:
  - path: responses.csv.gz
form: form.xlsx                # SurveyCTO's form definition

rows:
  - {{column: consent, keep: [1]}}  # those who refused are in the file

respondent_id: [KEY]

design:
  weight: w_final
  weight_scale: relative     # rescaled by the producer: they sum to nothing in particular
  strata: [stratum_id]       # district x urban/rural, where peri-urban counts as urban
  psu: psu_id
  single_psu: collapse

geography:
  vintage: "2023"              # Chitral and Kohistan are split by now
  district: district
  by: code
{names}
fieldwork:
  enumerator: enum_id
  team: team_id
  start: starttime
  end: endtime
  submitted: SubmissionDate
  time_format: "%b %d, %Y %I:%M:%S %p"  # Mar 4, 2024 9:12:11 AM
  form_version: formdef_version
  current_versions: [{fielded}]
  stale_versions: [{pilot}]
  household: [psu_id, hh_no]
  must_have: [sex, age, district_satisfaction]
  other_specify: [hlth_why_other]
  gps: {{latitude: gpsLatitude, longitude: gpsLongitude, accuracy: gpsAccuracy}}
  coordinates: displace
  plan: {{interviews_per_psu: 12, psus: {psus}, interviews_per_day: 7}}
  back_checks:                 # interviews asked again by another enumerator
    path: backchecks.csv
    key: [KEY]
    type_1: [sex, educ]        # cannot change
    type_2: [hlth_use12, nadr_use12]
    type_3: [hlth_sat, dist_sat_all]

{remedies}{comparability}variables:
  sex: {{source: sex, map: {{1: male, 2: female}}}}
  urban: {{source: urban_rural, map: {{1: urban, 2: rural, 3: urban}}}}  # 3 is peri-urban
  age: {{source: age, missing: {{998: dont_know, 999: refused}}}}
  wealth: {{source: quintile, map: {{1: lowest, 2: second, 3: middle, 4: fourth, 5: highest}}}}
  education: {{source: educ, map: {{0: none, 1: primary, 2: middle, 3: secondary, 4: higher, 5: higher}}}}
"""

INTRO = """
What is special here: SurveyCTO's wide CSV with text dates, compressed; scales run from 0 to 3, -98 and -99 are no
answer; the need of a service is asked before its use, and decides who is asked; answers to a select-multiple question
are columns hlth_why_1 to hlth_why_9; complaints are a repeat, of which nothing is mapped; districts are those of 2023.
"""

COMPARABILITY = """\
# How far each variable compares with 2021. Every difference that the software finds must be declared, for a variable,
# for one aspect of it or by a pattern; the most particular declaration counts. Trends obey the verdicts.
comparability:
  "*.codes": {verdict: same, reason: Codes are numbered anew; the maps give the same categories}
  "*.scale": {verdict: recoded, reason: The middle category of 2021 is gone; there it counts as not satisfied}
  "*.order": {verdict: same, reason: The need of a service is now asked before its use}
  "*_used.filter": {verdict: recoded, reason: Asked of those in need only; all users are among them}
  "*_needed.filter": {verdict: break, reason: "2021 asked non-users only, 2024 everyone"}
  "health_not_used_*.filter": {verdict: same, reason: Those in need who are no users are asked in both rounds}
  urban: {verdict: same, reason: Peri-urban is told apart in 2024 and counts as urban}
  education: {verdict: same, reason: Bachelor and master are told apart in 2024}
  safety_after_dark: {verdict: recoded, reason: "A new wording; who never goes out alone can no longer say so"}

"""


def coding(survey: Round, instrument: Instrument) -> dict[str, Coded]:
    """How the round writes each question down, in the order of the instrument."""
    coded = {}
    reasons = [q for q in instrument.questions if q.startswith(REASONS_NOT_USED)]
    for question in survey.questions(instrument):
        service = service_of(question)
        if question in reasons:
            coded[question] = Coded((f"hlth_why_{1 + reasons.index(question)}",), YES_NO)
            continue
        column = GOVERNMENT[question] if service is None else _column(question, service)
        if question == WAIT:
            coded[question] = Coded((column,), missing=NO_ANSWER)
        else:
            codes = codes_of(survey.scale(question, instrument), YES_NO, first=0, best_first=False)
            coded[question] = Coded((column,), codes, NO_ANSWER)
    return coded


def _column(question: str, service: str) -> str:
    return f"{SHORT[service]}_{ITEMS[question.removeprefix(f'{service}_')]}"


def form_order(survey: Round, instrument: Instrument) -> list[str]:
    """The questions as the form puts them, the select-multiple question as one."""
    order = []
    for service, about in SERVICES.items():
        order += [f"{service}_needed", f"{service}_used"]
        order += [WHY] if service == "health" else []
        order += [f"{service}_{attribute}" for attribute in about.attributes]
        order += [f"{service}_{item}" for item in ("wait", "bribe_asked", "satisfaction")]
    asked = {*survey.questions(instrument), WHY}
    return [question for question in (*order, *GOVERNMENT) if question in asked]


def delivered(delivery: Delivery) -> pd.DataFrame:
    """The data file: one row a visit at which somebody was met; null where nothing was asked."""
    rows = delivery.visits[delivery.visits["result"].isin(["complete", "refused"])].reset_index(drop=True)
    interviewed = rows["result"] == "complete"
    number = rows["district_id"].map(numbered(delivery.units["district_id"], start=1))
    urban = (rows["urban"] == "urban").to_numpy()
    area = np.where(urban, np.where(rows["psu"] % 4 == 0, 3, 1), 2)
    cover = {
        "SubmissionDate": _text_time(rows["submitted"]),
        "starttime": _text_time(rows["start"]),
        "endtime": _text_time(rows["end"]),
        "deviceid": [f"collect:sim{code:05d}" for code in 100 * number + rows["enumerator"]],
        "province": PROVINCES[delivery.province],
        "district": rows["district_name"],
        "urban_rural": area,
        "stratum_id": 10 * number + np.where(urban, 1, 2),
        "psu_id": 1000 * number + rows["psu"],
        "hh_no": rows["household"],
        "team_id": rows["team"],
        "enum_id": 100 * number + rows["enumerator"],
        "enum_sex": 1 + rows["enumerator"] % 2,
        "gpsLatitude": rows["latitude"],
        "gpsLongitude": rows["longitude"],
        "gpsAltitude": rows["altitude"],
        "gpsAccuracy": rows["accuracy"],
        "consent": interviewed.astype(int),
    }
    how = coding(delivery.survey, delivery.instrument)
    answers: dict[str, Any] = {
        "adults": rows["adults"],
        "sex": rows["sex"].map({"male": 1, "female": 2}),
        "age": rows["age"],
        "educ": rows["education"].map(numbered(BACKGROUND["education"], start=0)) + _master(rows),
        "quintile": rows["wealth"].map(numbered(BACKGROUND["wealth"], start=1)),
    }
    for question in form_order(delivery.survey, delivery.instrument):
        if question == WHY:
            reasons = [q for q in how if q.startswith(REASONS_NOT_USED)]
            answers |= {how[reason].columns[0]: written(rows, reason, how[reason]) for reason in reasons}
            answers["hlth_why_other"] = rows["why_other"]
        else:
            answers[how[question].columns[0]] = written(rows, question, how[question])
    answers |= _complaints(rows)
    inside = pd.DataFrame(answers, dtype=object)
    inside = inside.where(inside.notna() & interviewed.to_numpy()[:, None], None)
    paradata = {
        "backcheck": rows["backcheck"],
        "w_final": (1000 * rows["weight"] / rows["weight"].sum()).round(6),
        "formdef_version": rows["form_version"].map(VERSIONS),
        "KEY": rows["key"],
    }
    return pd.concat([pd.DataFrame(cover), inside, pd.DataFrame(paradata)], axis=1)


def _master(rows: pd.DataFrame) -> pd.Series:
    return ((rows["education"] == "higher") & (rows["household"] % 3 == 0)).astype(int)


def _complaints(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """A repeat, wide: how many complaints, and of the first two about which service and through which channel."""
    made = rows["complaint_made"] == "yes"
    count = (1 + (rows["household"] % 4 == 0).astype(int)).where(made)
    columns = {"compl_count": count}
    for place in (1, 2):
        asked = made & (count >= place)
        columns[f"compl_service_{place}"] = (1 + (rows["household"] + place) % len(SERVICES)).where(asked)
        columns[f"compl_channel_{place}"] = (1 + (rows["psu"] + place) % 4).where(asked)
    return {name: column.astype("Int64") for name, column in columns.items()}


def back_checks(data: pd.DataFrame, visits: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The interviews asked again: KEY and the answers given to another enumerator.

    Honest interviews differ now and then in what may change; invented ones in everything.
    """
    chosen = data.merge(visits[["key", "invented"]], left_on="KEY", right_on="key")
    chosen = chosen[chosen["backcheck"] == 1].reset_index(drop=True)
    again = chosen[["KEY", *BACK_CHECKED]].copy()
    offers = {"sex": [1, 2], "educ": [0, 1, 2, 3, 4], "hlth_use12": [0, 1], "nadr_use12": [0, 1]}
    for column in BACK_CHECKED:
        changes = {"sex": 0.0, "educ": 0.0, "hlth_use12": 0.04, "nadr_use12": 0.04}.get(column, 0.2)
        lot = rng.random(len(again)) < np.where(chosen["invented"], 0.7, changes)
        drawn = pd.Series(rng.choice(offers.get(column, [0, 1, 2, 3]), len(again)), dtype=object)
        again[column] = again[column].where(~(lot & again[column].notna()), drawn)
    return again


def write(delivery: Delivery, folder: Path, rng: np.random.Generator) -> None:
    """Write responses.csv.gz, form.xlsx, backchecks.csv and wave.yml."""
    data = delivered(delivery)
    write_gzip(folder / "responses.csv.gz", data.to_csv(index=False, lineterminator="\n"))
    checks = back_checks(data, delivery.visits, rng)
    checks.to_csv(folder / "backchecks.csv", index=False, lineterminator="\n")
    rows, choices = form(delivery)
    settings = {
        "form_title": f"Citizen services survey {delivery.survey.name} (simulated)",
        "form_id": f"citizen_services_{delivery.survey.name}",
        "version": VERSIONS[2],
        "default_language": "english",
    }
    write_form(folder / "form.xlsx", rows, choices, settings, SURVEYCTO)
    how = coding(delivery.survey, delivery.instrument)
    versions = {"fielded": VERSIONS[2], "pilot": VERSIONS[1]}
    text = wave_text(delivery, INTRO, WAVE, how, COMPARABILITY, **versions)
    (folder / WAVE_FILE).write_text(text, encoding="utf-8")


def write_gzip(path: Path, text: str) -> None:
    """Write compressed text without name and time of writing."""
    with path.open("wb") as stream, gzip.GzipFile("", "wb", mtime=0, fileobj=stream) as packed:
        packed.write(text.encode("utf-8"))


def form(delivery: Delivery) -> tuple[list[FormRow], Choices]:
    """The survey sheet, and the choices by list."""
    survey, instrument = delivery.survey, delivery.instrument
    how = coding(survey, instrument)
    names = {q: "hlth_why" if q == WHY else how[q].columns[0] for q in form_order(survey, instrument)}
    paths = {q: f"{service_of(q) or ('health' if q == WHY else 'government')}/{name}" for q, name in names.items()}
    questions, choices = questions_sheet(paths, how, survey, instrument, WORDINGS)
    return [*COVER, *questions, *COMPLAINTS], choices | COVER_CHOICES


COVER = [
    FormRow("start", "starttime"),
    FormRow("end", "endtime"),
    FormRow("deviceid", "deviceid"),
    FormRow("begin_group", "cover", "Cover sheet", "ابتدائی معلومات"),
    FormRow("text", "province", "Province", "صوبہ"),
    FormRow("text", "district", "District", "ضلع", required=True),
    FormRow("select_one area", "urban_rural", "Area of residence", "شہری / دیہی", required=True),
    FormRow("integer", "stratum_id", "Sampling stratum", "نمونے کا طبقہ"),
    FormRow("integer", "psu_id", "Cluster number", "کلسٹر نمبر", required=True),
    FormRow("integer", "hh_no", "Household number", "گھرانہ نمبر", required=True),
    FormRow("integer", "team_id", "Team", "ٹیم"),
    FormRow("integer", "enum_id", "Enumerator", "شمار کنندہ", required=True),
    FormRow("select_one sex", "enum_sex", "Sex of the enumerator", "شمار کنندہ کی جنس"),
    FormRow("geopoint", "gps", "Place of the interview", "مقام"),
    FormRow("select_one yes_no", "consent", "Agrees to be interviewed", "رضامندی", required=True),
    FormRow("end_group", ""),
    FormRow("begin_group", "respondent", "Respondent", "جواب دہندہ", "${consent} = 1"),
    *PERSON_ROWS,
    FormRow("end_group", ""),
]
COMPLAINTS = [
    FormRow("begin_group", "complaints", "Complaints", "شکایات", "${complain} = 1"),
    FormRow("integer", "compl_count", "How many complaints", "کتنی شکایات"),
    FormRow("begin_repeat", "complaint", "Complaint", "شکایت"),
    FormRow("select_one service", "compl_service", "About which service", "کس خدمت کے بارے میں"),
    FormRow("select_one channel", "compl_channel", "Through which channel", "کس ذریعے سے"),
    FormRow("end_repeat", ""),
    FormRow("end_group", ""),
]
COVER_CHOICES: Choices = {
    "area": {"1": ("Urban", "شہری"), "2": ("Rural", "دیہی"), "3": ("Peri-urban", "نیم شہری")},
    "sex": SEXES,
    "educ": {
        **SCHOOLING,
        "4": ("Bachelor", "بی اے"),
        "5": ("Master or higher", "ایم اے یا زیادہ"),
    },
    "quintile": QUINTILES,
    "service": {str(code): (name.replace("_", " ").capitalize(), "") for code, name in enumerate(SERVICES, start=1)},
    "channel": {
        "1": ("Office", "دفتر"),
        "2": ("Councillor", "کونسلر"),
        "3": ("Citizen Portal app", "سٹیزن پورٹل"),
        "4": ("Helpline", "ہیلپ لائن"),
    },
}


def write_stata(wave: Path, target: Path) -> None:
    """Write the wave in folder `wave` again into `target`, its data as a Stata file."""
    import pyreadstat

    shutil.copyfile(wave / "form.xlsx", target / "form.xlsx")
    letters = {str(code): f".{letter}" for code, letter in _STATA_LETTERS.items()}
    for name in (WAVE_FILE, "backchecks.csv"):
        text = (wave / name).read_text(encoding="utf-8").replace("responses.csv.gz", "responses.dta")
        for code, letter in letters.items():
            text = re.sub(rf"(?<=[,{{ ]){code}(?=[,:\n])", letter, text)
        (target / name).write_text(text, encoding="utf-8")
    data = pd.read_csv(wave / "responses.csv.gz", dtype=dict.fromkeys(_TEXT_COLUMNS, "str"))
    labels, wordings = form_labels(read_xlsform(wave / "form.xlsx", wave.name), data.columns)
    frame: dict[str, pd.Series] = {}
    missing: dict[str, list[str]] = {}
    for column in map(str, data):
        values = data[column]
        if column in _TEXT_COLUMNS:
            frame[column] = values.astype(object).where(values.notna(), None)
            continue
        gone = values.isin(list(_STATA_LETTERS))
        frame[column] = values
        if gone.any():
            missing[column] = sorted(set(values[gone].map(_STATA_LETTERS)))
            frame[column] = values.astype(object).where(~gone, values.map(_STATA_LETTERS)).where(values.notna(), None)
    pyreadstat.write_dta(
        pd.DataFrame(frame),
        target / "responses.dta",
        column_labels={column: wordings[column][:80] for column in frame if column in wordings},
        variable_value_labels={
            column: _stata_labels(labels[column], missing.get(column, [])) for column in frame if column in labels
        },
        missing_user_values=missing,
        version=15,
    )


def _stata_labels(labels: Mapping[str, str], letters: Collection[str]) -> dict[int | str, str]:
    """Value labels with the letters of missing values that the column has."""
    codes = {code: _STATA_LETTERS.get(int(code), int(code)) for code in labels}
    return {key: labels[code] for code, key in codes.items() if isinstance(key, int) or key in letters}


_STATA_LETTERS = {-98: "d", -99: "r"}
_TEXT_COLUMNS = (
    *("SubmissionDate", "starttime", "endtime", "deviceid", "province", "district", "hlth_why_other"),
    *("formdef_version", "KEY"),
)


def _text_time(times: pd.Series) -> pd.Series:
    """As SurveyCTO writes times: Mar 4, 2024 9:12:11 AM."""
    text = times.dt.strftime("%b %d, %Y %I:%M:%S %p")
    return pd.Series(text.map(lambda moment: re.sub(r"\b0(\d)(,|:\d\d:)", r"\1\2", moment)))
