"""Weighted counts of any columns of respondents with standard errors, for tables that no indicator or domain declares.

Reads respondents, in Narwhals expressions: one pass on whichever engine holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from perception.errors import InputError, Problem


def weighted_counts(
    frame: Any, by: Sequence[str], weight: str = "weight", stratum: str | None = None, psu: str | None = None
) -> pd.DataFrame:
    """Weighted count of each combination of `by` in a lazy or eager native frame, with its standard error.

    Returns one row per combination that occurs (null is a category of its own), in order: the columns of `by`, n
    (rows), estimate and se (both in units of the weight). Without `psu` each row is a sampling unit of its own, without
    `stratum` all are in one stratum; `psu` must be unique within its stratum, and every PSU of the design have a row.
    V = sum_h n_h/(n_h-1) (sum_j z_hj^2 - (sum_j z_hj)^2/n_h), z the weight of the combination in a PSU and n_h all PSUs
    of the stratum (Wolter 2007, ultimate clusters). InputError when a stratum has a single PSU.
    """
    keys = [f"by{number}" for number in range(len(by))]
    columns = {key: nw.col(name) for key, name in zip(keys, by, strict=True)}
    columns["z"] = nw.col(weight).cast(nw.Float64)
    columns["stratum"] = nw.lit(0) if stratum is None else nw.col(stratum)
    if psu is not None:
        columns["psu"] = nw.col(psu)
    table = nw.from_native(frame).lazy().select(**columns)
    taken = table.with_columns(n=nw.lit(1))
    units = table.select("stratum")
    if psu is not None:
        taken = taken.group_by(*keys, "stratum", "psu").agg(nw.col("z").sum(), nw.col("n").sum())
        units = table.select("stratum", "psu").unique()
    sums = taken.with_columns(z2=nw.col("z") * nw.col("z")).group_by(*keys, "stratum")
    cells: pd.DataFrame = sums.agg(*(nw.col(name).sum() for name in ("n", "z", "z2"))).collect("pandas").to_native()
    strata: pd.DataFrame = units.group_by("stratum").agg(size=nw.len()).collect("pandas").to_native()
    if (single := strata.loc[strata["size"] == 1, "stratum"]).size:
        raise InputError(
            Problem(
                f"stratum {name}" if stratum else "the frame",
                "has one sampling unit, and a variance needs two",
                "Merge it with another stratum first.",
            )
            for name in single.sort_values()
        )
    size = cells["stratum"].map(strata.set_index("stratum")["size"]).to_numpy(float)
    within = np.maximum(cells["z2"] - cells["z"] ** 2 / size, 0.0)
    cells["variance"] = size / (size - 1) * within
    found = cells.groupby(keys, dropna=False, observed=True)[["n", "z", "variance"]].sum().reset_index()
    found = found.assign(n=found["n"].astype(int), se=np.sqrt(found.pop("variance")))
    return found.rename(columns={"z": "estimate", **dict(zip(keys, by, strict=True))})
