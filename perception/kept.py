"""Results that are kept until what they are made from changes; only those that are not there are made.

Each is known by a digest of everything it is made from, never by its own content: sums of floating numbers differ in
the last bit from run to run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, wait
from pathlib import Path

import pandas as pd

from perception.processes import ThisProcess

Frames = tuple[pd.DataFrame, ...]
Maker = Callable[[], Frames]


def kept(folder: Path, makers: Mapping[str, Maker]) -> list[tuple[Path, ...]]:
    """Files with the frames of each of `makers`, which maps the digest of its inputs to what makes it; in that order.

    What `folder` has is not made again: a result is the same whether it was kept or made now. A result appears whole or
    not at all; those that nothing asks for any more are removed. Two runs must not use a folder at the same time.
    """
    return kept_together({folder: makers}, ThisProcess())[0]


def kept_together(makers: Mapping[Path, Mapping[str, Maker]], processes: Executor) -> list[list[tuple[Path, ...]]]:
    """What `kept` gives, for the makers of each folder, all made by `processes` side by side."""
    making = []
    for folder, of_folder in makers.items():
        folder.mkdir(parents=True, exist_ok=True)
        making += [
            processes.submit(_make, make, folder, key) for key, make in of_folder.items() if not (folder / key).exists()
        ]
    wait(making)  # a failure must not leave others that go on to write
    for made in making:
        made.result()
    return [_found(folder, list(of_folder)) for folder, of_folder in makers.items()]


def _found(folder: Path, keys: Sequence[str]) -> list[tuple[Path, ...]]:
    for other in folder.iterdir():
        if other.name not in keys:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    return [tuple(sorted((folder / key).glob("*.parquet"))) for key in keys]


def _make(make: Maker, folder: Path, key: str) -> None:
    _store(make(), folder, key)


def _store(frames: Frames, folder: Path, key: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".storing-") as temporary:
        fresh = Path(temporary) / key
        fresh.mkdir()
        for number, frame in enumerate(frames):
            frame.to_parquet(fresh / f"{number:02}.parquet", index=False, compression=None, write_statistics=False)
        fresh.rename(folder / key)
