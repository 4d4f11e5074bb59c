"""What holds a district down: its gap to the province split by driver, and what one better driver would go with.

Association, not cause: a contribution says what districts with such a level of a driver have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from perception.drivers.models import Floats, SurveyModel
from perception.drivers.partial_pooling import DistrictSlopes, district_slopes
from perception.estimation.publication import PublicationRules
from perception.estimation.replicates import grouped_sums

DRAWS = 1_000
BEST_QUARTER = 75
"""Percentile of the district levels of a driver that its province's best quarter reaches."""
_ENDS = [2.5, 97.5]
_OF_SINGLE_COLUMNS = ("mean", "mean_province", "effect", "mean_best", "what_if", "what_if_low", "what_if_high")
PARTS = {
    "composition": "Who lives there: age, education and the like",
    "rest": "What the model does not explain",
    "gap": "Gap to the province",
}
"""The parts of a gap that are no driver, in words."""


def district_diagnosis(
    results: Any,
    blocks: Mapping[str, Sequence[int]],
    drivers: Sequence[str],
    districts: pd.Series,
    provinces: pd.Series,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, DistrictSlopes]:
    """The gap of every district to its province, as fitted by `results`, and how effects differ between districts.

    `blocks` gives the columns of each predictor in the model, `drivers` those that are drivers; the others are the
    composition. `districts` and `provinces` (n) say where each row of the model lives.

    Returns a row per district and part: driver (a name, or `composition`, `rest`, `gap`), contribution with low and
    high, and for drivers mean and mean_province (weighted, of a single column), effect (change of the share per unit of
    it in the district), what_if with low and high: the share expected if the mean were mean_best, that which the best
    quarter of the province's districts with enough respondents reach; share and share_province (of good outcomes among
    the model's rows), n and psus. A driver contributes its effect times how far the district's level lies from the
    province's (Oaxaca 1973, with one set of effects), at the mean of the two slopes of the probability; what is left is
    `rest`. 95 % intervals from joint draws of coefficients, levels and shares (design-based) and of the district's own
    deviations (posterior).
    """
    model: SurveyModel = results.model
    home_codes, names = pd.factorize(districts, sort=True)
    province_codes, province_names = pd.factorize(provinces, sort=True)
    columns = [place for driver in drivers for place in blocks[driver]]
    controls = [place for predictor, block in blocks.items() if predictor not in drivers for place in block]
    slopes = district_slopes(results, columns, np.asarray(home_codes, dtype=np.intp), rng)
    params = np.asarray(results.params)
    chance = expit(model.outcome_rows(model.exog) @ params)
    values = np.column_stack([model.exog, model.good_outcomes(), chance * (1 - chance)])
    own, around = _Means(model, home_codes, values), _Means(model, province_codes, values)
    province_of = pd.Series(province_codes).groupby(home_codes).first().to_numpy()
    respondents = np.bincount(home_codes)
    best = {
        block[0]: _best_levels(own.means[:, block[0]], respondents, province_of, upwards=params[block[0]] > 0)
        for block in (blocks[driver] for driver in drivers)
        if len(block) == 1
    }
    noise = rng.standard_normal((DRAWS, len(model.design.psus)))
    tables = []
    for code, name in enumerate(names):
        home = int(province_of[code])
        drawn = _joint_draws(results, own, around, (code, home), slopes, columns, noise, rng)
        steep = (own.means[code, -1] + around.means[home, -1]) / 2
        effects = steep * drawn.slopes
        share, share_province = drawn.levels[:, -1], drawn.around[:, -1]
        contributions = effects * (drawn.levels - drawn.around)[:, :-1]
        gap = share - share_province
        rows = []
        for driver in drivers:
            block = list(blocks[driver])
            row = {"driver": driver, **_summary("contribution", contributions[:, block].sum(axis=1))}
            row |= dict.fromkeys(_OF_SINGLE_COLUMNS, np.nan)
            if len(block) == 1:
                level = drawn.levels[:, block[0]]
                row |= {"mean": level[0], "mean_province": drawn.around[0, block[0]], "effect": effects[0, block[0]]}
                wanted = best[block[0]][home]
                if (wanted - level[0]) * params[block[0]] > 0:
                    expected = share + effects[:, block[0]] * (wanted - level)
                    row |= {"mean_best": wanted, **_summary("what_if", np.clip(expected, 0, 1))}
            rows.append(row)
        explained = contributions[:, columns].sum(axis=1), contributions[:, controls].sum(axis=1)
        for part, numbers in (("composition", explained[1]), ("rest", gap - sum(explained)), ("gap", gap)):
            rows.append({"driver": part, **_summary("contribution", numbers)})
        here = home_codes == code
        facts = {"district_id": name, "province_id": province_names[home], "n": int(here.sum())}
        facts |= {"share": share[0], "share_province": share_province[0]}
        tables.append(pd.DataFrame(rows).assign(psus=len(np.unique(model.psu_rows[here])), **facts))
    return pd.concat(tables, ignore_index=True), slopes


