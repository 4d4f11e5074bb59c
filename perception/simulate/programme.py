"""The simulated waves as survey teams would have delivered them: data files, `wave.yml` and the truth beside them.

Two teams, two habits: Khyber Pakhtunkhwa delivers an SPSS file, Punjab a CSV with other codes and column names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from perception.geography import load_gazetteer, vintage_units
from perception.intake.declarations import BACKGROUND
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.wave_file import WAVE_FILE, load_wave, write_checksums
from perception.simulate.population import SERVICES, district_effects, simulate_population, true_values
from perception.simulate.sample import draw_sample

INSTRUMENT = "citizen-services"
VINTAGE = "2018"
TRUTH_FILE = "truth.csv"


@dataclass(frozen=True)
class Codebook:
    """How a wave wrote the answers down: each question's column, and the code of each answer and of no answer."""

    columns: dict[str, str]
    codes: dict[str, dict[str, int]]
    missing: dict[str, int]


def simulate_round(
    units: pd.DataFrame, instrument: Instrument, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One round in all districts: the respondents (`draw_sample`) and the truth (`true_values`)."""
    population = simulate_population(units, district_effects(units, rng), instrument, rng)
    return draw_sample(population, units, rng), true_values(population, instrument)


def write_simulated_waves(raw: Path, seed: int = 2021) -> list[Path]:
    """Write the simulated waves into `raw`/waves, from the reference files and the instrument in `raw`.

    The same seed gives the same files, byte for byte. Returns the wave folders.
    """
    instrument = load_instrument(raw / "instruments" / f"{INSTRUMENT}.yml")
    units = vintage_units(load_gazetteer(raw / "reference"), VINTAGE)
    respondents, truth = simulate_round(units, instrument, np.random.default_rng(seed))
    truth = truth.assign(truth=truth["truth"].round(6), population_n=truth["population_n"].round().astype(int))
    writers: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Instrument, Path], None]] = {
        "kp": _write_kp,
        "punjab": _write_punjab,
    }
    folders = []
    for province, write in writers.items():
        folder = raw / "waves" / f"{province}-2021"
        folder.mkdir(parents=True, exist_ok=True)
        home = units[units["province_id"] == province]
        write(respondents[respondents["province_id"] == province].reset_index(drop=True), home, instrument, folder)
        truth[truth["district_id"].isin(home["district_id"])].to_csv(
            folder / TRUTH_FILE, index=False, lineterminator="\n"
        )
        write_checksums(load_wave(folder), folder)
        folders.append(folder)
    return folders


def _service_items(service: str) -> tuple[str, ...]:
    bribe = () if SERVICES[service].bribe_asked is None else ("bribe_asked",)
    return ("used", *SERVICES[service].attributes, "satisfaction", *bribe)


def _numbered(values: Iterable[str], start: int) -> dict[str, int]:
    return {value: code for code, value in enumerate(values, start)}


def _answer_columns(sample: pd.DataFrame, codebook: Codebook) -> pd.DataFrame:
    """The answers in the codes of a wave, questions that were not asked left blank."""
    return pd.DataFrame(
        {
            column: sample[question].astype(object).map(codebook.codes[question] | codebook.missing).astype("Int64")
            for question, column in codebook.columns.items()
        }
    )


def _variable_lines(sample: pd.DataFrame, instrument: Instrument, codebook: Codebook) -> list[str]:
    """The questions' part of `variables` in a wave file; a code map is written out once and then referred to."""
    lines = []
    defined: set[str] = set()
    section = ""
    for question, column in codebook.columns.items():
        service = next((name for name in SERVICES if question.startswith(f"{name}_")), "government of the district")
        if service != section:
            section = service
            lines += ["", f"  # {service.replace('_', ' ')}"]
        scale = _SCALE_NAMES[instrument.scale(question)[0]]
        blank = ", blank: not_asked" if (sample[question] == "not_asked").any() else ""
        if scale in defined:
            lines.append(f"  {question}: {{source: {column}, map: *{scale}, missing: *no_answer{blank}}}")
            continue
        codes = ", ".join(f"{code}: {answer}" for answer, code in codebook.codes[question].items())
        missing = "*no_answer"
        if not defined:
            missing = "&no_answer {" + ", ".join(f"{code}: {why}" for why, code in codebook.missing.items()) + "}"
        lines += [f"  {question}:", f"    source: {column}", f"    map: &{scale} {{{codes}}}"]
        lines.append(f"    missing: {missing}")
        if blank:
            lines.append("    blank: not_asked  # only users are asked")
        defined.add(scale)
    return lines


_SCALE_NAMES = {
    "yes": "yes_no",
    "strongly_disagree": "agreement",
    "very_dissatisfied": "satisfaction",
    "very_unsafe": "safety",
}

# --- Khyber Pakhtunkhwa: SPSS, 1-4 from worst to best, 8/9, PSU numbers restart in each district, weights sum to adults

_KP_SERVICES = dict(
    zip(SERVICES, ("hlth", "edup", "edus", "watr", "wste", "elec", "polc", "crts", "iden", "land"), strict=True)
)
_KP_ITEMS = {
    "used": "use12",
    "access": "a_access",
    "affordability": "a_afford",
    "facilities": "a_facil",
    "quality": "a_qual",
    "equality": "a_equal",
    "courtesy": "a_court",
    "teaching": "a_teach",
    "process": "a_proc",
    "timeliness": "a_time",
    "satisfaction": "sat",
    "bribe_asked": "bribe",
}
_KP_DISTRICT = {
    "safety_after_dark": "safe_dark",
    "local_government_responds": "lg_resp",
    "discrimination": "discrim12",
    "complaint_made": "complain",
    "complaint_solved": "compl_solved",
    "district_satisfaction": "dist_sat",
}
_KP_NAMES = {
    "kp-batagram": "Battagram",
    "kp-dera-ismail-khan": "D.I. Khan",
    "kp-malakand": "Malakand Protected Area",
}
_KP_SCHOOLING = ("No schooling", "Primary", "Middle", "Matric or intermediate", "Bachelor or higher")

_KP_WAVE = """\
# Citizen services survey, Khyber Pakhtunkhwa 2021. SIMULATED: nobody ever gave these answers.
#
# A complete example of a wave file for SPSS data. What is special here: districts are codes whose value labels are
# names, PSU numbers restart in each district, weights sum to the adults, and one variable is read by its labels.
id: kp-2021
round: 2021
title:
  en: Citizen Services Survey, Khyber Pakhtunkhwa 2021 (simulated)
  ur: شہری خدمات سروے، خیبر پختونخوا ۲۰۲۱ (مصنوعی)
instrument: citizen-services
dates: {start: 2021-03-08, end: 2021-04-30}
producer: Simulated by this project
citation: >-
  Citizen Services Survey, Khyber Pakhtunkhwa 2021: simulated data, made by the perception pipeline to test and
  demonstrate it. Not a survey of real respondents.
licence: CC0-1.0
simulated: true

files:
  - path: responses.sav

respondent_id: [district, psu, hh_no]

design:
  weight: weight
  weight_scale: population  # sums to the adults of the province
  strata: [district, area]
  psu: psu
  psu_within: [district]    # PSU 1 exists in every district
  single_psu: collapse

geography:
  vintage: "2018"
  district: district
  by: label                 # the value labels are names; spellings such as D.I. Khan are in the gazetteer

variables:
  sex: {source: sex, map: {1: male, 2: female}}
  urban: {source: area, map: {1: urban, 2: rural}}
  age: {source: age}
  wealth: {source: quintile, map: {1: lowest, 2: second, 3: middle, 4: fourth, 5: highest}}
  education:
    source: educ
    by: label
    map:
      No schooling: none
      Primary: primary
      Middle: middle
      Matric or intermediate: secondary
      Bachelor or higher: higher
"""


def _kp_codebook(instrument: Instrument) -> Codebook:
    columns = {
        f"{service}_{item}": f"{short}_{_KP_ITEMS[item]}"
        for service, short in _KP_SERVICES.items()
        for item in _service_items(service)
    } | _KP_DISTRICT
    codes = {question: _numbered(instrument.scale(question), start=1) for question in columns}
    return Codebook(columns, codes, {"dont_know": 8, "refused": 9})


def _write_kp(sample: pd.DataFrame, units: pd.DataFrame, instrument: Instrument, folder: Path) -> None:
    import pyreadstat

    codebook = _kp_codebook(instrument)
    number = _numbered(units["district_id"], start=1)
    names = units["name"].where(~units["district_id"].isin(list(_KP_NAMES)), units["district_id"].map(_KP_NAMES))
    design = pd.DataFrame(
        {
            "district": sample["district_id"].map(number),
            "area": sample["urban"].map({"urban": 1, "rural": 2}),
            "psu": sample["psu"],
            "hh_no": sample["household"],
            "enum_id": sample["enumerator"],
            "weight": sample["weight"].round(2),
            "sex": sample["sex"].map({"male": 1, "female": 2}),
            "age": sample["age"],
            "educ": sample["education"].map(_numbered(BACKGROUND["education"], start=0)),
            "quintile": sample["wealth"].map(_numbered(BACKGROUND["wealth"], start=1)),
        }
    )
    answers = _answer_columns(sample, codebook)
    labels: dict[str, dict[int | float, str]] = {
        "district": dict(zip(number.values(), names, strict=True)),
        "area": {1: "Urban", 2: "Rural"},
        "sex": {1: "Male", 2: "Female"},
        "educ": dict(enumerate(_KP_SCHOOLING)),
        "quintile": {code: f"Quintile {code}" for code in range(1, 6)},
    }
    for question, column in codebook.columns.items():
        texts = {answer: text.en for answer, text in instrument.questions[question].categories.items()}
        labels[column] = {code: texts[answer] for answer, code in codebook.codes[question].items()}
        labels[column].update({8: "Don't know", 9: "Refused"})
    path = folder / "responses.sav"
    pyreadstat.write_sav(
        pd.concat([design, answers], axis=1).astype("float64"),
        path,
        column_labels={
            "enum_id": "Interviewer of the district",
            "weight": "Weight, sums to the adult population",
            **{column: instrument.questions[question].label.en for question, column in codebook.columns.items()},
        },
        row_compress=True,
        missing_ranges={column: [8, 9] for column in codebook.columns.values()},
        variable_value_labels=labels,
        variable_format={**dict.fromkeys([*design, *answers], "F8.0"), "weight": "F12.2"},
    )
    _fix_time_of_writing(path)
    lines = _variable_lines(sample, instrument, codebook)
    (folder / WAVE_FILE).write_text(_KP_WAVE + "\n".join(lines) + "\n", encoding="utf-8")


def _fix_time_of_writing(path: Path) -> None:
    """The header of an SPSS file holds the date (9 bytes) and time (8) of writing, which would change its checksum."""
    with path.open("r+b") as stream:
        stream.seek(92)
        stream.write(b"30 Apr 2112:00:00")


# --- Punjab: CSV, 1-4 from best to worst, 98/99, numbered columns, unique PSU numbers, weights of mean one

_PUNJAB_DISTRICT = {question: f"G{number}" for number, question in enumerate(_KP_DISTRICT, start=1)}
_PUNJAB_NAMES = {
    "punjab-dera-ghazi-khan": "D.G. Khan",
    "punjab-layyah": "Leiah",
    "punjab-pakpattan": "Pakpattan Sharif",
}

_PUNJAB_WAVE = """\
# Citizen services survey, Punjab 2021. SIMULATED: nobody ever gave these answers.
#
# A complete example of a wave file for CSV data. What is special here: the cells of the district column are names, one
# of them in no list of spellings; PSU numbers are unique; weights have mean one; scales run from best (1) to worst (4).
id: punjab-2021
round: 2021
title:
  en: Citizen Services Survey, Punjab 2021 (simulated)
  ur: شہری خدمات سروے، پنجاب ۲۰۲۱ (مصنوعی)
instrument: citizen-services
dates: {start: 2021-03-15, end: 2021-05-07}
producer: Simulated by this project
citation: >-
  Citizen Services Survey, Punjab 2021: simulated data, made by the perception pipeline to test and demonstrate it. Not
  a survey of real respondents.
licence: CC0-1.0
simulated: true

files:
  - path: responses.csv

respondent_id: [resp_id]

design:
  weight: w_final
  weight_scale: mean_one
  strata: [stratum]         # district x urban/rural, numbered
  psu: psu_id
  single_psu: collapse

geography:
  vintage: "2018"
  district: district
  by: code                  # a CSV has no labels: the cells themselves are names
  names:
    Pakpattan Sharif: punjab-pakpattan  # a spelling that the gazetteer does not know

variables:
  sex: {source: sex, map: {M: male, F: female}}
  urban: {source: locality, map: {U: urban, R: rural}}
  age: {source: age, missing: {998: dont_know, 999: refused}}  # 98 is an age, not a code
  wealth: {source: quintile, map: {1: lowest, 2: second, 3: middle, 4: fourth, 5: highest}}
  education: {source: educ, map: {0: none, 1: primary, 2: middle, 3: secondary, 4: higher}}
"""


def _punjab_codebook(instrument: Instrument) -> Codebook:
    items = ("Q1", "Q2a", "Q2b", "Q2c", "Q2d", "Q2e", "Q3", "Q4")
    columns = {
        f"{service}_{item}": f"S{number:02d}{items[place]}"
        for number, service in enumerate(SERVICES, start=1)
        for place, item in enumerate(_service_items(service))
    } | _PUNJAB_DISTRICT
    codes = {
        question: {"yes": 1, "no": 0}
        if instrument.questions[question].type == "category"
        else _numbered(reversed(instrument.scale(question)), start=1)
        for question in columns
    }
    return Codebook(columns, codes, {"dont_know": 98, "refused": 99})


def _write_punjab(sample: pd.DataFrame, units: pd.DataFrame, instrument: Instrument, folder: Path) -> None:
    codebook = _punjab_codebook(instrument)
    number = sample["district_id"].map(_numbered(units["district_id"], start=1))
    names = units.set_index("district_id")["name"].to_dict() | _PUNJAB_NAMES
    design = pd.DataFrame(
        {
            "resp_id": [f"PB21-{row:05d}" for row in range(1, len(sample) + 1)],
            "district": sample["district_id"].map(names),
            "locality": sample["urban"].map({"urban": "U", "rural": "R"}),
            "stratum": number * 10 + (sample["urban"] == "urban"),
            "psu_id": sample.groupby(["district_id", "psu"]).ngroup() + 1,
            "enum_id": number * 10 + sample["enumerator"],
            "w_final": (sample["weight"] / sample["weight"].mean()).round(6),
            "sex": sample["sex"].map({"male": "M", "female": "F"}),
            "age": sample["age"],
            "educ": sample["education"].map(_numbered(BACKGROUND["education"], start=0)),
            "quintile": sample["wealth"].map(_numbered(BACKGROUND["wealth"], start=1)),
        }
    )
    frame = pd.concat([design, _answer_columns(sample, codebook)], axis=1)
    frame.to_csv(folder / "responses.csv", index=False, lineterminator="\n", float_format="%.6f")
    lines = _variable_lines(sample, instrument, codebook)
    (folder / WAVE_FILE).write_text(_PUNJAB_WAVE + "\n".join(lines) + "\n", encoding="utf-8")
