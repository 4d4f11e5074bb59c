"""The 2021 round as KoboToolbox exports it: an .xlsx of two versions of the form with group/name headers, and the form.

Its weights are still to be built: visits without an interview are in the file, and margins lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from perception.intake.declarations import AGE_BREAKS, AGE_GROUPS, BACKGROUND
from perception.intake.instrument import Instrument
from perception.intake.wave_file import WAVE_FILE
from perception.simulate.coding import Coded, Delivery, codes_of, numbered, wave_text, written
from perception.simulate.forms import (
    KOBO,
    PERSON_ROWS,
    QUINTILES,
    SCHOOLING,
    SEXES,
    WHY,
    Choices,
    FormRow,
    questions_sheet,
    write_form,
    write_workbook,
)
from perception.simulate.questionnaire import PROVINCES, REASONS_NOT_USED, SERVICES, WAIT, Round, service_of

VERSIONS = {1: "vSim2021a1first", 2: "vSim2021b2second"}
YES_NO = {"yes": 1, "no": 0}
NO_ANSWER = {"dont_know": 98, "refused": 99}
NO_NUMBER = {"dont_know": 998, "refused": 999}
RESULTS = {"complete": 1, "refused": 3, "not_at_home": 4, "locked": 5}

SHORT = {
    "health": ("health", "hlth"),
    "primary_school": ("schools", "edup"),
    "secondary_school": ("schools", "edus"),
    "water": ("utilities", "watr"),
    "waste": ("utilities", "wste"),
    "electricity": ("utilities", "elec"),
    "police": ("police", "polc"),
    "identity": ("documents", "nadr"),
}
"""The group and the short name of each service in the form."""
ITEMS = {
    **{"used": "used", "needed": "need", "access": "access", "affordability": "afford", "facilities": "facil"},
    **{"quality": "qual", "equality": "equal", "courtesy": "court", "teaching": "teach", "process": "proc"},
    **{"timeliness": "time", "wait": "wait", "bribe_asked": "bribe", "satisfaction": "sat"},
}
CHOICES = {
    **{"far": "far", "cost": "cost", "staff_absent": "absent", "quality": "poor", "bribe": "bribe"},
    **{"not_allowed_alone": "alone", "security": "unsafe", "used_private": "private", "other": "other"},
}
"""The choices of the select-multiple question why health care was not used."""
GOVERNMENT = {
    "safety_after_dark": ("closing/safe_dark",),
    # Version 1 put this question after the police; an export of both versions has both places.
    "local_government_responds": ("police/lg_responds", "closing/lg_responds"),
    "discrimination": ("closing/discrim",),
    "complaint_made": ("closing/complained",),
    "complaint_solved": ("closing/solved",),
    "district_satisfaction": ("closing/dist_sat",),
}

WAVE = """\
files:
  - path: responses.xlsx
form: form.xlsx              # the XLSForm, as version 2 was fielded

# Every visit is in the file, with its result; only completed interviews count, the others serve the weights.
rows:
  - {{column: cover/result, keep: [1]}}

respondent_id: [_uuid]

design:
  weight_scale: population   # the weights built here sum to the adults of the margins
  strata: [cover/stratum]    # district x urban/rural, by number: names of districts are spelt in several ways
  psu: cover/psu
  single_psu: collapse

# The team delivered design weights only. Those of completed interviews are raised for the visits that failed in their
# stratum, then raked to the adults of each district by sex and by age.
weighting:
  base: cover/base_weight
  eligible: {{column: cover/result, codes: [1, 3, 4, 5]}}
  margins: margins.csv
  rake:
    - [district_id, sex]
    - [district_id, age_group]
  trim: 5

geography:
  vintage: "2018"
  district: cover/district
  by: code                   # the cells themselves are names
{names}
# start and end are the device's, in local time; _submission_time is the server's, in UTC without saying so, and is
# therefore not declared. Respondents' names and telephone numbers are in no declaration: they stay in the raw data.
fieldwork:
  enumerator: cover/enumerator
  team: cover/team
  start: start
  end: end
  time_format: iso
  form_version: __version__
  current_versions: [{second}, {first}]  # each was current in its weeks
  household: [cover/psu, cover/hh_no]
  must_have: [sex, age, district_satisfaction]
  other_specify: [health/hlth_why_other]
  gps: {{point: gps}}
  coordinates: displace
  plan:
    interviews_per_psu: 12
    psus: {psus}
    interviews_per_day: 7
    replaced: {{column: cover/psu_replaced, codes: [1]}}

