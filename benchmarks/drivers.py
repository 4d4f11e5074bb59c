"""How long a driver model takes beside statsmodels' OrderedModel and R's ordinal::clm, on the same rows.

Run by `make bench`: 50,000 respondents in 2,500 PSUs, 20 drivers, an answer of five categories. Ours fits the weighted
ordered logit and its design-based covariance; the others fit the model without weights and with the covariance that
takes rows as independent, which is less than ours does. Everybody is timed from data in memory to standard errors, each
in a process of its own, the quickest of three (OrderedModel and R once). clm is timed where Rscript and the package
ordinal are installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
ROWS, DRIVERS, TAKE = 50_000, 20, 20
ANSWERS = ("very_bad", "bad", "fair", "good", "very_good")


def write_rows(file: Path) -> None:
    """The rows: answer, drivers x0 to x19 (seven of five steps, the others 0/1), weight, stratum, psu."""
    rng = np.random.default_rng(5)
    psu = np.arange(ROWS) // TAKE
    shared = rng.normal(0, 0.5, (psu.max() + 1, DRIVERS))[psu]
    latent = shared + rng.normal(size=(ROWS, DRIVERS))
    steps = np.digitize(latent, [-1.2, -0.4, 0.4, 1.2])
    values = np.where(np.arange(DRIVERS) < 7, steps, latent > 0).astype(float)
    linear = values @ rng.uniform(-0.3, 0.5, DRIVERS) + rng.normal(0, 0.5, psu.max() + 1)[psu] + rng.logistic(size=ROWS)
    codes = np.digitize(linear, np.quantile(linear, [0.1, 0.3, 0.55, 0.85]))
    frame = pd.DataFrame(values, columns=[f"x{number}" for number in range(DRIVERS)])
    frame = frame.assign(answer=codes, weight=rng.uniform(0.5, 2, ROWS), stratum=psu // 25, psu=psu)
    frame.to_csv(file, index=False)


def outcome(frame: pd.DataFrame) -> pd.Series:
    """The answers as an ordered categorical."""
    return pd.Series(pd.Categorical.from_codes(frame["answer"], list(ANSWERS), ordered=True), name="answer")


def case_ours(frame: pd.DataFrame) -> dict[str, float]:
    """The weighted ordered logit with its design-based covariance."""
    from perception.drivers.ordered import SurveyOrderedLogit

    answer, drivers = outcome(frame), frame.filter(regex="^x")
    psus = frame[["stratum", "psu"]].drop_duplicates().rename(columns={"stratum": "variance_stratum"})
    begin = time.perf_counter()
    results = SurveyOrderedLogit(
        answer,
        drivers,
        positive_from="good",
        weights=frame["weight"],
        strata=frame["stratum"],
        psu=frame["psu"],
        design_psus=psus,
    ).fit()
    return {"seconds": time.perf_counter() - begin, "check": float(results.bse.sum())}


def case_statsmodels(frame: pd.DataFrame) -> dict[str, float]:
    """OrderedModel, unweighted, by BFGS."""
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    answer, drivers = outcome(frame), frame.filter(regex="^x")
    begin = time.perf_counter()
    results = OrderedModel(answer, drivers, distr="logit").fit(method="bfgs", maxiter=500, disp=False)
    return {"seconds": time.perf_counter() - begin, "check": float(results.bse.iloc[:DRIVERS].sum())}


CASES = {"ours": case_ours, "statsmodels": case_statsmodels}
CLM = """
suppressMessages(library(ordinal))
arguments <- commandArgs(trailingOnly = TRUE)
frame <- read.csv(arguments[1])
frame$answer <- factor(frame$answer, ordered = TRUE)
begin <- proc.time()[["elapsed"]]
fit <- clm(reformulate(paste0("x", 0:19), "answer"), data = frame)
errors <- sqrt(diag(vcov(fit)))
cat(sprintf('{"seconds": %.3f, "check": %.9g}\\n', proc.time()[["elapsed"]] - begin, sum(tail(errors, 20))))
"""


def timed(command: list[str]) -> dict[str, float]:
    """The last line that a process prints, as JSON."""
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    answer: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return answer


def quickest(command: list[str], runs: int) -> dict[str, float]:
    """The quickest of several runs."""
    return min((timed(command) for _ in range(runs)), key=lambda found: found["seconds"])


def has_clm() -> bool:
    """Whether Rscript and its package ordinal are installed."""
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(ordinal)"], capture_output=True).returncode == 0


def main() -> None:
    """Time everybody and print how many times as long as ours they take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        sys.path.insert(0, str(ROOT))
        print(json.dumps(CASES[arguments.case[0]](pd.read_csv(arguments.case[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        write_rows(file)
        own: list[Any] = [sys.executable, "-W", "ignore", str(Path(__file__)), "--case"]
        lines = {"perception": quickest([*own, "ours", str(file)], 3)}
        lines["OrderedModel (bfgs)"] = quickest([*own, "statsmodels", str(file)], 1)
        if has_clm():
            script = Path(folder) / "clm.R"
            script.write_text(CLM)
            lines["R ordinal::clm"] = quickest(["Rscript", str(script), str(file)], 3)
    print(f"{ROWS:,} rows x {DRIVERS} drivers, {len(ANSWERS)} categories:")
    for name, found in lines.items():
        ratio = found["seconds"] / lines["perception"]["seconds"]
        print(
            f"  {name:<20} {found['seconds']:.2f} s" + ("" if name == "perception" else f", {ratio:.1f} times as long")
        )


if __name__ == "__main__":
    main()
