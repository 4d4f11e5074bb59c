"""Do the methods keep their promises? Districts and samples are drawn anew many times, and estimated by the pipeline.

Run by hand: `python benchmarks/validity.py [--replicates 1000]`; writes `validity.csv`, `validity.md` and
`validity.svg` into `docs/validity/`. Each replicate draws the true satisfaction of the 68 districts of the 2018 map for
two indicators (about 45 % and 15 % satisfied), half of its variance following from the census covariates; then a
stratified two-stage sample of unequal size, take 12 a PSU and unequal weights, with a design effect of about 2.3. What
is reported is how often intervals and rank sets hold the truth, how true the probabilities are, and what the small-area
model gains.
"""

from __future__ import annotations

import argparse
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from perception.estimation.design import design_from_psus
from perception.estimation.domains import domain_cells, domain_estimates
from perception.estimation.publication import judged_direct, published_beside
from perception.estimation.ranking import lowest_count, rank_summary
from perception.estimation.small_area import round_models
from perception.geography import load_gazetteer, vintage_units
from perception.schemas import conform

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/validity"
LEVELS = {"about_half": -0.2, "about_one_in_seven": -1.8}
"""Indicators and the logit of their mean."""
TAKE, PSUS_IN_STRATUM = 12, 200
DISTRICT_SD, PSU_SD, WEIGHT_SD, RURAL = 0.27, 0.55, 0.45, -0.25
"""Standard deviations on the logit scale (of districts beyond what covariates say, and of PSUs), of log weights, and
what living in a rural area adds.
"""
DECILES = np.linspace(0, 1, 11)