{remedies}{comparability}variables:
  sex: {{source: respondent/sex, map: {{1: male, 2: female}}}}
  urban: {{source: cover/area, map: {{1: urban, 2: rural}}}}
  age: {{source: respondent/age, missing: {{998: dont_know, 999: refused}}}}  # 98 and 99 are ages
  wealth: {{source: respondent/quintile, map: {{1: lowest, 2: second, 3: middle, 4: fourth, 5: highest}}}}
  education: {{source: respondent/educ, map: {{0: none, 1: primary, 2: middle, 3: secondary, 4: higher}}}}
"""

INTRO = """
What is special here: a KoboToolbox export of two versions of the form. One question moved between them and stands in
two columns; some scales have five points, of which the middle one is new; the need of a service is asked of those who
did not use it; one select-multiple question is written both ways, as chosen words and as 0/1 columns; weights are
built here, from visits with and without an interview.
"""

COMPARABILITY = """\
# How far each variable compares with 2018. Every difference that the software finds must be declared, for a variable,
# for one aspect of it or by a pattern; the most particular declaration counts. Trends obey the verdicts.
comparability:
  "*.codes": {verdict: same, reason: Codes are numbered anew; the maps give the same categories}
  "*.direction": {verdict: same, reason: 2018 numbered its scales from best to worst; the maps turn them}
  "*.scale": {verdict: recoded, reason: The middle category is new; it counts as not satisfied and as not agreeing}
  "*.new": {verdict: break, reason: Not asked in 2018}
  "*.order": {verdict: same, reason: "The questions on the district stand at the end, in another order"}
  district_satisfaction.order: {verdict: break, reason: 2018 asked it before the services were gone through}
  safety_after_dark:
    verdict: recoded
    reason: Who never goes out alone can say so since 2021, and drops out; most of them are women

