"""Design-based estimates against R's survey package on its textbook samples (needs ../shared/golden)."""

from __future__ import annotations

import json
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from perception.estimation.contrasts import contrasts, difference_matrix
from perception.estimation.design import Design, design_from_psus
from perception.estimation.domains import (
    domain_cells,
    domain_covariance,
    domain_estimates,
    domain_totals,
    sampled_domains,
)
from perception.estimation.intervals import korn_graubard_interval, logit_interval
from perception.estimation.totals import Quantity, totals

TIGHT = {"rtol": 1e-9, "atol": 1e-12}
DESIGNS = {
    "strat_wr": ("apistrat.csv", "stype", "snum", None),
    "strat_fpc": ("apistrat.csv", "stype", "snum", "fpc"),
    "clus1_wr": ("apiclus1.csv", None, "dnum", None),
    "clus1_fpc": ("apiclus1.csv", None, "dnum", "fpc"),
    "clus2_wr": ("apiclus2.csv", None, "dnum", None),
}
"""File, and its columns of strata, PSUs and PSUs of the stratum in the population."""


class Sample:
    """One of the textbook samples, its design, and its cells with school type as the only domain dimension."""

    def __init__(self, folder: Path, key: str):
        file, stratum, psu, population = DESIGNS[key]
        frame = pd.read_csv(folder / file)
        self.golden: dict[str, Any] = json.loads((folder / "r_golden_design.json").read_text())[key]
        self.frame = pd.DataFrame(
            {
                "district_id": "one",
                "sex": frame["stype"],
                "urban": None,
                "age_group": None,
                "wealth": None,
                "stratum": frame[stratum] if stratum else "all",
                "psu": frame[psu].astype(str),
                "weight": frame["pw"],
                "api00": frame["api00"].astype(float),
                "api99": frame["api99"].astype(float),
                "enroll": frame["enroll"].astype(float),
                "api_stu": frame["api.stu"].astype(float),
                "awarded": np.where(frame["awards"] == "Yes", 1.0, 0.0),
            }
        )
        psus = self.frame[["stratum", "psu"]].rename(columns={"stratum": "variance_stratum"})
        if population:
            psus = psus.assign(population_psus=frame[population])
        self.design: Design = design_from_psus(psus.drop_duplicates())

    def cells(self, columns: list[str], x: str | None = None) -> pd.DataFrame:
        """Cells of several variables; like R, a respondent without one of them is left out of all."""
        valid = reduce(and_, [~nw.col(column).is_null() for column in [*columns, *([x] if x else [])]])
        quantities = {column: Quantity(valid, nw.col(column), nw.col(x) if x else None) for column in columns}
        by = ["district_id", "sex", "urban", "age_group", "wealth", "stratum", "psu"]
        units = pd.DataFrame({"district_id": ["one"], "division_id": ["one"], "province_id": ["one"]})
        cells = domain_cells(totals(self.frame, quantities, by), units)
        return cells[cells["level"] == "all"]


@pytest.fixture(params=list(DESIGNS), scope="module")
def sample(request: pytest.FixtureRequest, shared_golden: Path) -> Sample:
    return Sample(shared_golden, request.param)


def test_means_standard_errors_and_their_covariance(sample: Sample) -> None:
    names = ["api00", "api99", "enroll"]
    cells = sample.cells(names)
    frame, covariance = domain_covariance(cells[cells["domain"] == "all"], sample.design)
    order = [frame["indicator"].tolist().index(name) for name in names]
    golden = sample.golden["mean"]
    np.testing.assert_allclose(frame["estimate"].to_numpy()[order], [golden["coef"][n] for n in names], **TIGHT)
    np.testing.assert_allclose(covariance[np.ix_(order, order)], golden["vcov"], **TIGHT)


def test_deff_with_replacement(sample: Sample) -> None:
    estimates = domain_estimates(sample.cells(["api00"]), sample.design, {"api00": "mean"})
    whole = estimates[estimates["domain"] == "all"].iloc[0]
    golden = sample.golden["mean_api00"]
    np.testing.assert_allclose(whole["estimate"], golden["coef"], **TIGHT)
    np.testing.assert_allclose(whole["se"], golden["se"], **TIGHT)
    np.testing.assert_allclose([whole["low"], whole["high"]], golden["ci_t"], **TIGHT)
    np.testing.assert_allclose(whole["deff"], sample.golden["mean_deff_replace"], **TIGHT)
    assert whole["df"] == sample.golden["degf"]


