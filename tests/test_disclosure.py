"""Complementary suppression against an attacker who tries every table there can be, on tables small enough for that."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perception.errors import InputError
from perception.estimation.disclosure import domain_categories, withheld_cells

UNITS = pd.DataFrame({"district_id": ["a", "b", "c"], "division_id": ["v", "v", "x"], "province_id": ["p", "p", "q"]})
LEVELS = {"district": "district_id", "division": "division_id", "province": "province_id", "all": "everywhere"}
KINDS = ((), ("sex",), ("urban",), ("sex", "urban"), ("age",))
UNKNOWN = "?"
MINIMUM = 3

Person = tuple[str, str, str, str, int]
people_drawn = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["f", "m", "f", "m", UNKNOWN]),
        st.sampled_from("ur"),
        st.sampled_from(["young", "old"]),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=12,
)


def people_frame(people: list[Person]) -> pd.DataFrame:
    frame = pd.DataFrame(people, columns=["district_id", "sex", "urban", "age", "y"])
    return frame.merge(UNITS, on="district_id").assign(everywhere="all")


def cells_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Every cell that has a person: level, unit_id, domain, n, n_positive."""
    rows = []
    for (level, column), kind in product(LEVELS.items(), KINDS):
        known = frame[(frame[list(kind)] != UNKNOWN).all(axis=1)]
        for key, group in known.groupby([column, *kind]):
            domain = ",".join(map("=".join, zip(kind, key[1:], strict=True))) or "all"
            rows.append((level, key[0], domain, len(group), int(group["y"].sum())))
    return pd.DataFrame(rows, columns=["level", "unit_id", "domain", "n", "n_positive"])


def every_table(frame: pd.DataFrame, cells: pd.DataFrame) -> NDArray[np.int64]:
    """Counts answering 1 of all cells in every table that can be, given how many were asked: tables x cells."""
    tables = np.zeros((1, len(cells)), int)
    for district, own in frame.groupby("district_id"):
        by_area = own.groupby(["sex", "urban"]).size()
        by_age = own.groupby("age").size()
        rows = []
        for areas in product(*(range(asked + 1) for asked in by_area)):
            for ages in product(*(range(asked + 1) for asked in by_age)):
                if sum(areas) == sum(ages):
                    rows.append((*areas, *ages))
        parts = np.array(rows)
        member = np.zeros((parts.shape[1], len(cells)), int)
        home = UNITS.set_index("district_id").loc[district]
        for number, cell in enumerate(cells.itertuples()):
            inside = {"district": district, "division": home.division_id, "province": home.province_id, "all": "all"}
            if inside[cell.level] != cell.unit_id:
                continue
            wanted = domain_categories(cell.domain)
            for place, (sex, urban) in enumerate(by_area.index):
                member[place, number] = "age" not in wanted and wanted.items() <= {"sex": sex, "urban": urban}.items()
            for place, age in enumerate(by_age.index, start=len(by_area)):
                member[place, number] = wanted == {"age": age}
        tables = (tables[:, None, :] + (parts @ member)[None, :, :]).reshape(-1, len(cells))
    return tables


def thin_cells(cells: pd.DataFrame) -> NDArray[np.bool_]:
    fewer = np.minimum(cells["n_positive"], cells["n"] - cells["n_positive"])
    return (fewer < MINIMUM).to_numpy()


@settings(max_examples=80, deadline=None)
@given(people_drawn, st.sampled_from(list(LEVELS)), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2]))
def test_no_withheld_count_can_be_narrowed_by_trying_every_table(
    people: list[Person], level: str, seed: int, unpublished_share: float
) -> None:
    frame = people_frame(people)
    cells = cells_of(frame)
    rng = np.random.default_rng(seed)
    below = cells["level"].map(list(LEVELS).index).to_numpy() < list(LEVELS).index(level)
    sensitive = below | (thin_cells(cells) & (rng.random(len(cells)) < 0.3))
    unpublished = rng.random(len(cells)) < unpublished_share
    withheld = withheld_cells(cells, UNITS, sensitive, unpublished, MINIMUM)
    assert not (sensitive & ~withheld).any()
    assert sensitive.any() or not withheld.any()
    tables = every_table(frame, cells)
    shown = ~(withheld | unpublished)
    consistent = tables[(tables[:, shown] == cells["n_positive"].to_numpy()[shown]).all(axis=1)]
    room = consistent.max(axis=0) - consistent.min(axis=0)
    assert (room >= np.minimum(cells["n"], MINIMUM))[withheld].all()


def four_cells(*counts: int, n: int = 100) -> pd.DataFrame:
    """One district by sex and area: women urban and rural, men urban and rural."""
    kinds = [("f", "u"), ("f", "r"), ("m", "u"), ("m", "r")]
    people = [
        ("a", *kind, "young", int(number < count))
        for kind, count in zip(kinds, counts, strict=True)
        for number in range(n)
    ]
    return cells_of(people_frame(people)).query("level == 'district'").reset_index(drop=True)


def test_a_crossed_table_takes_four_cells_to_hide_one() -> None:
    cells = four_cells(5, 40, 45, 50)
    sensitive = (cells["domain"] == "sex=f,urban=u").to_numpy()
    withheld = withheld_cells(cells, UNITS, sensitive, np.zeros(len(cells), bool))
    crossed = cells["domain"].str.contains(",").to_numpy()
    assert withheld.tolist() == crossed.tolist()


def test_cells_withheld_for_their_quality_serve_as_complements() -> None:
    cells = four_cells(5, 40, 45, 50)
    sensitive = (cells["domain"] == "sex=f,urban=u").to_numpy()
    unpublished = cells["domain"].str.contains(",").to_numpy() & ~sensitive
    assert withheld_cells(cells, UNITS, sensitive, unpublished).tolist() == sensitive.tolist()


def test_people_of_unknown_sex_protect_only_as_far_as_they_are_enough() -> None:
    for unknown, alone in ((9, False), (10, True)):
        people = [("a", "f", "u", "young", int(i < 5)) for i in range(100)]
        people += [("a", "m", "u", "young", int(i < 50)) for i in range(100)]
        people += [("a", UNKNOWN, "u", "young", int(i < 5)) for i in range(unknown)]
        cells = cells_of(people_frame(people))
        cells = cells[(cells["level"] == "district") & cells["domain"].isin(["all", "sex=f", "sex=m"])]
        sensitive = (cells["domain"] == "sex=f").to_numpy()
        # Five women answered 1: with ten unknown who may all have, the count lies between 0 and 10.
        withheld = withheld_cells(cells, UNITS, sensitive, np.zeros(len(cells), bool))
        assert (withheld.sum() == 1) == alone


def test_nothing_to_protect_nothing_withheld() -> None:
    cells = four_cells(20, 40, 45, 50)
    nothing = np.zeros(len(cells), bool)
    assert not withheld_cells(cells, UNITS, nothing, nothing).any()


@pytest.mark.parametrize(("column", "value"), [("n", 99), ("n_positive", 4), ("n_positive", 101)])
def test_counts_that_do_not_add_up_are_refused(column: str, value: int) -> None:
    cells = four_cells(5, 40, 45, 50)
    row = cells.index[cells["domain"] == "sex=f,urban=u"][0]
    cells.loc[row, column] = value
    with pytest.raises(InputError, match=r"district a, domain .*: the counts of its parts do not add up"):
        withheld_cells(cells, UNITS, np.ones(len(cells), bool), np.zeros(len(cells), bool))
