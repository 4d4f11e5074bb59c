"""How an asset becomes a table: its contract is checked before it is stored, and versions of a wave never mix.

The blocking check of each table comes from `perception.schemas`. A frame that breaks its contract is not stored, so the
last good version stays.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq

from assets.resources import ProjectResource
from perception.errors import InputError
from perception.intake.privacy import personal_columns
from perception.project import MADE_FROM, made_from_of
from perception.schemas import TABLES, contract_breaches

waves_partitions = dg.DynamicPartitionsDefinition(name="wave")

CONTRACT = "contract"


def table_asset(
    *, group: str, per_wave: bool, after: Sequence[Any] = ()
) -> Callable[[Callable[..., pd.DataFrame]], dg.AssetsDefinition]:
    """Make a function that returns a frame the asset of the table of its name; `after` adds assets it waits for."""

    def decorate(function: Callable[..., pd.DataFrame]) -> dg.AssetsDefinition:
        def one(*args: Any, **kwargs: Any) -> tuple[pd.DataFrame]:
            return (function(*args, **kwargs),)

        functools.update_wrapper(one, function)
        return tables_asset(function.__name__, group=group, per_wave=per_wave, after=after)(one)

    return decorate


def tables_asset(
    *names: str, group: str, per_wave: bool, after: Sequence[Any] = ()
) -> Callable[[Callable[..., tuple[pd.DataFrame, ...]]], dg.AssetsDefinition]:
    """Make a function that returns a frame for each of `names` the assets of these tables, made in one step."""

    def decorate(function: Callable[..., tuple[pd.DataFrame, ...]]) -> dg.AssetsDefinition:
        # The project resource holds the run's lock, so every asset needs it, also one that does not look into it.
        lock = set() if "project" in inspect.signature(function).parameters else {"project"}

        @dg.multi_asset(
            name=function.__name__,
            outs={
                name: dg.AssetOut(
                    io_manager_key="tables", description=TABLES[name].meaning, kinds={"pandas", "parquet"}
                )
                for name in names
            },
            group_name=group,
            partitions_def=waves_partitions if per_wave else None,
            deps=after,
            required_resource_keys=lock,
            check_specs=[
                dg.AssetCheckSpec(CONTRACT, asset=name, blocking=True, description="Keeps its contract")
                for name in names
            ],
        )
        @functools.wraps(function)
        def materialise(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with failures_named():
                version = one_version(kwargs) if per_wave else None
                if version is not None:
                    refuse_a_changed_wave(kwargs["project"], args[0].partition_key, version)
                frames = dict(zip(names, function(*args, **kwargs), strict=True))
            breaches = {name: contract_breaches(frame, name) for name, frame in frames.items()}
            breaches |= {name: breaches[name] + personal_columns(frames[name]) for name in names if TABLES[name].public}
            for name in names:
                yield dg.AssetCheckResult(
                    passed=not breaches[name],
                    check_name=CONTRACT,
                    asset_key=name,
                    metadata={"breaches": breaches[name]},
                )
            if broken := [f"{name} ({'; '.join(found)})" for name, found in breaches.items() if found]:
                raise dg.Failure(
                    f"{', '.join(broken)} breaks its contract and was not stored.",
                    allow_retries=False,
                )
            for name, frame in frames.items():
                if version is not None:
                    frame.attrs[MADE_FROM] = version
                yield dg.Output(frame, output_name=name)

        return materialise

    return decorate


def one_version(inputs: dict[str, Any]) -> str | None:
    """The version that all inputs share, or None when none has one; a Failure when they come from different ones."""
    versions = {name: version for name, value in inputs.items() if (version := _version(value)) is not None}
    if len(set(versions.values())) > 1:
        raise dg.Failure(
            f"{', '.join(sorted(versions))} were made from different versions of the wave. Materialise the wave whole.",
            allow_retries=False,
        )
    return next(iter(versions.values()), None)


def refuse_a_changed_wave(project: ProjectResource, wave: str, version: str) -> None:
    """A Failure when what the wave is made from is no longer what the inputs were made from."""
    if project.made_from(wave) != version:
        raise dg.Failure(
            f"wave {wave}: wave.yml, a data file, the instrument, the wave before, a reference or boundary file or the "
            "software has changed since its raw responses were read. Materialise the wave whole.",
            allow_retries=False,
        )


def empty_table(file: Path) -> pd.DataFrame:
    """The columns and attributes of a stored table, without its rows."""
    schema = pq.read_schema(file)
    frame: pd.DataFrame = schema.empty_table().to_pandas()
    frame.attrs = (schema.pandas_metadata or {}).get("attributes", {})
    return frame


def _version(value: Any) -> str | None:
    if isinstance(value, Path):
        return made_from_of(value)
    return value.attrs.get(MADE_FROM) if isinstance(value, pd.DataFrame) else None


@contextmanager
def failures_named() -> Iterator[None]:
    """Turns an InputError into a step failure that lists every problem; trying again would find the same."""
    try:
        yield
    except InputError as error:
        problems = [str(problem) for problem in error.problems]
        raise dg.Failure(str(error), metadata={"problems": problems}, allow_retries=False) from error
