"""The sample design: every sampled PSU, its variance stratum, and the covariance of weighted scores under it, also
when the weights were calibrated.

Everything here is about PSUs and strata; what the scores are (a domain share, a regression) is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from perception.errors import InputError, Problem
from perception.intake.harmonise import sampled_psus
from perception.intake.wave_file import Wave
from perception.schemas import conform


@dataclass(frozen=True)
class Design:
    """A stratified design of primary sampling units.

    `psus` has one row per sampled PSU (columns variance_stratum, psu), also PSUs without a case in the data at hand;
    `stratum_codes` numbers the stratum of each row, `stratum_sizes` counts the PSUs of each stratum, and `unsampled`
    is 1 - f: the part of a stratum's PSUs in the population that was not drawn, 1 for sampling with replacement.
    """

    psus: pd.DataFrame
    stratum_codes: NDArray[np.intp]
    stratum_sizes: NDArray[np.intp]
    unsampled: NDArray[np.float64]

    def psu_index(self, variance_stratum: ArrayLike, psu: ArrayLike) -> NDArray[np.intp]:
        """Row number in `psus` of each (variance_stratum, psu) pair; KeyError names pairs that were never sampled."""
        keys = pd.MultiIndex.from_arrays([np.asarray(variance_stratum), np.asarray(psu)])
        rows = pd.MultiIndex.from_frame(self.psus).get_indexer(keys)
        if (rows < 0).any():
            strangers = keys[rows < 0].unique()[:5].tolist()
            raise KeyError(f"PSUs that the design does not list: {strangers}")
        return np.asarray(rows, dtype=np.intp)

    def covariance(self, scores: Any) -> NDArray[np.float64]:
        """Covariance (k x k) of the totals of `scores` (n_psus x k, rows as `psus`, dense or sparse).

        V = sum_h (1-f_h) n_h/(n_h-1) sum_j (T_hj - mean_h)(T_hj - mean_h)', where n_h counts every PSU of the stratum
        (Wolter 2007, ultimate clusters); a stratum of one PSU is centred at zero, the mean of all linearised scores
        (R survey's lonely.psu="adjust").
        """
        totals, means, weights, mean_weights = self._pieces(scores)
        covariance = totals.T @ (sparse.diags_array(weights) @ totals)
        covariance = covariance - means.T @ (sparse.diags_array(mean_weights) @ means)
        return np.asarray(covariance.toarray() if sparse.issparse(covariance) else covariance, dtype=np.float64)

    def variances(self, scores: Any) -> NDArray[np.float64]:
        """Diagonal of `covariance` (k), without forming the whole matrix."""
        totals, means, weights, mean_weights = self._pieces(scores)
        variance = (totals * totals).T @ weights - (means * means).T @ mean_weights
        return np.maximum(np.asarray(variance, dtype=np.float64), 0.0)

    def root(self, scores: ArrayLike) -> NDArray[np.float64]:
        """R (n_psus x k) with R'R the `covariance` of dense `scores`: independent standard normals times R are draws of
        their totals.
        """
        values = np.asarray(scores, dtype=np.float64)
        sums = np.zeros((len(self.stratum_sizes), values.shape[1]))
        np.add.at(sums, self.stratum_codes, values)
        means = np.where(self.stratum_sizes[:, None] > 1, sums / self.stratum_sizes[:, None], 0.0)
        apart: NDArray[np.float64] = values - means[self.stratum_codes]
        return apart * np.sqrt(self.factors[0])[:, None]

    def degrees_of_freedom(self, cases: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """PSUs with a case, and PSUs less strata with a case, of each column of `cases` (n_psus x k, sparse).

        Source: Korn and Graubard 1998.
        """
        rows, columns = sparse.coo_array(cases).coords
        count = cases.shape[1]
        psus = np.bincount(columns, minlength=count)
        strata = np.unique(self.stratum_codes[rows] * np.int64(count) + columns) % max(count, 1)
        return psus, psus - np.bincount(strata, minlength=count)

    def _pieces(self, scores: Any) -> tuple[Any, Any, NDArray[np.float64], NDArray[np.float64]]:
        totals = sparse.csc_array(scores) if sparse.issparse(scores) else np.asarray(scores, dtype=np.float64)
        sizes = self.stratum_sizes.astype(float)
        weights, mean_weights = self.factors
        membership = sparse.csr_array(
            (np.ones(len(self.stratum_codes)), (self.stratum_codes, np.arange(len(self.stratum_codes)))),
            shape=(len(sizes), len(self.stratum_codes)),
        )
        return totals, membership @ totals, weights, mean_weights

    @property
    def factors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the squares of PSU totals and of stratum totals count in a variance (n_psus, n_strata)."""
        sizes = self.stratum_sizes.astype(float)
        single = sizes == 1
        factors = self.unsampled * np.where(single, 1.0, sizes / np.where(single, 1.0, sizes - 1.0))
        return factors[self.stratum_codes], np.where(single, 0.0, factors / sizes)


@dataclass(frozen=True)
class Calibration:
    """What variances must know of calibrated weights w: the auxiliaries a that they were made to reproduce.

    `auxiliaries` is n_psus x k (sparse, rows as `Design.psus`): the sum of w a over all responses of each PSU, whether
    or not they are in a domain. `inverse` is a generalised inverse (k x k) of the sum of d a a', with d the weights
    before calibration.
    """

    auxiliaries: Any
    inverse: NDArray[np.float64]

    def residuals(self, scores: Any, products: Any) -> NDArray[np.float64]:
        """PSU totals of w (u - a'B), B the regression of the scores u on a in the metric of d.

        `scores` (n_psus x m) are the PSU totals of w u, `products` (k x m) the sums of d a u; both dense or sparse.
        Their `Design.variances` are those of a calibration estimator (Deville and Särndal 1992): linear calibration
        and raking alike, and post-stratification as the case of one margin. d is taken as given: what the adjustment
        for non-response adds or takes away is left out.
        """
        return np.asarray(scores - self.auxiliaries @ (self.inverse @ products), dtype=np.float64)


def calibration(
    design: Design, psu_rows: ArrayLike, weights: ArrayLike, uncalibrated: ArrayLike, auxiliaries: Any
) -> Calibration:
    """The `Calibration` of rows that are respondents, or cells in which all have the same auxiliaries.

    `psu_rows` are their places in `design.psus`, `weights` and `uncalibrated` their (sums of) weights after and before,
    `auxiliaries` rows x k.
    """
    known = sparse.csr_array(auxiliaries)
    after, before = (np.asarray(values, dtype=np.float64) for values in (weights, uncalibrated))
    placed = sparse.csr_array((after, (np.asarray(psu_rows), np.arange(len(after)))), (len(design.psus), len(after)))
    gram = (known.T @ (sparse.diags_array(before) @ known)).toarray()
    return Calibration(placed @ known, generalised_inverse(gram))


def generalised_inverse(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a matrix of cross-products, of which columns may be redundant (two margins share their total).

    Each column is first brought to length one, so that what counts as redundant does not hang on units; blocks of
    columns that have nothing in common (margins by district) are inverted one by one.
    """
    lengths = np.sqrt(np.diag(gram))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    scaled, inverse = scale[:, None] * gram * scale, np.zeros_like(gram)
    blocks, block = sparse.csgraph.connected_components(sparse.csr_array(gram), directed=False)
    for number in range(blocks):
        rows = np.ix_(block == number, block == number)
        inverse[rows] = np.linalg.pinv(scaled[rows], rtol=1e-10, hermitian=True)
    return np.asarray(scale[:, None] * inverse * scale, dtype=np.float64)


def design_from_psus(design_psus: pd.DataFrame) -> Design:
    """Build a `Design` from a frame with one row per sampled PSU and columns variance_stratum, psu (unique pairs).

    With a column population_psus (of each `stratum`, or of each variance_stratum where there is no such column) the
    variance of a stratum is multiplied by 1 - n/N (Cochran 1977, section 2.6). Strata that were collapsed add theirs
    up; one null among them means with replacement. What later stages of sampling would add is left out.
    """
    psus = design_psus.sort_values(["variance_stratum", "psu"], ignore_index=True)
    known = psus[["variance_stratum", "psu"]]
    if known.duplicated().any():
        raise ValueError("design_psus lists the same PSU twice")
    codes, _ = pd.factorize(known["variance_stratum"])
    sizes = np.bincount(codes)
    unsampled = np.ones(len(sizes))
    if "population_psus" in psus:
        strata = pd.DataFrame(
            {
                "code": codes,
                "stratum": psus["stratum" if "stratum" in psus else "variance_stratum"],
                "population": psus["population_psus"].astype("float64"),
            }
        ).drop_duplicates(["code", "stratum"])
        population = strata.groupby("code")["population"].agg(lambda counts: counts.sum(skipna=False)).to_numpy()
        unsampled = np.where(np.isnan(population), 1.0, np.maximum(1 - sizes / population, 0.0))
    return Design(known, np.asarray(codes, dtype=np.intp), sizes.astype(np.intp), unsampled)


def design_psus(raw: pd.DataFrame, responses: pd.DataFrame, wave: Wave, units: pd.DataFrame) -> pd.DataFrame:
    """Table `design_psus` of a wave, from its raw rows (sampled PSUs) and its responses; `units` are its districts.

    Places are null: interview coordinates get no further than the checks, unless the wave asks for displaced centres
    (`perception.geography.displacement`).
    """
    sampled = sampled_psus(raw, wave, responses).assign(longitude=np.nan, latitude=np.nan)
    return conform(assign_variance_strata(sampled, units, wave.design.single_psu, wave.id), "design_psus")


def assign_variance_strata(sampled: pd.DataFrame, units: pd.DataFrame, policy: str, where: str) -> pd.DataFrame:
    """Add the strata that variances use to a frame of sampled PSUs (stratum, psu, district_id, urban).

    `collapse` joins a stratum of one PSU with the other stratum of its district or, where there is none, with the
    stratum of the same kind (urban or rural) in the nearest district of the division; `centre` leaves it alone, to be
    centred at zero; `fail` raises InputError. `units` needs district_id, division_id, longitude, latitude. The result
    also has `single_psu`: what was done (`collapsed`, `centred`, null). `where` names the wave in messages.
    """
    frame = sampled.reset_index(drop=True).copy()
    sizes = frame.groupby("stratum")["psu"].transform("size")
    frame["variance_stratum"] = frame["stratum"]
    frame["single_psu"] = pd.Series(pd.NA, index=frame.index, dtype="str")
    singles = frame.loc[sizes == 1].sort_values("stratum")
    if policy == "fail" and len(singles):
        raise InputError(
            Problem(
                f"{where}, stratum {row.stratum}",
                "has one sampled PSU, and a variance needs two",
                "Set design.single_psu to collapse or centre, or merge the stratum with another.",
            )
            for row in singles.itertuples()
        )
    if policy == "collapse":
        for row in singles.itertuples():
            own = frame.at[row.Index, "variance_stratum"]
            if (frame["variance_stratum"] == own).sum() > 1:
                continue
            partner = _partner_stratum(frame, row.Index, units)
            if partner is not None:
                frame.loc[frame["variance_stratum"] == own, "variance_stratum"] = partner
                frame.at[row.Index, "single_psu"] = "collapsed"
    alone = frame.groupby("variance_stratum")["psu"].transform("size") == 1
    frame.loc[alone, "single_psu"] = "centred"
    return frame


def _partner_stratum(frame: pd.DataFrame, row: Any, units: pd.DataFrame) -> str | None:
    """The variance stratum that the single PSU in `row` joins, or None when its division offers none."""
    own = frame.loc[row]
    others = frame[frame["variance_stratum"] != own["variance_stratum"]]
    same_district = others[others["district_id"] == own["district_id"]]
    if len(same_district):
        return str(same_district["variance_stratum"].min())
    places = units.set_index("district_id")
    home: Any = places.loc[own["district_id"]]
    same_kind = others[
        (others["urban"].fillna("") == ("" if pd.isna(own["urban"]) else own["urban"]))
        & (others["district_id"].map(places["division_id"]) == home["division_id"])
    ]
    if same_kind.empty:
        return None
    # Squared degrees, longitude shrunk to the latitude: enough to say which neighbour is nearest.
    shrink = np.cos(np.radians(home["latitude"]))
    distance = ((same_kind["district_id"].map(places["longitude"]) - home["longitude"]) * shrink) ** 2 + (
        same_kind["district_id"].map(places["latitude"]) - home["latitude"]
    ) ** 2
    nearest = same_kind.assign(distance=distance).sort_values(["distance", "variance_stratum"])
    return str(nearest["variance_stratum"].iloc[0])
