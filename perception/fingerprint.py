"""Digests of what results are made from: files, and the software that makes results of them."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import pandas as pd

from perception.intake.wave_file import sha256

PACKAGES = ("perception", "assets", "pipelines")


def digest(parts: Iterable[object]) -> str:
    """SHA-256 over the texts of `parts`, hex; their order counts."""
    lines = "".join(f"{len(text)} {text}\n" for text in map(str, parts))
    return hashlib.sha256(lines.encode()).hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and content of every file in a folder; hidden files and compiled code are left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    names = ((path.relative_to(folder), path) for path in files)
    return digest(
        f"{name.as_posix()} {sha256(path)}"
        for name, path in names
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    )


def frame_digest(frame: pd.DataFrame) -> str:
    """SHA-256 over the columns and values of a frame, whatever its index."""
    return digest([*frame.columns, pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes().hex()])


def code_version() -> str:
    """The version of the software that is installed."""
    try:
        return metadata.version("perception")
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def code_fingerprint() -> str:
    """SHA-256 over the software: its own sources and templates as they are at the first call, and what it depends on.

    A process that runs while they are edited may have loaded others than it says here: start it anew. Versions of
    dependencies are those installed; another one may give other numbers.
    """
    root = Path(__file__).parents[1]
    return digest([sys.version, *_dependencies(), *(folder_digest(root / package) for package in PACKAGES)])


def _dependencies() -> list[str]:
    found = []
    for requirement in metadata.requires(PACKAGES[0]) or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:  # an extra that is not installed
            continue
    return sorted(found)