class _Means:
    """Weighted means of `values` (n x v) in groups of rows, and how much each PSU moves them."""

    def __init__(self, model: SurveyModel, codes: NDArray[Any], values: Floats) -> None:
        self._model, self._codes, self._values = model, codes, values
        groups = int(codes.max()) + 1
        self.sums = np.bincount(codes, model.weights, groups)
        self.means = grouped_sums(np.asarray(codes, dtype=np.intp), groups, model.weights, values) / self.sums[:, None]

    def influence(self, code: int, columns: int) -> Floats:
        """Linearised scores (n_psus x columns) of the first means of a group."""
        rows = np.flatnonzero(self._codes == code)
        apart = self._values[rows, :columns] - self.means[code, :columns]
        share = self._model.weights[rows] / self.sums[code]
        return grouped_sums(self._model.psu_rows[rows], len(self._model.design.psus), share, apart)


@dataclass(frozen=True)
class _Drawn:
    """Estimates in the first row and joint draws below: slopes of the columns (1 + draws x k), with the district's
    deviations, and means of columns and good outcomes in the district and around it (1 + draws x k + 1).
    """

    slopes: Floats
    levels: Floats
    around: Floats


def _joint_draws(
    results: Any,
    own: _Means,
    around: _Means,
    place: tuple[int, int],
    slopes: DistrictSlopes,
    columns: Sequence[int],
    noise: Floats,
    rng: np.random.Generator,
) -> _Drawn:
    model: SurveyModel = results.model
    width = model.exog.shape[1]
    district, province = place
    influence = np.hstack(
        [
            results.influence[:, :width],
            own.influence(district, width + 1),
            around.influence(province, width + 1),
        ]
    )
    centre = np.concatenate(
        [
            np.asarray(results.params)[:width],
            own.means[district, : width + 1],
            around.means[province, : width + 1],
        ]
    )
    draws = centre + noise @ model.design.root(influence)
    apart = rng.multivariate_normal(
        slopes.deviations[district, 1:], slopes.covariances[district, 1:, 1:], DRAWS, method="eigh"
    )
    whole = np.vstack([centre, draws])
    whole[:, list(columns)] += np.vstack([slopes.deviations[district, 1:], apart])
    return _Drawn(*np.split(whole, [width, 2 * width + 1], axis=1))


def _best_levels(levels: Floats, respondents: NDArray[Any], province_of: NDArray[Any], upwards: bool) -> Floats:
    """For each province the level that the best quarter of its districts reach, the best being the high (`upwards`).

    Of few districts this is the level of one of them, so that districts with too few respondents to publish what they
    said are left out. NaN where no district is left.
    """
    percentile = BEST_QUARTER if upwards else 100 - BEST_QUARTER
    enough = respondents >= PublicationRules().minimum_n
    found = [levels[(province_of == place) & enough] for place in range(province_of.max() + 1)]
    return np.array([np.percentile(some, percentile) if len(some) else np.nan for some in found])


def _summary(name: str, values: Floats) -> dict[str, float]:
    """The estimate (first) and the ends of its 95 % interval (from the rest)."""
    low, high = np.percentile(values[1:], _ENDS)
    return {name: float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
