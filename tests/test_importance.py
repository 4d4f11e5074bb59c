"""Importance of drivers: against R's relaimpo, against all orders written out, and its jackknife against replicates."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from perception.drivers.importance import (
    importance,
    jackknife_covariances,
    johnson_shares,
    lmg_shares,
)
from perception.errors import InputError
from perception.estimation.design import design_from_psus
from tests.test_drivers import sampled, survey

GROUPS = [[1], [2, 3], [4]]


def frame_of_drivers(seed: int = 5) -> tuple[pd.DataFrame, np.ndarray]:
    """A survey, and its columns: outcome, a score, two columns of one category, another score that goes with both."""
    frame = survey(seed, rows=300)
    rng = np.random.default_rng(seed)
    rent, free = ((frame["tenure"] == name).to_numpy(float) for name in ("rent", "free"))
    other = 0.5 * frame["score"].to_numpy() + rent + rng.normal(size=len(frame))
    return frame, np.column_stack([frame["y"], frame["score"], rent, free, other])


def explained(values: np.ndarray, weights: np.ndarray, columns: list[int]) -> float:
    """Weighted R^2 of column 0 on the others named."""
    root = np.sqrt(weights)[:, None]
    x = np.column_stack([np.ones(len(values)), values[:, columns]]) * root
    y = values[:, :1] * root
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    mean = np.average(values[:, 0], weights=weights)
    return 1 - float((residual**2).sum() / (weights * (values[:, 0] - mean) ** 2).sum())


def orders_written_out(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    gains = np.zeros(len(GROUPS))
    for order in permutations(range(len(GROUPS))):
        before: list[int] = []
        for place in order:
            after = before + GROUPS[place]
            gains[place] += explained(values, weights, after) - explained(values, weights, before)
            before = after
    return gains / 6


@pytest.mark.parametrize(
    ("data", "outcome", "lmg", "johnson", "weighted"),
    [
        ("swiss", "Fertility", "swiss", "swiss_johnson", False),
        ("apistrat", "api00", "apistrat_weighted", "apistrat_johnson", True),
    ],
)
def test_shares_are_those_of_r(
    shared_golden: Path, data: str, outcome: str, lmg: str, johnson: str, weighted: bool
) -> None:
    golden = json.loads((shared_golden / "r_golden_relimp.json").read_text())
    frame, names = pd.read_csv(shared_golden / f"{data}.csv"), list(golden[lmg]["lmg"])
    covariance = np.cov(frame[[outcome, *names]].to_numpy().T, aweights=frame["pw"] if weighted else None)
    groups = [[place + 1] for place in range(len(names))]
    shares = lmg_shares(covariance, groups)
    np.testing.assert_allclose(shares, list(golden[lmg]["lmg"].values()), rtol=1e-9)
    assert shares.sum() == pytest.approx(golden[lmg]["R2"], rel=1e-9)
    np.testing.assert_allclose(johnson_shares(covariance, groups), list(golden[johnson].values()), rtol=1e-9)


def test_groups_of_columns_enter_together() -> None:
    frame, values = frame_of_drivers()
    weights = frame["weight"].to_numpy()
    covariance = np.cov(values.T, aweights=weights)
    np.testing.assert_allclose(lmg_shares(covariance, GROUPS), orders_written_out(values, weights), rtol=1e-9)
    both = np.stack([covariance, np.cov(values.T)])
    np.testing.assert_allclose(lmg_shares(both, GROUPS)[1], orders_written_out(values, np.ones(len(values))), rtol=1e-9)


def test_the_jackknife_leaves_each_psu_out_and_scales_its_stratum() -> None:
    frame, values = frame_of_drivers()
    psus = pd.concat([sampled(frame), pd.DataFrame({"variance_stratum": [0], "psu": ["0-never answered"]})])
    design, weights = design_from_psus(psus), frame["weight"].to_numpy()
    rows = design.psu_index(frame["stratum"].tolist(), frame["psu"].tolist())
    full, without, scheme = jackknife_covariances(values, weights, rows, design)
    np.testing.assert_allclose(full, np.cov(values.T, aweights=weights, ddof=0), rtol=1e-9)
    assert len(without) == len(psus) == scheme.count
    place = int(np.flatnonzero((design.psus["psu"] == "1-4").to_numpy())[0])
    changed = weights * np.where(frame["stratum"] == 1, 8 / 7, 1.0) * (frame["psu"] != "1-4")
    np.testing.assert_allclose(without[place], np.cov(values.T, aweights=changed, ddof=0), rtol=1e-9, atol=1e-12)
    empty = int(np.flatnonzero((design.psus["psu"] == "0-never answered").to_numpy())[0])
    more = weights * np.where(frame["stratum"] == 0, 9 / 8, 1.0)
    np.testing.assert_allclose(without[empty], np.cov(values.T, aweights=more, ddof=0), rtol=1e-9, atol=1e-12)


def test_controls_are_held_constant_and_shares_add_up() -> None:
    frame, values = frame_of_drivers()
    design = design_from_psus(sampled(frame))
    rows = design.psu_index(frame["stratum"].tolist(), frame["psu"].tolist())
    weights = frame["weight"].to_numpy()
    drivers = {"score": values[:, 1], "tenure": values[:, 2:4]}
    table = importance(values[:, 0], drivers, values[:, 4:], weights=weights, psu_rows=rows, design=design).set_index(
        "driver"
    )
    beyond = explained(values, weights, [1, 2, 3, 4]) - explained(values, weights, [4])
    assert table["importance"].sum() == pytest.approx(beyond / (1 - explained(values, weights, [4])), rel=1e-9)
    assert table["share"].sum() == pytest.approx(1)
    assert table["johnson"].sum() == pytest.approx(table["importance"].sum(), rel=1e-9)
    assert ((table["low"] <= table["importance"]) & (table["importance"] <= table["high"])).all()
    assert table.loc["score", "importance"] > table.loc["tenure", "importance"]


def test_intervals_hold_the_share_of_the_population() -> None:
    # Clusters of ten that share part of both score and outcome, drawn from a population of which the share is known.
    rng, held, draws = np.random.default_rng(8), 0, 200
    slopes = np.array([0.6, 0.3])

    def people(clusters: int) -> tuple[np.ndarray, np.ndarray]:
        shared = rng.normal(size=(clusters, 1, 2))
        x = 0.6 * shared + rng.normal(size=(clusters, 10, 2))
        x[..., 1] += 0.5 * x[..., 0]
        y = x @ slopes + 0.5 * rng.normal(size=(clusters, 1)) + rng.normal(size=(clusters, 10))
        return x.reshape(-1, 2), y.ravel()

    x, y = people(100_000)
    truth = lmg_shares(np.cov(np.column_stack([y, x]).T), [[1], [2]])
    design = design_from_psus(pd.DataFrame({"variance_stratum": "all", "psu": [str(number) for number in range(60)]}))
    for _ in range(draws):
        x, y = people(60)
        table = importance(
            y,
            {"one": x[:, 0], "other": x[:, 1]},
            np.empty((600, 0)),
            weights=np.ones(600),
            psu_rows=np.repeat(np.arange(60), 10),
            design=design,
        )
        held += int(((table["low"] <= truth) & (truth <= table["high"])).sum())
    # The two intervals of a draw go together: 200 draws say as much as 200 intervals of 95 % do, once in a thousand.
    low, high = stats.binom.ppf([0.0005, 0.9995], draws, 0.95) / draws
    assert low <= held / (2 * draws) <= high


def test_too_many_drivers_are_refused() -> None:
    frame, _ = frame_of_drivers()
    design = design_from_psus(sampled(frame))
    many = {f"d{number}": np.zeros(3) for number in range(15)}
    with pytest.raises(InputError, match="15 drivers"):
        importance(
            np.zeros(3), many, np.empty((3, 0)), weights=np.ones(3), psu_rows=np.zeros(3, dtype=int), design=design
        )
