"""How long PSU totals and domain estimates take, in how much memory, and how that compares with R's svyby and svy.

    python benchmarks/speed.py                    # 1 and 10 million respondents, comparison, weighted counts
    python benchmarks/speed.py --largest          # and 50 million
    python benchmarks/speed.py --skip-comparison  # without R and svy (minutes)

Run by `make bench`. Responses are generated in chunks into a temporary folder, as the table `responses` has them and
the pipeline stores it: 20 questions, 68 districts, 3,000 PSUs, one PSU after the other as field files have them
(`--shuffled`: in random order). Each case is a process of its own that does its work once. The clock starts when
libraries are loaded, for ours as for R and svy; reading the file is counted for ours only. Peak memory and CPU time are
what the operating system reports, imports included: on a machine that is busy with other work the CPU time says more
than the clock. R is used when Rscript and its package survey are installed, svy (PyPI) when SVY_PYTHON names the
interpreter of an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
PSUS, QUESTIONS, COMPARED, CHUNK = 3_000, 20, 8, 1 << 20
AGES = ("<25", "25-34", "35-44", "45-54", "55-64", "65+")
SCALE = ("very_dissatisfied", "dissatisfied", "satisfied", "very_satisfied")
ANSWERS = {**dict.fromkeys(SCALE, 0.2125), "dont_know": 0.05, "refused": 0.02, "not_asked": 0.08}
DIMENSIONS = [group for size in range(4) for group in combinations(("sex", "urban", "age_group"), size)]
# Room for a chunk, its tables and what Parquet keeps until a row group is written.
BYTES_A_ROW = 40


# Data


def districts() -> pd.DataFrame:
    """The 68 districts of vintage 2018 with a division and province, as estimates need them."""
    vintages = pd.read_csv(ROOT / "data/raw/reference/vintages.csv", dtype="str")
    names = sorted(vintages.loc[vintages["vintage"] == "2018", "district_id"].dropna().unique())
    divisions = [f"division-{number // 8}" for number in range(len(names))]
    provinces = [name.split("-")[0] for name in names]
    return pd.DataFrame({"district_id": names, "division_id": divisions, "province_id": provinces})


def texts(codes: np.ndarray, categories: list[str]) -> pa.DictionaryArray:
    """A column of texts as Parquet has it: codes and a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(categories))


def write_responses(file: Path, rows: int, shuffled: bool = False) -> None:
    """Responses of `rows` simulated respondents as Parquet, chunk by chunk."""
    from pipelines.storage import ROW_GROUP

    if shutil.disk_usage(file.parent).free < 2 * rows * BYTES_A_ROW:
        raise SystemExit(f"{file.parent}: needs {2 * rows * BYTES_A_ROW / 1e9:.1f} GB of free disk")
    rng = np.random.default_rng(1)
    names = districts()["district_id"].tolist()
    home, area = np.arange(PSUS) * len(names) // PSUS, np.arange(PSUS) % 2
    stratum = 2 * home + area
    strata = [f"{name}/{kind}" for name in names for kind in ("rural", "urban")]
    psus = [f"{strata[code]}/{number}" for number, code in enumerate(stratum)]
    places = np.searchsorted(np.cumsum(list(ANSWERS.values())), (np.arange(4096) + 0.5) / 4096)
    writer: pq.ParquetWriter | None = None
    for first in range(0, rows, CHUNK):
        size = min(CHUNK, rows - first)
        psu = rng.integers(0, PSUS, size) if shuffled else (first + np.arange(size)) * PSUS // rows
        columns = {
            "wave": texts(np.zeros(size, int), ["large"]),
            "district_id": texts(home[psu], names),
            "stratum": texts(stratum[psu], strata),
            "psu": texts(psu, psus),
            "weight": pa.array(rng.uniform(0.5, 2, size).round(4)),
            "uncalibrated_weight": pa.nulls(size, pa.float64()),
            "sex": texts(rng.integers(0, 2, size), ["female", "male"]),
            "urban": texts(area[psu], ["rural", "urban"]),
            "age_group": texts(rng.integers(0, len(AGES), size), list(AGES)),
            "wealth": pa.nulls(size, pa.string()),
        }
        for number in range(QUESTIONS):
            columns[f"q{number:02d}"] = texts(places[rng.integers(0, 4096, size)], list(ANSWERS))
        chunk = pa.table(columns)
        writer = writer or pq.ParquetWriter(file, chunk.schema, write_statistics=False)
        writer.write_table(chunk, row_group_size=ROW_GROUP)
    assert writer is not None
    writer.close()


