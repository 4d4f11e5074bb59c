"""Results that are kept until what they are made from changes; only those that are not there are made.

Each is known by a digest of everything it is made from, never by its own content: sums of floating numbers differ in
the last bit from run to run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

Frames = tuple[pd.DataFrame, ...]


def kept(folder: Path, makers: Mapping[str, Callable[[], Frames]]) -> list[tuple[Path, ...]]:
    """Files with the frames of each of `makers`, which maps the digest of its inputs to what makes it; in that order.

    What `folder` has is not made again: a result is the same whether it was kept or made now. A result appears whole or
    not at all; those that nothing asks for any more are removed. Two processes must not use a folder at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key, make in makers.items():
        if not (folder / key).exists():
            _store(make(), folder, key)
    for other in folder.iterdir():
        if other.name not in makers:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    return [tuple(sorted((folder / key).glob("*.parquet"))) for key in makers]


def _store(frames: Frames, folder: Path, key: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".storing-") as temporary:
        fresh = Path(temporary) / key
        fresh.mkdir()
        for number, frame in enumerate(frames):
            frame.to_parquet(fresh / f"{number:02}.parquet", index=False, compression=None, write_statistics=False)
        fresh.rename(folder / key)
