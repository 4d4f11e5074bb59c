"""Displaced PSU centres: how far, where to, and that nobody outside can draw the same again."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perception import wave_tables
from perception.geography import load_gazetteer, vintage_units
from perception.geography.displacement import displaced, displaced_psus, displacement_rng
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave
from tests.conftest import SMALL_WAVE, small_answers, write_small_wave

WIDE = shapely.box(60, 25, 80, 40)


def kilometres(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Great-circle distance (haversine) between points given as longitude and latitude."""
    (x1, y1), (x2, y2) = np.radians(one).T, np.radians(other).T
    chord = np.sin((y2 - y1) / 2) ** 2 + np.cos(y1) * np.cos(y2) * np.sin((x2 - x1) / 2) ** 2
    return 2 * 6371.0088 * np.arcsin(np.sqrt(chord))


def bearings(start: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Direction of the move, 0 to 1 once around."""
    east, north = ((moved - start) * np.column_stack([np.cos(np.radians(start[:, 1])), np.ones(len(start))])).T
    return np.arctan2(east, north) / (2 * np.pi) % 1


def test_distances_and_directions_are_uniform_up_to_the_limits_of_each_area() -> None:
    count = 20_000
    start = np.tile([71.5, 34.0], (2 * count, 1))
    urban = np.arange(2 * count) < count
    moved = displaced(start, urban, [WIDE] * len(start), np.random.default_rng(1))
    far = kilometres(start, moved)
    assert far[urban].max() < 2.001
    assert stats.kstest(far[urban] / 2, "uniform").pvalue > 0.01
    # One rural point in a hundred goes up to 10 km, half of those beyond 5: 100 of 20,000, give or take 10.
    beyond = far[~urban] > 5.001
    assert 60 < beyond.sum() < 140
    assert 9 < far.max() < 10.001
    assert stats.kstest(far[~urban][~beyond] / 5, "uniform").pvalue > 0.01
    assert stats.kstest(bearings(start, moved), "uniform").pvalue > 0.01


def test_points_at_a_border_stay_on_their_side() -> None:
    west, east = shapely.box(70, 30, 71, 31), shapely.box(71, 30, 72, 31)
    start = np.tile([71.0005, 30.5], (2000, 1))
    moved = displaced(start, np.zeros(2000, bool), [east] * 2000, np.random.default_rng(2))
    assert shapely.contains_xy(east, moved[:, 0], moved[:, 1]).all()
    assert kilometres(start, moved).max() > 4
    # A centre just across the border (the shape is a generalised one) is drawn until it lands in its district.
    moved = displaced(start, np.zeros(2000, bool), [west] * 2000, np.random.default_rng(2))
    assert shapely.contains_xy(west, moved[:, 0], moved[:, 1]).all()


def test_a_centre_far_outside_its_district_gets_no_place() -> None:
    near, away = [70.5, 30.5], [70.5, 31.2]  # 22 km north of the border
    moved = displaced([near, away], [True, True], [shapely.box(70, 30, 71, 31)] * 2, np.random.default_rng(3))
    assert np.isfinite(moved[0]).all()
    assert np.isnan(moved[1]).all()


@settings(max_examples=50, deadline=None)
@given(st.floats(61, 79), st.floats(26, 39), st.booleans(), st.integers(0, 2**32))
def test_no_point_moves_further_than_its_area_allows(longitude: float, latitude: float, urban: bool, seed: int) -> None:
    start = np.array([[longitude, latitude]])
    moved = displaced(start, [urban], [WIDE], np.random.default_rng(seed))
    assert 0 < kilometres(start, moved)[0] < (2.01 if urban else 10.05)


PSUS = pd.DataFrame({"psu": list("abcde"), "district_id": ["d", "d", "d", "d", "lost"], "urban": ["urban"] * 5})
SHAPES = gpd.GeoDataFrame({"district_id": ["d"]}, geometry=[shapely.box(70, 30, 71, 31)], crs="EPSG:4326")


def places(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["psu", "latitude", "longitude"])


def test_the_centre_is_the_mean_of_interviews_that_have_a_place() -> None:
    interviews = places(
        ("a", 30.4, 70.4), ("a", 30.6, 70.6), ("a", 0.0, 0.0), ("a", None, None), ("b", None, None), ("c", 0.0, 0.0)
    )
    interviews = pd.concat([interviews, places(("e", 30.5, 70.5), ("elsewhere", 30.5, 70.5))], ignore_index=True)
    done = displaced_psus(PSUS, interviews, SHAPES, np.random.default_rng(4))
    assert done["psu"].tolist() == list("abcde")
    assert kilometres(np.array([[70.5, 30.5]]), done.loc[[0], ["longitude", "latitude"]].to_numpy())[0] < 2.001
    # Without an interview that has a place, or without a shape of its district, a PSU has none.
    assert done.loc[1:, ["longitude", "latitude"]].isna().all(axis=None)


def test_an_unknown_area_is_moved_as_a_rural_one() -> None:
    psus = pd.DataFrame({"psu": [str(i) for i in range(300)], "district_id": "d", "urban": None})
    interviews = places(*[(str(i), 30.5, 70.5) for i in range(300)])
    done = displaced_psus(psus, interviews, SHAPES, np.random.default_rng(5))
    far = kilometres(np.tile([70.5, 30.5], (300, 1)), done[["longitude", "latitude"]].to_numpy())
    assert 4 < np.quantile(far, 0.95) < 5.1


def test_the_same_coordinates_give_the_same_points_and_others_give_others() -> None:
    rng = np.random.default_rng(6)
    interviews = pd.DataFrame({"psu": np.repeat(list("abcd"), 25)})
    interviews["latitude"] = rng.uniform(30.3, 30.7, 100).round(6)
    interviews["longitude"] = rng.uniform(70.3, 70.7, 100).round(6)

    def points(frame: pd.DataFrame) -> np.ndarray:
        done = displaced_psus(PSUS[:4], frame, SHAPES, displacement_rng(frame))
        return done[["longitude", "latitude"]].to_numpy()

    once = points(interviews)
    np.testing.assert_array_equal(points(interviews), once)
    shuffled = interviews.sample(frac=1, random_state=1)
    np.testing.assert_allclose(points(shuffled), once, atol=1e-12)  # a mean may round otherwise in another order
    nowhere = places(("a", 0.0, 0.0), ("b", None, None))
    np.testing.assert_allclose(points(pd.concat([interviews, nowhere], ignore_index=True)), once, atol=1e-12)
    # The sixth decimal of one interview (10 cm) moves the points of all PSUs elsewhere.
    changed = interviews.copy()
    changed.loc[0, "latitude"] += 1e-6
    assert (np.abs(points(changed) - once) > 1e-4).any(axis=1).all()


def test_a_wave_keeps_displaced_centres_only_where_it_says_so(small_project: Project) -> None:
    """Interviews near one exact point for each PSU: dropped by default, moved by up to 5 km where declared."""
    answers = small_answers()
    units = vintage_units(load_gazetteer(small_project.reference), "2018").set_index("name")
    answers["lat"] = answers["district"].map(units["latitude"]) + answers["psu"] % 6 * 0.001
    answers["lon"] = answers["district"].map(units["longitude"])
    answers.loc[answers["psu"] == 0, ["lat", "lon"]] = 0
    gps = "gps: {latitude: lat, longitude: lon}"
    folder = small_project.waves / "small-2021"
    tables = {}
    for how in ("drop", "displace"):
        write_small_wave(folder, answers, SMALL_WAVE + f"fieldwork: {{{gps}, coordinates: {how}}}\n")
        inputs = open_wave(small_project, "small-2021")
        raw = raw_responses(inputs.wave, inputs.folder)
        tidy = wave_tables.responses(inputs, raw)
        assert not {"lat", "lon", "latitude", "longitude"} & set(tidy)
        tables[how] = wave_tables.design_psus(small_project, inputs, raw, tidy).set_index("psu")
    assert tables["drop"][["longitude", "latitude"]].isna().all(axis=None)
    moved = tables["displace"]
    assert moved.index[moved["latitude"].isna()].tolist() == ["0"]
    exact = answers[answers["psu"] > 0].groupby(answers["psu"].astype(str))[["lon", "lat"]].mean()
    distance = kilometres(exact.to_numpy(), moved.loc[exact.index, ["longitude", "latitude"]].to_numpy())
    assert (distance > 0).all()
    assert distance.max() < 10.01
    assert (distance < 5.01).mean() > 0.9
