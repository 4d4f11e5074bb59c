"""PSU totals on every engine: one code, the same sums from DuckDB, pandas, PyArrow, Dask and Spark."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from perception import wave_tables
from perception.estimation.counts import weighted_counts
from perception.estimation.totals import CELL, Quantity, indicator_quantity, totals
from perception.intake.instrument import Indicator
from perception.intake.raw import raw_responses
from perception.project import Project, open_wave

ROOT = Path(__file__).resolve().parents[1]
BY = ["wave", *CELL]
SUMS = ["sum_w", "sum_w2", "sum_wx", "sum_wy", "sum_wx2", "sum_wxy", "sum_wy2", "sum_dx", "sum_dy"]


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Responses of a committed wave with shares, a mean, universes, don't know, refused and null backgrounds."""
    project = Project(ROOT)
    inputs = open_wave(project, "punjab-2024")
    tidy = wave_tables.responses(inputs, raw_responses(inputs.wave, inputs.folder))
    rng = np.random.default_rng(1)
    tidy["uncalibrated_weight"] = tidy["weight"] * rng.uniform(0.8, 1.2, len(tidy))
    tidy.loc[rng.random(len(tidy)) < 0.02, "age_group"] = None
    file = tmp_path_factory.mktemp("engines") / "responses.parquet"
    tidy.drop(columns=["coordinates"], errors="ignore").to_parquet(file)
    return file


def indicators(columns: Iterable[str]) -> dict[str, Indicator]:
    """One indicator of each kind: of everybody, with a universe, of several questions, a mean, on a bribe."""
    names = ("satisfied_district", "satisfied_health", "health_too_far_or_dear", "wait_health", "bribe_asked_police")
    available = open_wave(Project(ROOT), "punjab-2024").instrument.available_indicators(columns)
    return {name: available[name] for name in names}


def quantities(columns: Iterable[str]) -> dict[str, Quantity]:
    """These indicators, and a ratio: what has its own denominator is summed by other terms."""
    made = {name: indicator_quantity(one) for name, one in indicators(columns).items()}
    wait = nw.col("health_wait")
    return made | {"wait_by_age": Quantity(~wait.is_null() & ~nw.col("age").is_null(), wait, nw.col("age"))}


def in_duckdb(file: Path) -> Any:
    return duckdb.connect().read_parquet(str(file))


def in_pandas(file: Path) -> Any:
    return pd.read_parquet(file)


def in_pyarrow(file: Path) -> Any:
    return pq.read_table(file)


def in_dask(file: Path) -> Any:
    dask = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
    return dask.from_pandas(pd.read_parquet(file), npartitions=3)


