"""The faults planted in the simulated waves: what goes wrong, in which wave, which check is meant to find it, and what
the wave file does about it.

Everything else about a wave is as honest teams deliver it; without these a wave is clean.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from perception.intake.declarations import REASON_SUFFIX, REASONS
from perception.intake.instrument import Instrument
from perception.simulate.coding import Remedied
from perception.simulate.questionnaire import RARELY_SERVED, REASONS_NOT_USED, WAIT

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """The visits of a wave to plant a fault in: rows as `fieldwork` and `programme` prepare them."""

    wave: str
    visits: pd.DataFrame
    instrument: Instrument
    rng: Rng

    @property
    def complete(self) -> pd.Index:
        """Rows of completed interviews."""
        return self.visits.index[self.visits["result"] == "complete"]

    def some(self, count: int, among: pd.Index) -> pd.Index:
        """Rows drawn at random, in order."""
        return among[np.sort(self.rng.choice(len(among), min(count, len(among)), replace=False))]

    def answers(self, numbers: bool = True) -> list[str]:
        """The columns that hold answers."""
        columns = [question for question in self.instrument.questions if question in self.visits]
        if not numbers:
            return [question for question in columns if question != WAIT]
        return [*columns, *([WAIT + REASON_SUFFIX] if WAIT in columns else [])]


@dataclass(frozen=True)
class Planted:
    """What became of a fault: the visits, the units it concerns and, where wave.yml answers it, how."""

    visits: pd.DataFrame
    units: list[str]
    remedies: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """A fault: its name, the waves it is planted in, the check meant for it, the level and meaning of its units."""

    name: str
    waves: tuple[str, ...]
    check: str
    level: str
    what: str
    plant: Callable[[Case], Planted]


# What the faults do to visits, each alone


def _sent_twice(case: Case) -> Planted:
    again = case.visits.loc[case.some(14, case.complete)].copy()
    again["key"] = [str(uuid.UUID(bytes=case.rng.bytes(16), version=4)) for _ in range(len(again))]
    again["submitted"] += pd.Timedelta(hours=26)
    visits = pd.concat([case.visits, again]).sort_values("submitted", kind="stable").reset_index(drop=True)
    remedy = """\
  - check: unique_ids
    reason: Forms were sent again the next day from tablets without reception; the two copies are alike but for _uuid.
    drop_repeats: {columns: [cover/psu, cover/hh_no], keep: first}"""
    return Planted(visits, list(again["key"]), [remedy])


def _hours_for_minutes(case: Case) -> Planted:
    visits = case.visits.copy()
    first = (visits["form_version"] == 1) & visits[WAIT].notna()
    hours = (visits.loc[first, WAIT] / 15).round().clip(lower=1) / 4
    visits.loc[first, WAIT] = hours
    remedy = """\
  - check: numeric_outliers
    reason: The first version of the form asked for the wait in hours, the second for minutes; see the form.
    multiply: {columns: [health/hlth_wait], by: 60, where: {column: __version__, codes: [vSim2021a1first]}}"""
    return Planted(visits, ["health/hlth_wait"], [remedy])


SPELLINGS = {
    "kp": {
        "kp-peshawar": ("Peshawer", "پشاور"),
        "kp-dera-ismail-khan": ("Dera Ismail Kahn",),
        "kp-mardan": ("مردان",),
        "kp-swat": ("Sawat", "سوات"),
        "kp-charsadda": ("Charsada Distt",),
        "kp-lakki-marwat": ("Laki Marwat",),
    },
    "punjab": {
        "punjab-lahore": ("Lahor", "لاہور"),
        "punjab-faisalabad": ("Faislabad", "فیصل آباد"),
        "punjab-multan": ("ملتان",),
        "punjab-rahim-yar-khan": ("Raheem Yar Khan",),
        "punjab-sheikhupura": ("Shekhupura",),
        "punjab-mandi-bahauddin": ("Mandi Bahaudin City",),
    },
}


def _misspelt_districts(case: Case) -> Planted:
    visits, names = case.visits.copy(), {}
    for district, spellings in SPELLINGS[case.wave.partition("-")[0]].items():
        here = visits.index[visits["district_id"] == district]
        for place, spelling in enumerate(spellings):
            own = here[visits.loc[here, "enumerator"] == 1 + place]
            visits.loc[own, "district_name"] = spelling
            names[spelling] = district
    return Planted(visits, list(names), [], names)


URDU_REASONS = {
    "far": ("مرکز صحت بہت دور ہے", "گاؤں سے پیدل ایک گھنٹہ لگتا ہے"),
    "cost": ("دوائیں باہر سے خریدنی پڑتی ہیں", "کرایہ بہت لگتا ہے"),
    "staff_absent": ("ڈاکٹر موجود نہیں ہوتا", "ہسپتال بند رہتا ہے"),
}


def _urdu_other(case: Case) -> Planted:
    visits, other = case.visits.copy(), f"{REASONS_NOT_USED}other"
    said = visits.index[(visits[other] == "no") & (visits["result"] == "complete")]
    rows: list[int] = []
    for reason, texts in URDU_REASONS.items():
        named = said[visits.loc[said, f"{REASONS_NOT_USED}{reason}"] == "yes"].difference(rows)
        own = case.some(14, named)
        visits.loc[own, f"{REASONS_NOT_USED}{reason}"] = "no"
        visits.loc[own, other] = "yes"
        visits.loc[own, "why_other"] = case.rng.choice(texts, len(own))
        rows += list(own)
    return Planted(visits, list(visits.loc[sorted(rows), "key"]))


def _end_before_start(case: Case) -> Planted:
    visits, rows = case.visits.copy(), case.some(8, case.complete)
    visits.loc[rows, "end"] = visits.loc[rows, "start"] - pd.to_timedelta(case.rng.integers(60, 1500, 8), unit="s")
    return Planted(visits, list(visits.loc[rows, "key"]))


def _gps_at_zero(case: Case) -> Planted:
    visits, rows = case.visits.copy(), case.some(6, case.complete)
    visits.loc[rows, ["latitude", "longitude", "altitude", "accuracy"]] = 0.0
    return Planted(visits, list(visits.loc[rows, "key"]))


def _gps_mocked(case: Case) -> Planted:
    visits, rows = case.visits.copy(), case.some(9, case.complete)
    visits.loc[rows, "accuracy"] = 0.0
    return Planted(visits, list(visits.loc[rows, "key"]))


def _straight_liners(case: Case) -> Planted:
    """In every battery the same answer, in interviews of several enumerators."""
    visits = case.visits.copy()
    battery = [question for block in case.instrument.batteries.values() for question in block if question in visits]
    put = (visits.loc[case.complete, battery] != "not_asked").sum(axis=1)
    rows = case.some(14, case.complete[put >= 12])
    for row, answer in zip(rows, case.rng.choice(["agree", "disagree"], len(rows)), strict=True):
        for question in battery:
            if visits.at[row, question] != "not_asked":
                visits.at[row, question] = answer
    return Planted(visits, list(visits.loc[rows, "key"]))


def _near_duplicates(case: Case) -> Planted:
    """An enumerator fills in an interview by copying another of the same day, with a change here and there."""
    visits, units = case.visits.copy(), []
    shifts = visits.loc[case.complete].groupby(["district_id", "enumerator", "psu"]).groups
    keys = list(shifts)
    for place in case.rng.choice(len(keys), 8, replace=False):
        first, second = sorted(shifts[keys[place]])[:2]
        _copy(case, visits, first, second, changes=0.04)
        units += list(visits.loc[[first, second], "key"])
    return Planted(visits, units)


def _copy(case: Case, visits: pd.DataFrame, origin: int, target: int, changes: float) -> None:
    columns = case.answers()
    visits.loc[target, columns] = visits.loc[origin, columns]
    for question in case.answers(numbers=False):
        scale = case.instrument.scale(question)
        answer = str(visits.at[target, question])
        if len(scale) > 2 and answer not in REASONS and case.rng.random() < changes:
            place = scale.index(answer) + (1 if answer != scale[-1] else -1)
            nearest = scale[place] if scale[place] != "neither" or "neither" in visits[question].unique() else answer
            visits.at[target, question] = nearest


def _fabricator(case: Case) -> Planted:
    """One enumerator who fills in forms at home at night: short, straight-lined, and nearly all alike."""
    visits = case.visits.copy()
    crews = visits.loc[case.complete].groupby(["district_id", "enumerator"]).size()
    district, enumerator = crews.index[int(np.argsort(np.abs(crews.to_numpy() - 36), kind="stable")[0])]
    own = visits.index[(visits["district_id"] == district) & (visits["enumerator"] == enumerator)]
    rows = own.intersection(case.complete)
    battery = [question for block in case.instrument.batteries.values() for question in block]
    model = rows[0]
    for question in battery:
        if visits.at[model, question] != "not_asked":
            visits.at[model, question] = "agree"
    for row in rows[1:]:
        _copy(case, visits, model, row, changes=0.05)
    night = visits.loc[rows, "start"].dt.normalize() + pd.Timedelta(hours=21, minutes=40)
    length = pd.to_timedelta(np.round(60 * case.rng.uniform(6, 10, len(rows))), unit="s").astype("timedelta64[s]")
    step = pd.Timedelta(minutes=13) * night.groupby(night).cumcount()
    visits.loc[rows, "start"] = night + step
    visits.loc[rows, "end"] = night + step + length
    visits.loc[rows, "submitted"] = night + step + length + pd.Timedelta(minutes=2)
    visits.loc[rows, "minutes"] = (visits["end"] - visits["start"]).dt.total_seconds() / 60
    home = visits.loc[model, ["latitude", "longitude"]].astype(float).to_numpy()
    visits.loc[rows, ["latitude", "longitude"]] = home + np.round(case.rng.normal(0, 0.0001, (len(rows), 2)), 6)
    visits.loc[rows, "invented"] = True
    visits.loc[rows[:6], "backcheck"] = 1
    number = 1 + sorted(visits["district_id"].unique()).index(district)
    code = 100 * number + enumerator
    remedy = f"""\
  - check: near_duplicates
    reason: >-
      Enumerator {code} never went out: interviews of six to ten minutes at night from one place, nearly alike, and the
      respondents back-checked had never been asked.
    drop: {{column: enum_id, codes: [{code}]}}"""
    return Planted(visits, [str(code)], [remedy])


def _reversed_scale(case: Case) -> Planted:
    visits, question = case.visits.copy(), "electricity_satisfaction"
    scale = [answer for answer in case.instrument.scale(question) if answer != "neither"]
    other_end = dict(zip(scale, reversed(scale), strict=True))
    answers = visits[question].astype(object)
    visits[question] = pd.Categorical(
        answers.map(lambda answer: other_end.get(answer, answer)), visits[question].cat.categories
    )
    remedy = """\
  - check: scale_direction
    reason: >-
      On the tablets the choices of this one question stood the wrong way round, 0 for very satisfied, against the
      labels of the form; the field manager confirmed it.
    replace: {columns: [elec_sat], codes: {0: 3, 1: 2, 2: 1, 3: 0}}"""
    return Planted(visits, ["elec_sat"], [remedy])


def _lost_psus(case: Case) -> Planted:
    """A team's tablet is stolen: of the smallest stratum of the division only one PSU is left."""
    visits = case.visits
    psus = visits.groupby(["district_id", "urban"])["psu"].nunique()
    kinds = psus.groupby(level=0).transform("size")
    district, area = psus[kinds == 2].sort_values(kind="stable").index[0]
    here = (visits["district_id"] == district) & (visits["urban"] == area)
    kept = visits.loc[here, "psu"].min()
    left = visits[~here | (visits["psu"] == kept)].reset_index(drop=True)
    return Planted(left, [f"{district} {area}"])