def write_comparison(responses: Path, file: Path) -> None:
    """What R and svy read: district_id, stratum, psu, weight and 0/1 indicators (null without a valid answer)."""
    shares = ", ".join(
        f"CASE WHEN q{n:02d} IN {SCALE[2:]} THEN 1 WHEN q{n:02d} IN {SCALE[:2]} THEN 0 END AS y{n}"
        for n in range(COMPARED)
    )
    columns = f"district_id, stratum, psu, weight, {shares}"
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"COPY (SELECT {columns} FROM read_parquet('{responses}')) TO '{file}'")


# Cases: each runs in a process of its own and returns what it measured


def instrument(questions: int) -> Any:
    """A questionnaire whose indicators are the shares satisfied of its first questions."""
    from perception.intake.instrument import Instrument

    names = [f"q{number:02d}" for number in range(questions)]
    question = {"label": "Satisfied?", "type": "ordinal", "categories": dict.fromkeys(SCALE, "Answer")}
    return Instrument.model_validate(
        {
            "id": "large",
            "title": "Large",
            "source": "made for a benchmark",
            "questions": dict.fromkeys(names, question),
            "indicators": {
                f"satisfied_{name}": {
                    "label": "Satisfied",
                    "question": name,
                    "positive": list(SCALE[2:]),
                    "population": "adults",
                }
                for name in names
            },
        }
    )


def design_table(responses: Path) -> pd.DataFrame:
    """The sampled PSUs and their strata."""
    relation = duckdb.sql(f"SELECT DISTINCT stratum AS variance_stratum, psu FROM read_parquet('{responses}')")
    return relation.df()


def case_estimates(folder: Path, questions: int = QUESTIONS) -> dict[str, float]:
    """PSU totals from respondents, then every district (and coarser) x sex x urban x age estimate from them."""
    from perception.estimation.domains import district_estimates
    from perception.estimation.totals import psu_totals

    asked = instrument(questions)
    begin = time.perf_counter()
    totals = psu_totals(folder / "responses.parquet", asked)
    read = time.perf_counter()
    totals.to_parquet(folder / "psu_totals.parquet", index=False)
    design_table(folder / "responses.parquet").to_parquet(folder / "design_psus.parquet", index=False)
    stored = time.perf_counter()
    found = district_estimates(*inputs(folder, totals), dimensions=DIMENSIONS)
    end = time.perf_counter()
    return {"totals": read - begin, "estimates": end - stored, "domains": len(found), "seconds": end - begin}


def case_totals_only(folder: Path) -> dict[str, float]:
    """Every estimate again from stored PSU totals: there is no respondent to read."""
    from perception.estimation.domains import district_estimates

    totals = pd.read_parquet(folder / "psu_totals.parquet")
    begin = time.perf_counter()
    found = district_estimates(*inputs(folder, totals), dimensions=DIMENSIONS)
    return {"domains": len(found), "seconds": time.perf_counter() - begin}