def one_replicate(seed: int) -> pd.DataFrame:
    """A row per district and indicator: truth, direct and small-area estimates, ranks and probabilities."""
    warnings.simplefilter("error")
    rng = np.random.default_rng([20_18, seed])
    units = vintage_units(load_gazetteer(ROOT / "data/raw/reference"), "2018")
    districts = len(units)
    psus = np.maximum(2, rng.permutation(np.linspace(2, 17, districts)).round().astype(int))  # in each of two strata
    urban = np.clip(units["urban_share"].to_numpy(float), 0.05, 0.95)
    density = np.log(units["population_2023"].astype(float) / units["area_km2"].astype(float)).to_numpy()
    explained = 0.15 * (urban - urban.mean()) / urban.std() + 0.15 * (density - density.mean()) / density.std()
    explained += 0.12 * (units["province_id"] == units["province_id"].iloc[-1]).to_numpy(float)

    stratum_district = np.repeat(np.arange(districts), 2)
    stratum_urban = np.tile([True, False], districts)
    persons = np.where(stratum_urban, urban[stratum_district], 1 - urban[stratum_district])
    stratum = np.repeat(np.arange(2 * districts), psus[stratum_district])
    place = np.arange(len(stratum))
    weight = (
        persons[stratum]
        / psus[stratum_district[stratum]]
        * units["population_2023"].to_numpy(float)[stratum_district[stratum]]
    )
    weights = weight[:, None] / TAKE * rng.lognormal(0, WEIGHT_SD, (len(place), TAKE))
    truths, parts = {}, []
    for indicator, level in LEVELS.items():
        logit = level + explained + rng.normal(0, DISTRICT_SD, districts)
        of_stratum = logit[stratum_district] + np.where(stratum_urban, 0, RURAL)
        of_psus = of_stratum[:, None] + rng.normal(0, PSU_SD, (2 * districts, PSUS_IN_STRATUM))
        chance = 1 / (1 + np.exp(-of_psus))
        truths[indicator] = np.bincount(stratum_district, persons * chance.mean(axis=1), districts)
        drawn = chance[stratum, rng.integers(0, PSUS_IN_STRATUM, len(place))]
        y = rng.random((len(place), TAKE)) < drawn[:, None]
        sums = {"n": TAKE, "n_positive": y.sum(axis=1), "n_dont_know": 0, "n_refused": 0}
        sums |= {"sum_w": weights.sum(axis=1), "sum_w2": (weights**2).sum(axis=1), "sum_wy": (weights * y).sum(axis=1)}
        frame = pd.DataFrame({"indicator": indicator, "psu": place.astype(str), **sums})
        frame = frame.assign(sum_wx=frame["sum_w"], sum_wx2=frame["sum_w"], sum_wxy=frame["sum_wy"])
        frame = frame.assign(sum_wy2=frame["sum_wy"], sum_dx=np.nan, sum_dy=np.nan)
        parts.append(frame.assign(district_id=units["district_id"].to_numpy()[stratum_district[stratum]]))
    totals = pd.concat(parts, ignore_index=True)
    design = design_from_psus(pd.DataFrame({"variance_stratum": stratum.astype(str), "psu": place.astype(str)}))
    estimates = domain_estimates(domain_cells(totals, units, [()]), design, dict.fromkeys(LEVELS, "share"))
    estimates = conform(estimates.assign(wave="w"), "district_estimates")

    facts = {"wave": "w", "round": "r", "instrument": "i", "vintage": "2018", "simulated": True}
    waves = pd.DataFrame([facts | {"first_day": "2018-01-01"}])
    described = {"kind": "share", "sensitive": False, "minimum_level": "district", "simulated": True, "weights": None}
    indicators = pd.DataFrame([{"wave": "w", "indicator": name, **described} for name in LEVELS])
    rows = []
    for model in round_models(estimates, waves, indicators, {"2018": units}):
        indicator = str(model.key["indicator"])
        low, high = np.quantile(model.draws, [0.025, 0.975], axis=0)
        table = model.districts[["wave", "district_id", "direct", "n"]].assign(
            indicator=indicator,
            simulated=True,
            estimate=model.draws.mean(axis=0),
            se=model.draws.std(axis=0),
            low=low,
            high=high,
            truth=truths[indicator],
            shrinkage=0.0,
            deff=1.0,
            synthetic=0.0,
            residual=0.0,
        )
        ranks = rank_summary(model.draws)[["rank_low", "rank_high", "p_lowest", "band"]]
        true_rank = pd.Series(truths[indicator]).rank()
        rows.append(table.join(ranks).assign(true_rank=true_rank, truly_lowest=true_rank <= lowest_count(districts)))
    table = pd.concat(rows, ignore_index=True)
    judged = judged_direct(estimates, indicators)
    published = published_beside(judged, conform(table, "small_area_estimates"), indicators)
    quality = published[published["level"] == "district"].pivot(
        index=["indicator", "unit_id"], columns="method", values="quality"
    )
    own = estimates[estimates["level"] == "district"].set_index(["indicator", "unit_id"])
    own = own[["low", "high", "df", "n_eff", "deff"]].add_prefix("direct_").join(quality.add_prefix("quality_"))
    return table.join(own, on=["indicator", "district_id"]).assign(replicate=seed)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """What was found: measure, group, value, how many districts it rests on, and what is asked of it."""
    truth, n_eff = rows["truth"], rows["direct_n_eff"]
    held = {
        "direct": (rows["direct_low"] <= truth) & (truth <= rows["direct_high"]),
        "small area": (rows["low"] <= truth) & (truth <= rows["high"]),
        "rank set": (rows["rank_low"] <= rows["true_rank"]) & (rows["true_rank"] <= rows["rank_high"]),
    }
    ample = (rows["direct_df"] >= 20) & (n_eff * truth * (1 - truth) >= 5)
    everyone = pd.Series(True, index=rows.index)
    shown = {
        name: rows[f"quality_{column}"] != "suppress"
        for name, column in (("direct", "direct"), ("small area", "small_area"), ("rank set", "small_area"))
    }
    found: list[tuple[str, str, float, int, str]] = []

    def add(measure: str, group: str, values: pd.Series, asked: str = "") -> None:
        found.append((measure, group, float(values.mean()), len(values), asked))

    add("coverage of direct 95 % intervals", "df >= 20 and n_eff p(1-p) >= 5", held["direct"][ample], "0.93 to 0.97")
    add(
        "coverage of direct 95 % intervals",
        "published, of these",
        held["direct"][ample & shown["direct"]],
        "0.93 to 0.97",
    )
    add("coverage of direct 95 % intervals", "all", held["direct"], ">= 0.92")
    add("coverage of direct 95 % intervals", "published", held["direct"][shown["direct"]])
    add("coverage of small-area 95 % intervals", "all", held["small area"], "0.93 to 0.97")
    add("coverage of small-area 95 % intervals", "published", held["small area"][shown["small area"]], "0.93 to 0.97")
    for indicator in LEVELS:
        part = rows["indicator"] == indicator
        add("coverage of direct 95 % intervals", indicator, held["direct"][part])
        add("coverage of small-area 95 % intervals", indicator, held["small area"][part])
    add("coverage of 90 % rank sets", "all", held["rank set"], ">= 0.88")
    add("coverage of 90 % rank sets", "published", held["rank set"][shown["rank set"]], ">= 0.88")
    add("coverage of 90 % rank sets", "truly among the lowest 10", held["rank set"][rows["truly_lowest"]])
    error = rows["estimate"] - truth
    add("bias of small-area estimates", "all", error)
    add("bias of direct estimates", "all", rows["direct"] - truth)
    for group, part, asked in (
        ("all", everyone, ">= 0.08"),
        ("n_eff < 60", n_eff < 60, ">= 0.15"),
        ("n_eff < 40", n_eff < 40, ">= 0.25"),
    ):
        gain = 1 - np.sqrt((error[part] ** 2).mean() / ((rows["direct"] - truth)[part] ** 2).mean())
        found.append(("small-area RMSE below direct by", group, float(gain), int(part.sum()), asked))
    low = rows["band"] == "low"
    add("called low and truly among the lowest 10", "all", rows["truly_lowest"][low], ">= 0.80")
    add("called low", "of the truly lowest 10", low[rows["truly_lowest"]])
    add("design effect", "all, median", pd.Series([rows["direct_deff"].median()]))
    bins = calibration(rows)
    wrong = (bins["said"] - bins["true"]).abs()
    for group, limit in (("n_eff >= 50", 0.05), ("n_eff < 50", 0.08)):
        part = (bins["group"] == group) & (bins["n"] >= 200)
        largest = float(wrong[part].max())
        found.append(
            ("P(lowest 10): largest error of a decile", group, largest, int(bins["n"][part].sum()), f"<= {limit}")
        )
    mean = float(np.average(wrong, weights=bins["n"]))
    found.append(("P(lowest 10): weighted mean error", "all", mean, len(rows), "<= 0.02"))
    return pd.DataFrame(found, columns=["measure", "group", "value", "districts", "asked"])