# Narwhals says that Dask will need a package of its own, which is not published yet.
MOVING = pytest.mark.filterwarnings("ignore:Dask support is moving:FutureWarning")
OTHER_ENGINES = [
    pytest.param(in_pandas, id="pandas"),
    pytest.param(in_pyarrow, id="pyarrow"),
    pytest.param(in_dask, marks=MOVING, id="dask"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A Spark session of two cores in this process."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed: pip install .[spark]")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark.sql import SparkSession

        settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4", "spark.driver.host": "127.0.0.1"}
        builder = SparkSession.builder.master("local[2]").appName("perception-tests")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.fixture(scope="module")
def expected(responses: Path) -> pd.DataFrame:
    """The totals worked out apart, respondent by respondent, in pandas."""
    frame = pd.read_parquet(responses)
    tables = []
    reasons = ["dont_know", "refused", "not_asked", "missing"]
    for name, one in indicators(frame.columns).items():
        if len(one.questions) > 1:
            continue
        answer = frame[one.questions[0]]
        member = pd.Series(True, frame.index)
        if one.universe is not None:
            member = frame[one.universe.question].isin(one.universe.answers)
        valid = member & answer.notna() & ~answer.isin(reasons)
        y = answer.isin(one.positive).astype(float) if one.kind == "share" else answer.astype(float)
        reason = answer if one.kind == "share" else frame[f"{one.questions[0]}_reason"]
        w, d, y = frame["weight"] * valid, frame["uncalibrated_weight"] * valid, y.where(valid, 0.0)
        columns = {
            "n": valid * 1,
            "n_positive": (valid & (y == 1)) * 1,
            "n_dont_know": (member & (reason == "dont_know").fillna(False)) * 1,
            "n_refused": (member & (reason == "refused").fillna(False)) * 1,
            **{"sum_w": w, "sum_w2": w * frame["weight"], "sum_wx": w, "sum_wy": w * y},
            **{"sum_wx2": w, "sum_wxy": w * y, "sum_wy2": w * y * y, "sum_dx": d, "sum_dy": d * y},
        }
        sums = frame[BY].assign(**columns).groupby(BY, dropna=False)[list(columns)].sum().reset_index()
        sums = sums[sums[["n", "n_dont_know", "n_refused"]].sum(axis=1) > 0]
        tables.append(sums.assign(indicator=name))
    return pd.concat(tables).sort_values(["indicator", *BY], ignore_index=True)


def same_sums(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    found = found.sort_values(["indicator", *BY], ignore_index=True)
    assert len(found) == len(expected)
    for key in ("indicator", *BY):
        assert found[key].fillna("").tolist() == expected[key].fillna("").tolist(), key
    for count in ("n", "n_positive", "n_dont_know", "n_refused"):
        np.testing.assert_array_equal(found[count], expected[count], err_msg=count)
    for name in SUMS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module")
def from_duckdb(responses: Path) -> pd.DataFrame:
    relation = in_duckdb(responses)
    return totals(relation, quantities(relation.columns), BY, uncalibrated="uncalibrated_weight")


def test_totals_are_those_of_a_computation_respondent_by_respondent(
    from_duckdb: pd.DataFrame, expected: pd.DataFrame
) -> None:
    assert expected["indicator"].nunique() == 4
    assert expected["age_group"].isna().any()
    same_sums(from_duckdb[from_duckdb["indicator"].isin(expected["indicator"])], expected)


@pytest.mark.parametrize("engine", OTHER_ENGINES)
def test_totals_on_other_engines(engine: Callable[[Path], Any], responses: Path, from_duckdb: pd.DataFrame) -> None:
    frame = engine(responses)
    names = pq.read_schema(responses).names
    same_sums(totals(frame, quantities(names), BY, uncalibrated="uncalibrated_weight"), from_duckdb)


@pytest.mark.filterwarnings("ignore")  # Spark's own client code warns of what Python and pandas have deprecated
def test_totals_on_spark(spark: Any, responses: Path, from_duckdb: pd.DataFrame) -> None:
    frame = spark.read.parquet(str(responses))
    same_sums(totals(frame, quantities(frame.columns), BY, uncalibrated="uncalibrated_weight"), from_duckdb)


def same_counts(frame: Any, from_duckdb: pd.DataFrame) -> None:
    found = weighted_counts(frame, ["district_id", "age_group"], stratum="stratum", psu="psu")
    assert found["n"].tolist() == from_duckdb["n"].tolist()
    np.testing.assert_allclose(found["se"], from_duckdb["se"], rtol=1e-12)


@pytest.fixture(scope="module")
def duckdb_counts(responses: Path) -> pd.DataFrame:
    return weighted_counts(in_duckdb(responses), ["district_id", "age_group"], stratum="stratum", psu="psu")


@pytest.mark.parametrize("engine", OTHER_ENGINES)
def test_weighted_counts_on_other_engines(
    engine: Callable[[Path], Any], responses: Path, duckdb_counts: pd.DataFrame
) -> None:
    same_counts(engine(responses), duckdb_counts)


@pytest.mark.filterwarnings("ignore")  # as above
def test_weighted_counts_on_spark(spark: Any, responses: Path, duckdb_counts: pd.DataFrame) -> None:
    same_counts(spark.read.parquet(str(responses)), duckdb_counts)