def inputs(folder: Path, totals: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """What estimates are made from: totals, sampled PSUs, districts and indicators."""
    indicators = pd.DataFrame({"indicator": totals["indicator"].unique(), "kind": "share"})
    return totals, pd.read_parquet(folder / "design_psus.parquet"), districts(), indicators


def case_compared(folder: Path) -> dict[str, float]:
    """What R and svy are asked for, by the pipeline's own path: from the Parquet file to district estimates."""
    from perception.estimation.domains import district_estimates
    from perception.estimation.totals import psu_totals

    asked = instrument(COMPARED)
    begin = time.perf_counter()
    totals = psu_totals(folder / "responses.parquet", asked)
    indicators = pd.DataFrame({"indicator": totals["indicator"].unique(), "kind": "share"})
    design = design_table(folder / "responses.parquet")
    found = district_estimates(totals, design, districts(), indicators, dimensions=[()])
    seconds = time.perf_counter() - begin
    found = found[found["level"] == "district"]
    return {"estimates": len(found), "seconds": seconds, "sum": found["estimate"].sum(), "se": found["se"].sum()}


def case_srvyr(folder: Path) -> dict[str, float]:
    """srvyr issue 164: 50,000 rows, weighted counts with SEs in 26 x 26 x 10 groups (there: over a minute)."""
    from perception.estimation.counts import weighted_counts

    rng = np.random.default_rng(2)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    frame = pd.DataFrame({name: letters[rng.integers(0, 26, 50_000)] for name in ("one", "other")})
    frame = frame.assign(third=rng.integers(0, 10, 50_000), weight=rng.uniform(0.5, 2, 50_000))
    begin = time.perf_counter()
    found = weighted_counts(frame, ["one", "other", "third"])
    return {"groups": len(found), "seconds": time.perf_counter() - begin}


def case_gtsummary(folder: Path) -> dict[str, float]:
    """gtsummary issue 2127: 13 million rows, weights only, cross of two variables (there: memory runs out)."""
    from perception.estimation.counts import weighted_counts

    with duckdb.connect() as connection:
        begin = time.perf_counter()
        found = weighted_counts(connection.read_parquet(str(folder / "responses.parquet")), ["age_group", "q00"])
        return {"groups": len(found), "seconds": time.perf_counter() - begin}


CASES = {
    "estimates": case_estimates,
    "totals_only": case_totals_only,
    "compared": case_compared,
    "srvyr": case_srvyr,
    "gtsummary": case_gtsummary,
}

SVY = """
import json, sys, time
import polars as pl, svy
frame = pl.read_parquet(sys.argv[1])
begin = time.perf_counter()
sample = svy.Sample(frame, svy.Design(stratum="stratum", psu="psu", wgt="weight"))
rows = []
for name in (f"y{number}" for number in range(int(sys.argv[2]))):
    rows += sample.estimation.mean(name, by="district_id", drop_nulls=True).estimates
seconds = time.perf_counter() - begin
print(json.dumps({"estimates": len(rows), "seconds": seconds, "sum": sum(r.est for r in rows),
                  "se": sum(r.se for r in rows)}))
"""


# Running them


def measured(command: list[str]) -> dict[str, float]:
    """The last line that a process prints (JSON), with its peak memory in GB and its CPU seconds."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command[:4])} failed with exit code {process.returncode}")
        out.seek(0)
        answer: dict[str, float] = json.loads(out.read().decode().strip().splitlines()[-1])
    return answer | {"memory": usage.ru_maxrss / 1024**2, "cpu": usage.ru_utime + usage.ru_stime}


def quickest(run: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The quickest of three runs: what else the machine does only ever adds to the time."""
    return min((run() for _ in range(3)), key=lambda found: found["seconds"])


def costs(found: dict[str, float]) -> str:
    """CPU time and memory in words."""
    return f"CPU {found['cpu']:.1f} s, peak memory {found['memory']:.2f} GB"


def run_case(name: str, folder: Path) -> dict[str, float]:
    """A case of ours in a process of its own."""
    return measured([sys.executable, "-W", "ignore", str(Path(__file__)), "--case", name, str(folder)])


def scale(rows: int, folder: Path, shuffled: bool) -> None:
    """Totals and estimates of a wave of `rows` respondents, then estimates from the totals alone."""
    file = folder / "responses.parquet"
    write_responses(file, rows, shuffled)
    size = file.stat().st_size / 1e6
    found = run_case("estimates", folder)
    print(
        f"{rows / 1e6:.0f} million x {QUESTIONS} indicators ({size:.0f} MB): PSU totals {found['totals']:.1f} s, "
        f"{found['domains']:,.0f} estimates {found['estimates']:.1f} s, together {found['seconds']:.1f} s, "
        f"{costs(found)}",
        flush=True,
    )
    file.unlink()
    found = quickest(lambda: run_case("totals_only", folder))
    print(
        f"  responses deleted; from the stored totals (quickest of three): {found['domains']:,.0f} estimates "
        f"{found['seconds']:.2f} s, "
        f"{costs(found)}",
        flush=True,
    )


def comparison(folder: Path) -> None:
    """Ours, R's svyby and svy on the same million respondents: the quickest of three processes, R's of one."""
    write_responses(folder / "responses.parquet", 1_000_000)
    write_comparison(folder / "responses.parquet", folder / "compared.csv")
    write_comparison(folder / "responses.parquet", folder / "compared.parquet")
    ours = quickest(lambda: run_case("compared", folder))
    lines = {"perception": ours}
    if r_has_survey():
        lines["R svyby"] = measured(
            ["Rscript", str(ROOT / "benchmarks/svyby.R"), str(folder / "compared.csv"), str(COMPARED)]
        )
    if python := os.environ.get("SVY_PYTHON"):
        command = [python, "-c", SVY, str(folder / "compared.parquet"), str(COMPARED)]
        lines["svy"] = quickest(lambda: measured(command))
    print(f"1 million respondents, {COMPARED} indicators, all districts:")
    for name in ("perception", "R svyby", "svy"):
        if name not in lines:
            print(f"  {name:<10} not installed")
            continue
        found = lines[name]
        times = "" if name == "perception" else f", {found['seconds'] / ours['seconds']:.0f} times as long as ours"
        apart = max(abs(found[what] / ours[what] - 1) for what in ("sum", "se"))
        print(
            f"  {name:<10} {found['seconds']:.2f} s, {costs(found)}{times}; "
            f"{found['estimates']:.0f} estimates, sums of estimates and of SEs within {apart:.0e} of ours"
        )


def r_has_survey() -> bool:
    """Whether Rscript and R's package survey are installed."""
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(survey)"], capture_output=True).returncode == 0


def counts(folder: Path) -> None:
    """The two tables that users of srvyr and gtsummary reported as too slow or too large."""
    found = run_case("srvyr", folder)
    print(
        f"50,000 rows, {found['groups']:,.0f} groups, counts with SEs (srvyr 164): {found['seconds']:.2f} s, "
        f"{costs(found)}"
    )
    write_responses(folder / "responses.parquet", 13_000_000)
    found = run_case("gtsummary", folder)
    print(
        f"13 million rows, {found['groups']:.0f} groups, counts with SEs (gtsummary 2127): {found['seconds']:.1f} s, "
        f"{costs(found)}"
    )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="Speed and memory of PSU totals and domain estimates")
    parser.add_argument("--largest", action="store_true", help="also 50 million respondents")
    parser.add_argument("--shuffled", action="store_true", help="respondents in random order")
    parser.add_argument("--skip-comparison", action="store_true", help="without R and svy")
    parser.add_argument("--case", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if arguments.case:
        found = CASES[arguments.case[0]](Path(arguments.case[1]))
        print(f"\n{json.dumps(found, default=float)}")
        return
    print(f"{os.cpu_count()} cores, DuckDB {duckdb.__version__}, Python {sys.version.split()[0]}", flush=True)
    sections = [lambda folder, rows=rows: scale(rows, folder, arguments.shuffled) for rows in (1_000_000, 10_000_000)]
    if arguments.largest:
        sections.append(lambda folder: scale(50_000_000, folder, arguments.shuffled))
    sections += [counts] if arguments.skip_comparison else [counts, comparison]
    for section in sections:
        with tempfile.TemporaryDirectory() as folder:
            section(Path(folder))


if __name__ == "__main__":
    main()
