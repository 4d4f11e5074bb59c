"""The simulated fieldwork: who interviewed whom when and where, as honest teams do it.

What goes wrong in the field is planted afterwards, by `faults`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.geography.gazetteer import Gazetteer
from perception.simulate.questionnaire import Round

Floats = NDArray[np.float64]

MINUTES = (35.0, 0.22)
"""Median length of an interview and the SD of its logarithm; a visit without one takes about three minutes."""
FIRST_VERSION_DAYS = {"2021": 0.4}
"""Part of the fieldwork in which a first version of the form is in use."""
METRES_PER_DEGREE = 111_195.0


def interviews(
    sample: pd.DataFrame, survey: Round, province: str, gazetteer: Gazetteer, rng: np.random.Generator
) -> pd.DataFrame:
    """The visits of one province (`draw_sample`), in the order in which they were made, with what the devices recorded.

    Added: team (number), start, end, submitted (local time without zone), minutes (length of the interview), latitude,
    longitude, altitude and accuracy (degrees, metres), form_version (2, or 1 in the first days of 2021).
    """
    rows = sample.sort_values(["district_id", "psu", "enumerator", "household"]).reset_index(drop=True)
    days = _working_days(*survey.days[province])
    day = _schedule(rows, len(days), rng)
    rows["start"], rows["end"] = _clock(rows, np.array(days, dtype="datetime64[s]")[day], rng)
    rows["minutes"] = (rows["end"] - rows["start"]).dt.total_seconds() / 60
    sent = np.ceil(rng.lognormal(3.0, 1.0, len(rows)) * 60).clip(max=10 * 3600)
    rows["submitted"] = rows["end"] + pd.to_timedelta(sent, unit="s").astype("timedelta64[s]")
    rows["form_version"] = np.where(day < FIRST_VERSION_DAYS.get(survey.name, 0.0) * len(days), 1, 2)
    rows["team"] = 1 + pd.factorize(rows["district_id"], sort=True)[0] // 2
    places = _psu_places(rows, survey.vintage, gazetteer, rng)
    rows = rows.assign(**_positions(rows, places, rng))
    return rows.sort_values(["submitted", "district_id", "psu", "household"]).reset_index(drop=True)


def _working_days(first: date, last: date) -> list[date]:
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in every if day.weekday() != 6]


def _schedule(rows: pd.DataFrame, days: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """The working day of each visit: a district's PSUs one after the other, an enumerator in one PSU a day."""
    start: dict[Any, int] = {}
    busy: dict[Any, int] = {}
    for (district, psu), visits in rows.groupby(["district_id", "psu"]):
        team = visits["enumerator"].unique()
        free = max(busy.get((district, enumerator), 0) for enumerator in team)
        start[district, psu] = free
        busy |= {(district, enumerator): free + 1 for enumerator in team}
    length = pd.Series(busy).groupby(level=0).max()
    slack = {district: int(rng.integers(0, days - longest + 1)) for district, longest in length.items()}
    return np.array([start[key] + slack[key[0]] for key in zip(rows["district_id"], rows["psu"], strict=True)])


def _clock(rows: pd.DataFrame, day: NDArray[np.datetime64], rng: np.random.Generator) -> tuple[pd.Series, pd.Series]:
    """Start and end of each visit: from about half past eight, one after the other, with a walk in between."""
    median, spread = MINUTES
    length = np.clip(rng.lognormal(np.log(median), spread, len(rows)), 18, 75)
    length = np.where(rows["result"] == "complete", length, rng.uniform(2, 5, len(rows)))
    seconds = np.round(60 * length).astype(int)
    walk = np.round(60 * rng.uniform(5, 16, len(rows))).astype(int)
    shift = [rows["district_id"], rows["psu"], rows["enumerator"]]
    is_first = ~pd.concat(shift, axis=1).duplicated()
    walk = np.where(is_first, np.round(3600 * rng.uniform(8.2, 9.2, len(rows))).astype(int), walk)
    after = pd.Series(walk + seconds).groupby(shift).cumsum()
    midnight = pd.Series(day)
    return (
        midnight + pd.to_timedelta(after - seconds, unit="s").astype("timedelta64[s]"),
        midnight + pd.to_timedelta(after, unit="s").astype("timedelta64[s]"),
    )


def _psu_places(rows: pd.DataFrame, vintage: str, gazetteer: Gazetteer, rng: np.random.Generator) -> pd.DataFrame:
    """A place for each PSU, indexed by district and psu: within a kilometre of the centre of a cell of the district.

    Cells surrounded by their own district are preferred, so that every interview lies well inside its boundary.
    """
    import h3

    tehsils = gazetteer.vintages.loc[gazetteer.vintages["vintage"] == vintage, ["tehsil_id", "district_id"]]
    home = gazetteer.cells.merge(tehsils, on="tehsil_id").set_index("cell")["district_id"]
    owner = home.to_dict()
    places = []
    for district, psus in rows.groupby("district_id")["psu"].unique().items():
        cells = sorted(home.index[home == district])
        kept = [sum(owner.get(near) == district for near in h3.grid_disk(cell, 1)) for cell in cells]
        inner = [cell for cell, own in zip(cells, kept, strict=True) if own == max(kept)]
        chosen = [h3.cell_to_latlng(inner[place]) for place in rng.integers(0, len(inner), len(psus))]
        latitude, longitude = np.array(chosen).T
        north, east = _scatter(1000.0, latitude, rng)
        index = pd.MultiIndex.from_product([[district], psus], names=["district_id", "psu"])
        places.append(pd.DataFrame({"latitude": latitude + north, "longitude": longitude + east}, index=index))
    return pd.concat(places)


def _positions(rows: pd.DataFrame, places: pd.DataFrame, rng: np.random.Generator) -> dict[str, Floats]:
    """Where each visit was recorded: a few hundred metres from the PSU's place, further apart in the country."""
    own = places.loc[pd.MultiIndex.from_frame(rows[["district_id", "psu"]])].to_numpy()
    metres = np.where(rows["urban"] == "urban", 200.0, 500.0)
    north, east = _scatter(metres, own[:, 0], rng)
    return {
        "latitude": np.round(own[:, 0] + north, 6),
        "longitude": np.round(own[:, 1] + east, 6),
        "altitude": np.round(rng.uniform(150, 900, len(rows)), 1),
        "accuracy": np.asarray(np.round(rng.lognormal(1.9, 0.4, len(rows)), 1), dtype=np.float64),
    }


def _scatter(metres: float | Floats, latitude: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Offsets in degrees of points spread evenly within a circle."""
    radius = metres * np.sqrt(rng.random(len(latitude))) / METRES_PER_DEGREE
    angle = 2 * np.pi * rng.random(len(latitude))
    return radius * np.sin(angle), radius * np.cos(angle) / np.cos(np.radians(latitude))
