"""The 2018 round as CSPro teams deliver: a compressed SPSS file, numbered columns, codes 8 and 9, no clock times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from perception.intake.declarations import BACKGROUND
from perception.intake.instrument import Instrument
from perception.intake.wave_file import WAVE_FILE
from perception.simulate.coding import Coded, Delivery, answer_labels, codes_of, numbered, wave_text, written
from perception.simulate.questionnaire import SERVICES, Round

REASONS = {"dont_know": "Don't know", "refused": "Refused"}
NO_ANSWER = {"dont_know": 8, "refused": 9}
YES_NO = {"yes": 1, "no": 2}
GOVERNMENT = (
    "district_satisfaction",  # before the services: later rounds ask it at the end
    "safety_after_dark",
    "local_government_responds",
    "complaint_made",
    "complaint_solved",
)
AGENCIES = (
    *("kp-bajaur", "kp-khyber", "kp-kurram", "kp-mohmand", "kp-north-waziristan", "kp-orakzai"),
    "kp-south-waziristan",
)
"""Districts that had been agencies of FATA until May 2018, and are still called so."""
SPELLINGS = {
    "kp-batagram": "Battagram",
    "kp-dera-ismail-khan": "D.I. Khan",
    "kp-malakand": "Malakand Protected Area",
    "punjab-dera-ghazi-khan": "D.G. Khan",
    "punjab-layyah": "Leiah",
    "punjab-toba-tek-singh": "T.T. Singh",
}
"""Names as the value labels have them, where they differ from the gazetteer's; it knows these too."""
WAIT_BANDS: dict[int | float, str] = {1: "Under 15 minutes", 2: "15 to 59 minutes", 3: "An hour or more"}
SCHOOLING = ("No schooling", "Primary", "Middle", "Matric or intermediate", "Bachelor or higher")

WAVE = """\
files:
  - path: responses.zsav

respondent_id: [DIST, SERIAL]  # the serial starts again in every district

design:
  weight: WGT
  weight_scale: mean_one
  strata: [DIST, AREA]
  psu: PSU
  psu_within: [DIST]           # PSU 1 exists in every district
  single_psu: collapse

geography:
  vintage: "2018"
  district: DIST
  by: label                    # the value labels are names; spellings such as D.I. Khan are in the gazetteer
{names}
# The file tells the day but not the hour, and the minutes that interviewers reported: hence the heaps at 30, 45, 60.
fieldwork:
  enumerator: INTNO
  team: TEAM
  start: INTDATE
  time_format: "%d/%m/%y"
  minutes: MINUTES
  household: [DIST, PSU, HHNO]
  must_have: [sex, age, district_satisfaction]
  plan: {{interviews_per_psu: 12, psus: {psus}, interviews_per_day: 7}}

{remedies}variables:
  sex: {{source: SEX, map: {{M: male, F: female}}}}
  urban: {{source: AREA, map: {{0: rural, 1: urban}}}}
  age: {{source: AGE, missing: {{99: dont_know}}}}  # in later rounds 99 is an age
  wealth: {{source: QUINTILE, map: {{1: lowest, 2: second, 3: middle, 4: fourth, 5: highest}}}}
  education:
    source: EDUC
    by: label                  # by the labels, so that the numbers need not be known
    map:
      No schooling: none
      Primary: primary
      Middle: middle
      Matric or intermediate: secondary
      Bachelor or higher: higher
"""

INTRO = """
What is special here: SPSS data of interviews that were completed, and no others; every scale runs from best (1) to
worst (4); serial and PSU numbers start again in each district; weights have mean one. Not asked in this round, and so
not mapped: the need of a service, access, bribes, discrimination, why a service was not used. The wait (S01Q9) was
asked in bands, which are no number of minutes.
"""


def coding(survey: Round, instrument: Instrument) -> dict[str, Coded]:
    """How the round writes each question down, in the order of the questionnaire."""
    asked = set(survey.questions(instrument))
    columns = {question: f"G{number}" for number, question in enumerate(GOVERNMENT, start=1)}
    for number, (service, about) in enumerate(SERVICES.items(), start=1):
        items = {"used": "Q1", **{a: f"Q2{'abcde'[place]}" for place, a in enumerate(about.attributes)}}
        items["satisfaction"] = "Q3"
        columns |= {f"{service}_{item}": f"S{number:02d}{code}" for item, code in items.items()}
    return {
        question: Coded(
            (column,), codes_of(survey.scale(question, instrument), YES_NO, first=1, best_first=True), NO_ANSWER
        )
        for question, column in columns.items()
        if question in asked
    }