def test_domain_means_deffs_and_covariance(sample: Sample) -> None:
    cells = sample.cells(["api00"])
    cells = cells[cells["domain"] != "all"]
    golden = pd.DataFrame(sample.golden["by_stype_mean"]).sort_values("stype")
    frame, covariance = domain_covariance(cells, sample.design)
    order = np.argsort(frame["domain"].to_numpy())
    np.testing.assert_allclose(covariance[np.ix_(order, order)], sample.golden["by_stype_vcov"], **TIGHT)
    estimates = domain_estimates(cells, sample.design, {"api00": "mean"}).sort_values("domain")
    np.testing.assert_allclose(estimates["estimate"], golden["api00"], **TIGHT)
    np.testing.assert_allclose(estimates["se"], golden["se"], **TIGHT)
    # R's plain deff compares with sampling without replacement: ours / (1 - n / sum of weights) in each domain.
    sums = sample.frame.groupby("sex")["weight"].agg(["size", "sum"]).sort_index()
    np.testing.assert_allclose(
        estimates["deff"].to_numpy() / (1 - sums["size"] / sums["sum"]).to_numpy(), golden["DEff.api00"], **TIGHT
    )


def test_domain_shares(sample: Sample) -> None:
    estimates = domain_estimates(sample.cells(["awarded"]), sample.design, {"awarded": "share"})
    golden = pd.DataFrame(sample.golden["by_stype_prop"]).sort_values("stype")
    domains = estimates[estimates["domain"] != "all"].sort_values("domain")
    np.testing.assert_allclose(domains["estimate"], golden["p"], **TIGHT)
    np.testing.assert_allclose(domains["se"], golden["se"], **TIGHT)


def test_intervals_of_a_share(sample: Sample) -> None:
    estimates = domain_estimates(sample.cells(["awarded"]), sample.design, {"awarded": "share"})
    whole = estimates[estimates["domain"] == "all"]
    p, se, df, n, n_eff = (whole[c].to_numpy(float) for c in ("estimate", "se", "df", "n", "n_eff"))
    np.testing.assert_allclose(p, sample.golden["prop_awards"]["coef"]["awardsYes"], **TIGHT)
    np.testing.assert_allclose(se, sample.golden["prop_awards"]["se"]["awardsYes"], **TIGHT)
    np.testing.assert_allclose(np.ravel(logit_interval(p, se, df)), sample.golden["ciprop_logit"], **TIGHT)
    np.testing.assert_allclose(np.ravel(korn_graubard_interval(p, n, n_eff, df)), sample.golden["ciprop_beta"], **TIGHT)


def test_totals(sample: Sample) -> None:
    golden = sample.golden["total"]
    totals_frame = domain_totals(sample.cells(["enroll"]), sample.design)
    whole = totals_frame[totals_frame["domain"] == "all"].iloc[0]
    np.testing.assert_allclose(whole["estimate"], golden["coef"]["enroll"], **TIGHT)
    np.testing.assert_allclose(whole["se"], golden["se"]["enroll"], **TIGHT)
    domains = totals_frame[totals_frame["domain"] != "all"].sort_values("domain")
    by_type = pd.DataFrame(sample.golden["by_stype_total"]).sort_values("stype")
    np.testing.assert_allclose(domains["estimate"], by_type["enroll"], **TIGHT)
    np.testing.assert_allclose(domains["se"], by_type["se"], **TIGHT)


def test_ratio(sample: Sample) -> None:
    frame, covariance = domain_covariance(sample.cells(["api_stu"], x="enroll").query("domain == 'all'"), sample.design)
    golden = sample.golden["ratio_apistu_enroll"]
    np.testing.assert_allclose(frame["estimate"], golden["coef"], **TIGHT)
    np.testing.assert_allclose(np.sqrt(covariance[0, 0]), golden["se"], **TIGHT)


def test_difference_of_two_domains(shared_golden: Path) -> None:
    cells = Sample(shared_golden, "clus1_fpc").cells(["api00"])
    sample = Sample(shared_golden, "clus1_fpc")
    golden = json.loads((shared_golden / "r_golden_design.json").read_text())["contrast_E_minus_M_clus1"]
    sampled = sampled_domains(cells, sample.design)
    matrix = difference_matrix(sampled.domains, [({"domain": "sex=E"}, {"domain": "sex=M"})])
    found = contrasts(sampled, matrix).rows.iloc[0]
    np.testing.assert_allclose([found["estimate"], np.sqrt(found["variance"])], [golden["est"], golden["se"]], **TIGHT)


def test_a_stratum_of_one_psu_is_adjusted(shared_golden: Path) -> None:
    """All but the first of the high schools left out: R's options(survey.lonely.psu = "adjust")."""
    golden = json.loads((shared_golden / "r_golden_design.json").read_text())["lonely"]["adjust"]
    whole = Sample(shared_golden, "strat_wr")
    high = whole.frame.index[whole.frame["stratum"] == "H"]
    whole.frame = whole.frame.drop(index=high[1:])
    psus = whole.frame[["stratum", "psu"]].rename(columns={"stratum": "variance_stratum"})
    estimates = domain_estimates(whole.cells(["api00"]), design_from_psus(psus), {"api00": "mean"})
    row = estimates[estimates["domain"] == "all"].iloc[0]
    np.testing.assert_allclose(
        [row["estimate"], row["se"], row["n"]], [golden[k] for k in ("mean", "se", "n")], **TIGHT
    )