"""


def coding(survey: Round, instrument: Instrument, province: str) -> dict[str, Coded]:
    """How the round writes each question down, in the order of the instrument."""
    coded = {}
    for question in survey.questions(instrument):
        service = service_of(question)
        if service is None:
            columns: tuple[str, ...] = GOVERNMENT[question]
        else:
            group, short = SHORT[service]
            item = question.removeprefix(f"{service}_")
            columns = (f"{group}/{short}_{ITEMS.get(item, 'why')}",)
        if question.startswith(REASONS_NOT_USED):
            choice = CHOICES[question.removeprefix(REASONS_NOT_USED)]
            # The two provinces read the same answers in the two ways in which the file has them.
            if province == "kp":
                coded[question] = Coded((f"{columns[0]}/{choice}",), YES_NO)
            else:
                coded[question] = Coded(columns, contains=choice)
        elif question == WAIT:
            coded[question] = Coded(columns, missing=NO_NUMBER)
        else:
            codes = codes_of(survey.scale(question, instrument), YES_NO, first=1, best_first=False)
            alone = {"not_asked": 5} if question == "safety_after_dark" else {}
            # Kobo writes the answer to a question with choices as text, whatever it looks like.
            coded[question] = Coded(columns, _as_text(codes), _as_text(NO_ANSWER | alone))
    return coded


def _as_text(codes: Mapping[str, int]) -> dict[str, str]:
    return {meaning: str(code) for meaning, code in codes.items()}


def delivered(delivery: Delivery) -> pd.DataFrame:
    """The sheet of the export: one row a visit, in the order of submission; blank where there was no interview."""
    rows = delivery.visits
    interviewed = rows["result"] == "complete"
    number = rows["district_id"].map(numbered(delivery.units["district_id"], start=1))
    area = rows["urban"].map({"urban": 1, "rural": 2})
    place = rows[["latitude", "longitude", "altitude", "accuracy"]].map(_number_text)
    cover = {
        "start": _iso(rows["start"]),
        "end": _iso(rows["end"]),
        "cover/province": PROVINCES[delivery.province],
        "cover/division": rows["district_id"].map(delivery.units.set_index("district_id")["division"]),
        "cover/district": rows["district_name"],
        "cover/area": area.astype(str),
        "cover/stratum": (10 * number + area).astype(str),
        "cover/psu": [f"{district:02d}-{psu:03d}" for district, psu in zip(number, rows["psu"], strict=True)],
        "cover/psu_replaced": rows["psu_replaced"].astype(str),
        "cover/hh_no": rows["household"],
        "cover/team": [f"T{team:02d}" for team in rows["team"]],
        "cover/enumerator": [f"E{code}" for code in 100 * number + rows["enumerator"]],
        "cover/base_weight": rows["base"].round(3),
        "cover/result": rows["result"].map(RESULTS).astype(str),
        "gps": place.agg(" ".join, axis=1),
        "_gps_latitude": place["latitude"],
        "_gps_longitude": place["longitude"],
        "_gps_altitude": place["altitude"],
        "_gps_precision": place["accuracy"],
    }
    respondent = {
        # Nobody's: the telephone numbers of mobile companies here do not begin with four zeros after the prefix.
        "respondent/resp_name": [f"Made-up name {count:05d}" for count in rows["contact"]],
        "respondent/resp_phone": [f"0300-{count:07d}" for count in rows["contact"]],
        "respondent/adults": rows["adults"],
        "respondent/sex": rows["sex"].map({"male": "1", "female": "2"}),
        "respondent/age": rows["age"],
        "respondent/educ": rows["education"].map(numbered(BACKGROUND["education"], start=0)).astype(str),
        "respondent/quintile": rows["wealth"].map(numbered(BACKGROUND["wealth"], start=1)).astype(str),
    }
    paradata = {
        "_id": range(184_000_001, 184_000_001 + len(rows)),
        "_uuid": rows["key"],
        "_submission_time": (rows["submitted"] - pd.Timedelta(hours=5)).dt.strftime("%Y-%m-%dT%H:%M:%S"),
        "_status": "submitted_via_web",
        "_submitted_by": f"citizen_{delivery.province}",
        "__version__": rows["form_version"].map(VERSIONS),
        "_index": range(1, len(rows) + 1),
    }
    answers = pd.DataFrame({**respondent, **_answers(delivery)}, dtype=object)
    answers = answers.where(answers.notna() & interviewed.to_numpy()[:, None], None)
    return pd.concat([pd.DataFrame(cover), answers, pd.DataFrame(paradata)], axis=1)


def _answers(delivery: Delivery) -> dict[str, pd.Series]:
    """The questions' columns in the order of the form; codes of select questions are text, as Kobo writes them."""
    rows, how = delivery.visits, coding(delivery.survey, delivery.instrument, "kp")
    columns: dict[str, pd.Series] = {}
    for question in form_order(delivery.survey, delivery.instrument):
        if question == WHY:
            columns |= _why_not_used(rows, how)
            continue
        answer = written(rows, question, how[question])
        places = how[question].columns
        for version, column in zip((1, 2), places, strict=False):
            columns[column] = answer if len(places) == 1 else answer.where(rows["form_version"] == version)
    return columns


def _why_not_used(rows: pd.DataFrame, how: Mapping[str, Coded]) -> dict[str, pd.Series]:
    details = {}
    for reason in CHOICES:
        coded = how[f"{REASONS_NOT_USED}{reason}"]
        details[coded.columns[0]] = written(rows, f"{REASONS_NOT_USED}{reason}", coded)
    chosen = pd.DataFrame(details).eq(1)
    names = [column.rpartition("/")[2] for column in details]
    words = [" ".join(name for name, said in zip(names, row, strict=True) if said) or None for row in chosen.to_numpy()]
    summary = pd.Series(words, index=rows.index, dtype=object)
    return {"health/hlth_why": summary, **details, "health/hlth_why_other": rows["why_other"]}


def form_order(survey: Round, instrument: Instrument) -> list[str]:
    """The questions as the form puts them, the select-multiple question as one."""
    order = []
    for service, about in SERVICES.items():
        order += [f"{service}_used", f"{service}_needed"]
        order += [WHY] if service == "health" else []
        order += [f"{service}_{attribute}" for attribute in about.attributes]
        order += [f"{service}_{item}" for item in ("wait", "bribe_asked", "satisfaction")]
        if service == "police":
            order.append("local_government_responds")
    order += [question for question in GOVERNMENT if question not in order]
    asked = {*survey.questions(instrument), WHY}
    return [question for question in order if question in asked]


def margins(population: pd.DataFrame) -> pd.DataFrame:
    """Adults by district, sex and age group: what the weights are raked to."""
    groups = pd.cut(population["age"], [0, *AGE_BREAKS, 200], right=False, labels=list(AGE_GROUPS))
    adults = (population["adults"] * population["represents"]).rename("persons")
    keys = [population["district_id"], population["sex"], groups.rename("age_group")]
    return adults.groupby(keys, observed=True).sum().round().astype(int).reset_index()