def delivered(delivery: Delivery) -> pd.DataFrame:
    """The data file: one row an interview, in the order of submission."""
    rows = delivery.complete
    number = rows["district_id"].map(numbered(delivery.units["district_id"], start=1))
    agency = rows["district_id"].isin(AGENCIES)
    reported = 5 * (rows["minutes"] / 5).round()
    heap = 15 * (rows["minutes"] / 15).round().clip(lower=2)
    frame = pd.DataFrame(
        {
            "PROV": np.where(rows["province_id"] == "punjab", 3, np.where(agency, 2, 1)),
            "DIST": number,
            "AREA": (rows["urban"] == "urban").astype(int),
            "PSU": rows["psu"],
            "HHNO": rows["household"],
            "SERIAL": rows["key"].str.rpartition("/")[2].astype(int),
            "INTDATE": rows["start"].dt.strftime("%d/%m/%y"),
            "MINUTES": heap.where(rows["household"] % 5 < 3, reported),
            "INTNO": 100 * number + rows["enumerator"],
            "TEAM": rows["team"],
            "WGT": (rows["weight"] / rows["weight"].mean()).round(6),
            "SEX": rows["sex"].map({"male": "M", "female": "F"}),
            "AGE": rows["age"].fillna(99),
            "EDUC": rows["education"].map(numbered(BACKGROUND["education"], start=0)),
            "QUINTILE": rows["wealth"].map(numbered(BACKGROUND["wealth"], start=1)),
            "ADULTS": rows["adults"],
        }
    )
    how = coding(delivery.survey, delivery.instrument)
    answers = pd.DataFrame({coded.columns[0]: written(rows, question, coded) for question, coded in how.items()})
    band = 1 + (rows["household"] + rows["psu"]) % 3  # any will do: bands are no minutes, so nobody can map them
    answers["S01Q9"] = band.where(rows["health_used"] == "yes")
    return pd.concat([frame, answers], axis=1)


def write(delivery: Delivery, folder: Path) -> None:
    """Write responses.zsav and wave.yml."""
    write_spss(delivery, folder / "responses.zsav")
    text = wave_text(delivery, INTRO, WAVE, coding(delivery.survey, delivery.instrument))
    (folder / WAVE_FILE).write_text(text, encoding="utf-8")


def write_spss(delivery: Delivery, path: Path) -> None:
    """Write the data as SPSS file, compressed where its name ends in .zsav."""
    import pyreadstat

    frame = delivered(delivery)
    texts = ["INTDATE", "SEX"]
    numbers = frame.columns.difference(texts, sort=False)
    frame = frame.astype(dict.fromkeys(numbers, "float64"))
    how = coding(delivery.survey, delivery.instrument)
    columns = {coded.columns[0]: question for question, coded in how.items()}
    wording = {column: delivery.instrument.questions[question].label.en for column, question in columns.items()}
    pyreadstat.write_sav(
        frame,
        path,
        column_labels={**_COLUMN_LABELS, **wording},
        compress=path.suffix == ".zsav",
        row_compress=path.suffix != ".zsav",
        missing_ranges={column: [8, 9] for column in columns} | {"AGE": [99]},
        variable_value_labels=_value_labels(delivery, how),
        variable_format={**dict.fromkeys(numbers, "F8.0"), "WGT": "F12.6"},
    )
    _fix_time_of_writing(path)


_COLUMN_LABELS = {
    "PROV": "Province",
    "DIST": "District",
    "AREA": "Area of residence",
    "PSU": "Cluster number in the district",
    "HHNO": "Household number",
    "SERIAL": "Serial number in the district",
    "INTDATE": "Date of interview",
    "MINUTES": "Length of interview as reported, minutes",
    "INTNO": "Interviewer",
    "TEAM": "Team",
    "WGT": "Weight, mean 1",
    "SEX": "Sex of the respondent",
    "AGE": "Age in completed years",
    "EDUC": "Highest education",
    "QUINTILE": "Wealth quintile",
    "ADULTS": "Adults in the household",
    "S01Q9": "Waiting time at the last visit to the health facility, in bands",
}


def _value_labels(delivery: Delivery, how: Mapping[str, Coded]) -> dict[str, dict[int | float, str]]:
    names = [
        f"{name} Agency" if district in AGENCIES else SPELLINGS.get(district, name)
        for district, name in zip(delivery.units["district_id"], delivery.units["name"], strict=True)
    ]
    labels: dict[str, dict[int | float, str]] = {
        "PROV": {1: "Khyber Pakhtunkhwa", 2: "FATA", 3: "Punjab"},
        "DIST": dict(enumerate(names, start=1)),
        "AREA": {0: "Rural", 1: "Urban"},
        "AGE": {99: "Don't know"},
        "EDUC": dict(enumerate(SCHOOLING)),
        "QUINTILE": {code: f"Quintile {code}" for code in range(1, 6)},
        "S01Q9": WAIT_BANDS,
    }
    for question, coded in how.items():
        texts = answer_labels(question, coded, delivery.instrument, REASONS)
        labels[coded.columns[0]] = {int(code): text for code, text in texts.items()}
    return labels


def _fix_time_of_writing(path: Path) -> None:
    """The header of an SPSS file holds the date (9 bytes) and time (8) of writing, which would change its checksum."""
    with path.open("r+b") as stream:
        stream.seek(92)
        stream.write(b"30 Nov 1812:00:00")
