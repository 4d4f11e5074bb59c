"""Sums and linearised variances of all domains of all indicators at once, for weights that are taken as given.

The same formulas as `domains`, on matrices of cells x indicators: what cell is in which domain is worked out once for
all indicators, not once for each. Calibrated and replicate weights need more than these matrices hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from perception.estimation.design import Design

Matrix = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class _Block:
    """Domains of one level and one cross of dimensions: labels, and domains x indicators of everything else."""

    level: str
    units: list[str]
    domains: list[str]
    sums: dict[str, Matrix]
    variance: Matrix
    psus: Matrix
    strata: Matrix


def all_domains(
    totals: pd.DataFrame,
    units: pd.DataFrame,
    design: Design,
    dimensions: Sequence[tuple[str, ...]],
    levels: Mapping[str, str | None],
    summed: Sequence[str],
) -> pd.DataFrame:
    """One row per indicator, level, unit_id and domain with a valid answer: columns `summed`, variance, psus and df.

    `totals` are PSU totals, `levels` gives the column of `units` of each level (None for everybody), `summed` the
    columns to sum. A row that lacks a dimension is in none of its domains. Variances are those of ratio estimates
    (Woodruff 1971) in the units of y / x, squared. KeyError names PSUs that the design does not list.
    """
    indicator, indicators = pd.factorize(totals["indicator"], sort=True)
    names = list(dict.fromkeys(["district_id", "psu", *(name for group in dimensions for name in group)]))
    coded = {name: pd.factorize(totals[name]) for name in names}
    labels = {name: np.asarray(found, dtype=object) for name, (_, found) in coded.items()}
    rows = pd.Series(range(len(design.psus)), index=design.psus["psu"]).reindex(labels["psu"])
    if rows.isna().any():
        raise KeyError(f"PSUs that the design does not list: {list(rows.index[rows.isna()][:5])}")
    # Code 0 is null: cells are found with it, domains without.
    shape = tuple(len(labels[name]) + 1 for name in names)
    cell, found = pd.factorize(np.ravel_multi_index([coded[name][0] + 1 for name in names], shape))
    codes = {name: values - 1 for name, values in zip(names, np.unravel_index(found, shape), strict=True)}
    matrices = _matrices(totals, summed, cell, np.asarray(indicator), (len(found), len(indicators)))
    placed = pd.DataFrame({"district_id": labels["district_id"]}).merge(
        units.astype({"district_id": object}), on="district_id", how="left", validate="m:1"
    )
    unit_codes = {level: pd.factorize(placed.assign(all="all")[column or "all"]) for level, column in levels.items()}
    blocks = [
        block
        for group in dimensions
        for block in _blocks(group, codes, labels, matrices, unit_codes, np.asarray(rows, dtype=np.int64), design)
    ]
    return _table(blocks, indicators, summed)


def _matrices(
    totals: pd.DataFrame, summed: Sequence[str], cell: Codes, indicator: Codes, shape: tuple[int, int]
) -> dict[str, Matrix]:
    """Cells x indicators of each column; columns that are equal (sums of x and of 1 for a share) are one matrix."""
    values = {name: totals[name].to_numpy(float) for name in summed}
    whole = {name: column.sum() for name, column in values.items()}  # unequal: not worth a comparison row by row
    place = cell * shape[1] + indicator
    made: dict[str, Matrix] = {}
    for name in summed:
        alike = (other for other in made if whole[other] == whole[name])
        twin = next((other for other in alike if np.array_equal(values[other], values[name])), None)
        if twin is not None:
            made[name] = made[twin]
        else:
            made[name] = np.bincount(place, values[name], shape[0] * shape[1]).reshape(shape).astype(float, copy=False)
    return made


def _blocks(
    group: tuple[str, ...],
    codes: Mapping[str, Codes],
    labels: Mapping[str, NDArray[Any]],
    matrices: Mapping[str, Matrix],
    unit_codes: Mapping[str, tuple[Codes, Any]],
    psu_rows: Codes,
    design: Design,
) -> Iterator[_Block]:
    known = np.flatnonzero(np.all([codes[name] >= 0 for name in ("district_id", *group)], axis=0))
    shape = tuple(len(labels[name]) for name in group)
    crossed = [
        ",".join(map("=".join, zip(group, c, strict=True))) or "all" for c in product(*(labels[name] for name in group))
    ]
    domain = np.ravel_multi_index([codes[name][known] for name in group], shape) if group else np.zeros_like(known)
    home, home_found = pd.factorize(codes["district_id"][known] * len(crossed) + domain)
    home_district, home_domain = np.divmod(home_found, len(crossed))
    home_sums = _summed_once(matrices, home, known)
    piece, piece_found = pd.factorize(codes["psu"][known] * len(home_found) + home)
    piece_psu, piece_home = np.divmod(piece_found, len(home_found))
    pieces = _summed_once({name: matrices[name] for name in ("n", "sum_wx", "sum_wy")}, piece, known)
    for level, (unit, units_found) in unit_codes.items():
        inside = np.flatnonzero(unit[home_district] >= 0)
        number, found = pd.factorize(unit[home_district[inside]] * len(crossed) + home_domain[inside])
        sums = _summed_once(home_sums, number, inside)
        of_home = np.full(len(home_found), -1)
        of_home[inside] = number
        kept = np.flatnonzero(of_home[piece_home] >= 0)
        group_number, group_found = pd.factorize(piece_psu[kept] * len(found) + of_home[piece_home[kept]])
        own = _summed_once(pieces, group_number, kept)
        psu, place = np.divmod(group_found, len(found))
        unit_found, domain_found = np.divmod(found, len(crossed))
        units_named = np.asarray(units_found, dtype=object)[unit_found].tolist()
        named = [crossed[code] for code in domain_found]
        yield _Block(level, units_named, named, sums, *_variances(sums, own, psu_rows[psu], place, design))


def _summed_once(matrices: Mapping[str, Matrix], number: Codes, rows: Codes) -> dict[str, Matrix]:
    """Sums of `rows` of each matrix by `number`; matrices that are the same object are summed once."""
    groups = int(number.max(initial=-1)) + 1
    alone = groups == len(number)  # each row a group of its own, numbered in order
    membership = sparse.csr_array((np.ones(len(rows)), (number, np.arange(len(rows)))), (groups, len(rows)))
    made: dict[int, Matrix] = {}
    for matrix in matrices.values():
        if id(matrix) not in made:
            taken = matrix if len(rows) == len(matrix) else matrix[rows]
            made[id(matrix)] = taken if alone else np.asarray(membership @ taken)
    return {name: made[id(matrix)] for name, matrix in matrices.items()}


def _variances(
    sums: Mapping[str, Matrix], own: Mapping[str, Matrix], psu_row: Codes, place: Codes, design: Design
) -> tuple[Matrix, Matrix, Matrix]:
    """Variance, PSUs with a case and strata with a case of each domain, from the sums by PSU and domain `own`."""
    wx = np.where(sums["n"] > 0, sums["sum_wx"], 1.0)
    ratio = sums["sum_wy"] / wx
    scores = own["sum_wy"] - ratio[place] * own["sum_wx"]
    psu_factors, stratum_factors = design.factors
    stratum, count = design.stratum_codes[psu_row], len(place)
    pair, pairs_found = pd.factorize(stratum * len(wx) + place)
    pair_stratum, pair_place = np.divmod(pairs_found, len(wx))
    to_pair = sparse.csr_array((np.ones(count), (pair, np.arange(count))), (len(pairs_found), count))
    columns, pair_columns = np.arange(count), np.arange(len(pairs_found))
    by_psu = sparse.csr_array((psu_factors[psu_row], (place, columns)), (len(wx), count))
    by_pair = sparse.csr_array((stratum_factors[pair_stratum], (pair_place, pair_columns)), (len(wx), len(pairs_found)))
    variance = (by_psu @ (scores * scores) - by_pair @ (to_pair @ scores) ** 2) / wx**2
    cases = (own["n"] > 0).astype(float)
    psus = sparse.csr_array((np.ones(count), (place, columns)), by_psu.shape) @ cases
    strata = sparse.csr_array((np.ones(len(pairs_found)), (pair_place, pair_columns)), by_pair.shape) @ (
        (to_pair @ cases > 0).astype(float)
    )
    return np.maximum(variance, 0.0), psus, strata


def _table(blocks: Sequence[_Block], indicators: pd.Index, summed: Sequence[str]) -> pd.DataFrame:
    """The domains with a valid answer, indicator by indicator."""
    size = sum(len(block.units) for block in blocks)
    present = np.flatnonzero(np.vstack([block.sums["n"] for block in blocks]).T.ravel() > 0)

    def column(parts: Sequence[Matrix]) -> Matrix:
        return np.vstack(parts).T.ravel()[present]

    def texts(values: Sequence[str]) -> Any:
        found = sorted(set(values))
        place = pd.Index(found).get_indexer(pd.Index(values))
        return pd.Categorical.from_codes(place[present % size], pd.Index(found))

    psus = column([block.psus for block in blocks])
    return pd.DataFrame(
        {
            "indicator": pd.Categorical.from_codes(present // size, indicators),
            "level": texts([block.level for block in blocks for _ in block.units]),
            "unit_id": texts([unit for block in blocks for unit in block.units]),
            "domain": texts([domain for block in blocks for domain in block.domains]),
            **{name: column([block.sums[name] for block in blocks]) for name in summed},
            "variance": column([block.variance for block in blocks]),
            "psus": psus.astype(int),
            "df": (psus - column([block.strata for block in blocks])).astype(int),
        }
    )