def write(delivery: Delivery, folder: Path) -> None:
    """Write responses.xlsx, form.xlsx and wave.yml; margins.csv is the caller's, who knows the population."""
    write_workbook(folder / "responses.xlsx", {f"Citizen services {delivery.survey.name}": delivered(delivery)})
    rows, choices = form(delivery)
    settings = {
        "form_title": f"Citizen services survey {delivery.survey.name} (simulated)",
        "id_string": f"citizen_services_{delivery.survey.name}",
        "version": VERSIONS[2],
        "default_language": "English (en)",
    }
    write_form(folder / "form.xlsx", rows, choices, settings, KOBO)
    how = coding(delivery.survey, delivery.instrument, delivery.province)
    versions = {"first": VERSIONS[1], "second": VERSIONS[2]}
    text = wave_text(delivery, INTRO, WAVE, how, COMPARABILITY, **versions)
    (folder / WAVE_FILE).write_text(text, encoding="utf-8")


def form(delivery: Delivery) -> tuple[list[FormRow], Choices]:
    """The survey sheet of version 2, and the choices by list."""
    survey, instrument = delivery.survey, delivery.instrument
    how = coding(survey, instrument, "kp")
    paths = {q: how[q].columns[-1] for q in form_order(survey, instrument) if q != WHY}
    paths = {q: paths.get(q, "health/hlth_why") for q in form_order(survey, instrument)}
    # In version 2 the question that moved stands with the others at the end.
    moved = "local_government_responds"
    order = [q for q in paths if q != moved]
    order.insert(order.index("safety_after_dark") + 1, moved)
    questions, choices = questions_sheet({q: paths[q] for q in order}, how, survey, instrument, {})
    return [*COVER, *questions], choices | COVER_CHOICES


COVER = [
    FormRow("start", "start"),
    FormRow("end", "end"),
    FormRow("begin_group", "cover", "Cover sheet", "ابتدائی معلومات"),
    FormRow("text", "province", "Province", "صوبہ"),
    FormRow("text", "division", "Division", "ڈویژن"),
    FormRow("text", "district", "District", "ضلع", required=True),
    FormRow("select_one area", "area", "Area of residence", "شہری / دیہی", required=True),
    FormRow("text", "stratum", "Sampling stratum", "نمونے کا طبقہ"),
    FormRow("text", "psu", "Cluster number", "کلسٹر نمبر", required=True),
    FormRow("select_one yes_no", "psu_replaced", "Cluster replaced another one", "متبادل کلسٹر"),
    FormRow("integer", "hh_no", "Household number", "گھرانہ نمبر", required=True),
    FormRow("text", "team", "Team", "ٹیم"),
    FormRow("text", "enumerator", "Enumerator", "شمار کنندہ", required=True),
    FormRow("calculate", "base_weight"),
    FormRow("select_one result", "result", "Result of the visit", "نتیجہ", required=True),
    FormRow("end_group", ""),
    FormRow("geopoint", "gps", "Place of the interview", "مقام"),
    FormRow("begin_group", "respondent", "Respondent", "جواب دہندہ", "${result} = '1'"),
    FormRow("text", "resp_name", "Name of the respondent", "نام"),
    FormRow("text", "resp_phone", "Telephone number", "فون نمبر"),
    *PERSON_ROWS,
    FormRow("end_group", ""),
]
COVER_CHOICES: Choices = {
    "area": {"1": ("Urban", "شہری"), "2": ("Rural", "دیہی")},
    "result": {
        "1": ("Completed", "مکمل"),
        "2": ("Partly completed", "نامکمل"),
        "3": ("Refused", "انکار"),
        "4": ("Nobody at home", "گھر پر کوئی نہیں"),
        "5": ("Locked or not to be reached", "تالا لگا ہے"),
    },
    "sex": SEXES,
    "educ": {
        **SCHOOLING,
        "4": ("Bachelor or higher", "بی اے یا زیادہ"),
    },
    "quintile": QUINTILES,
}


def _iso(times: pd.Series) -> pd.Series:
    return pd.Series(times.dt.strftime("%Y-%m-%dT%H:%M:%S.000+05:00"))


def _number_text(value: Any) -> str:
    return f"{value:.7g}" if abs(value) >= 100 else f"{value:.6f}".rstrip("0").rstrip(".") if value else "0"
