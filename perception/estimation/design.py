"""The sample design: every sampled PSU, its variance stratum, and the covariance of weighted scores under it.

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
    """A stratified with-replacement design of primary sampling units.

    `psus` has one row per sampled PSU (columns variance_stratum, psu), also PSUs without a case in the data at hand;
    `stratum_codes` numbers the stratum of each row, `stratum_sizes` counts the PSUs of each stratum.
    """

    psus: pd.DataFrame
    stratum_codes: NDArray[np.intp]
    stratum_sizes: NDArray[np.intp]

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

        V = sum_h n_h/(n_h-1) sum_j (T_hj - mean_h)(T_hj - mean_h)', where n_h counts every PSU of the stratum
        (Wolter 2007, ultimate clusters); a stratum of one PSU is centred at zero, the mean of all linearised scores
        (R survey's lonely.psu="adjust").
        """
        totals, means, weights, mean_weights = self._pieces(scores)
        within = (totals.T @ sparse.diags_array(weights) @ totals).toarray()
        between = (means.T @ sparse.diags_array(mean_weights) @ means).toarray()
        return np.asarray(within - between, dtype=np.float64)

    def variances(self, scores: Any) -> NDArray[np.float64]:
        """Diagonal of `covariance` (k), without forming the whole matrix."""
        totals, means, weights, mean_weights = self._pieces(scores)
        variance = totals.power(2).T @ weights - means.power(2).T @ mean_weights
        return np.maximum(np.asarray(variance, dtype=np.float64), 0.0)

    def _pieces(self, scores: Any) -> tuple[Any, Any, NDArray[np.float64], NDArray[np.float64]]:
        totals = sparse.csc_array(scores)
        sizes = self.stratum_sizes.astype(float)
        single = sizes == 1
        factors = np.where(single, 1.0, sizes / np.where(single, 1.0, sizes - 1.0))
        membership = sparse.csr_array(
            (np.ones(len(self.stratum_codes)), (self.stratum_codes, np.arange(len(self.stratum_codes)))),
            shape=(len(sizes), len(self.stratum_codes)),
        )
        sums = sparse.csc_array(membership @ totals)
        return totals, sums, factors[self.stratum_codes], np.where(single, 0.0, factors / sizes)


def design_from_psus(design_psus: pd.DataFrame) -> Design:
    """Build a `Design` from a frame with one row per sampled PSU and columns variance_stratum, psu (unique pairs)."""
    psus = design_psus[["variance_stratum", "psu"]].sort_values(["variance_stratum", "psu"]).reset_index(drop=True)
    if psus.duplicated().any():
        raise ValueError("design_psus lists the same PSU twice")
    codes, _ = pd.factorize(psus["variance_stratum"])
    return Design(psus, np.asarray(codes, dtype=np.intp), np.bincount(codes).astype(np.intp))


def design_psus(raw: pd.DataFrame, responses: pd.DataFrame, wave: Wave, units: pd.DataFrame) -> pd.DataFrame:
    """Table `design_psus` of a wave, from its raw rows (sampled PSUs) and its responses; `units` are its districts."""
    sampled = sampled_psus(raw, wave, responses).assign(population_psus=None)
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