def _stale_form(case: Case) -> Planted:
    visits = case.visits.copy()
    crews = visits.loc[case.complete].groupby(["district_id", "enumerator"]).groups
    rows = crews[list(crews)[int(case.rng.integers(0, len(crews)))]]
    visits.loc[rows, "form_version"] = 1
    return Planted(visits, list(visits.loc[sorted(rows), "key"]))


def _few_users(case: Case) -> Planted:
    service, district = RARELY_SERVED
    return Planted(case.visits, [f"satisfied_{service} {district}"])


FAULTS = (
    Fault(
        "lost_psus",
        ("kp-2018",),
        "sample_plan",
        "stratum",
        "only one PSU of the stratum is left, the others were never delivered",
        _lost_psus,
    ),
    Fault(
        "straight_liners",
        ("punjab-2018",),
        "straight_lining",
        "row",
        "the same answer to every attribute of every service",
        _straight_liners,
    ),
    Fault(
        "misspelt_districts",
        ("kp-2021", "punjab-2021"),
        "district_names",
        "column",
        "a spelling of a district that the gazetteer does not know, or its Urdu name",
        _misspelt_districts,
    ),
    Fault(
        "hours_for_minutes",
        ("kp-2021", "punjab-2021"),
        "numeric_outliers",
        "column",
        "the first version of the form asked for hours",
        _hours_for_minutes,
    ),
    Fault(
        "urdu_other",
        ("kp-2021",),
        "other_specify",
        "row",
        "an Urdu text under `other` that says what a listed reason says",
        _urdu_other,
    ),
    Fault(
        "end_before_start",
        ("kp-2021",),
        "work_hours",
        "row",
        "the interview ends before it starts: the clock of the device was put back",
        _end_before_start,
    ),
    Fault("gps_at_zero", ("kp-2021",), "gps", "row", "the device knew no place and wrote 0 0", _gps_at_zero),
    Fault(
        "gps_mocked",
        ("punjab-2021",),
        "gps",
        "row",
        "accuracy 0, as programmes report that pretend to be somewhere",
        _gps_mocked,
    ),
    Fault(
        "sent_twice",
        ("kp-2021", "punjab-2021"),
        "unique_ids",
        "row",
        "the same form sent again a day later under another _uuid",
        _sent_twice,
    ),
    Fault(
        "near_duplicates",
        ("kp-2024",),
        "near_duplicates",
        "row",
        "one of two interviews of an enumerator is a copy of the other, with a change here and there",
        _near_duplicates,
    ),
    Fault(
        "reversed_scale",
        ("kp-2024",),
        "scale_direction",
        "column",
        "the codes of one question run against the labels of the form",
        _reversed_scale,
    ),
    Fault(
        "stale_form",
        ("kp-2024",),
        "form_version",
        "row",
        "the enumerator's tablet still had the form of the pilot",
        _stale_form,
    ),
    Fault(
        "fabricator",
        ("punjab-2024",),
        "near_duplicates",
        "enumerator",
        "an enumerator who invented interviews at home, at night, in a few minutes, nearly all alike",
        _fabricator,
    ),
    Fault(
        "few_users",
        ("kp-2018", "kp-2021", "kp-2024"),
        "publication rules",
        "district",
        "true, and no fault of the survey: too few users of the service for an estimate",
        _few_users,
    ),
)


def plant(
    wave: str, visits: pd.DataFrame, instrument: Instrument, rng: Mapping[str, Rng]
) -> tuple[pd.DataFrame, pd.DataFrame, Remedied]:
    """The visits with the faults of a wave, the table of what was planted, and what wave.yml says about it.

    `rng` gives each fault its own generator. The table has one row a unit: fault, check, level, unit, what.
    """
    rows: list[dict[str, str]] = []
    remedies: list[str] = []
    names: dict[str, str] = {}
    for fault in FAULTS:
        if wave in fault.waves:
            planted = fault.plant(Case(wave, visits, instrument, rng[fault.name]))
            visits = planted.visits
            about = {"fault": fault.name, "check": fault.check, "level": fault.level}
            rows += [{**about, "unit": unit, "what": fault.what} for unit in planted.units]
            remedies += planted.remedies
            names |= planted.names
    return visits, pd.DataFrame(rows), Remedied(remedies, names)