def calibration(rows: pd.DataFrame) -> pd.DataFrame:
    """By decile of P(lowest 10) and size of sample: the mean probability said, the share for which it was true, n."""
    group = np.where(rows["direct_n_eff"] >= 50, "n_eff >= 50", "n_eff < 50")
    decile = np.clip(np.digitize(rows["p_lowest"], DECILES) - 1, 0, 9)
    grouped = rows.groupby([pd.Series(group, name="group"), pd.Series(decile, name="decile")])
    found = grouped.agg(said=("p_lowest", "mean"), true=("truly_lowest", "mean"), n=("p_lowest", "size"))
    return found.reset_index()


def draw_figure(rows: pd.DataFrame, path: Path) -> None:
    """Probabilities said against found, and coverage by effective sample size."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "validity"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    bins = calibration(rows)
    for group, marker in (("n_eff >= 50", "o"), ("n_eff < 50", "s")):
        part = bins[(bins["group"] == group) & (bins["n"] >= 200)]
        left.plot(part["said"], part["true"], marker, label=group.replace(">=", "≥"), markersize=6)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    left.set(
        xlabel="Probability said of being among the lowest 10", ylabel="Share for which it was true", aspect="equal"
    )
    left.legend(frameon=False)
    size = pd.cut(rows["direct_n_eff"], [0, 20, 30, 40, 60, 80, 120, np.inf])
    middle = rows.groupby(size, observed=True)["direct_n_eff"].median()
    for name, low, high, marker in (("direct", "direct_low", "direct_high", "o"), ("small area", "low", "high", "s")):
        held = (rows[low] <= rows["truth"]) & (rows["truth"] <= rows[high])
        right.plot(middle, held.groupby(size, observed=True).mean(), marker + "-", label=name, markersize=5)
    right.axhline(0.95, color="0.6", linewidth=1)
    right.set(xlabel="Effective sample size of the district", ylabel="Coverage of 95 % intervals", ylim=(0.85, 1))
    right.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run the replicates on all cores and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    replicates = parser.parse_args().replicates
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor() as pool:
        rows = pd.concat(pool.map(one_replicate, range(replicates), chunksize=5), ignore_index=True)
    table = summary(rows)
    OUT.mkdir(parents=True, exist_ok=True)
    table.assign(value=table["value"].round(4)).to_csv(OUT / "validity.csv", index=False)
    lines = ["| measure | group | found | asked | districts |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.measure} | {row.group} | {row.value:.3f} | {row.asked} | {row.districts:,} |"
        for row in table.itertuples()
    ]
    heading = (
        f"# Do the methods keep their promises?\n\nFound in {replicates:,} simulated rounds by "
        "`benchmarks/validity.py`, which says how they are drawn. Simulated data.\n\n"
        "![Calibration and coverage](validity.svg)\n\n"
    )
    (OUT / "validity.md").write_text(heading + "\n".join(lines) + "\n", encoding="utf-8")
    draw_figure(rows, OUT / "validity.svg")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
