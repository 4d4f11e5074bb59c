"""The part of the site that is made from one wave: what it is made from, and that of an earlier site taken over.

A part is written by itself, with nothing at hand but what its key is a digest of, so that an equal key means equal
files.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from perception.files import link_or_copy
from perception.fingerprint import code_fingerprint, code_version, digest, frame_digest
from perception.intake.wave_file import sha256
from perception.publish import maps
from perception.publish.site_work import Made, Work, together
from perception.publish.wave_pages import wave_work, write_wave_pages

_SHARED = ("published_waves", "district_rankings", "index_sensitivity", "published_diagnosis")
"""Tables of which pages of a wave show rows of other waves: of those it is ranked with, and the one before."""


@dataclass(frozen=True)
class _Part:
    """What was made, and the SHA-256 of its files by their place in the site."""

    made: Made
    files: dict[str, str]


def part_of(work: Work, name: str) -> Work:
    """What the pages of a wave are made from, and a folder of their own."""
    wave = work.wave(name)
    shared = {one["wave"] for one in work.waves if together(one) == together(wave)} | {maps.text(wave["predecessor"])}
    tables = {
        table: frame[frame["wave"].isin(shared | {name} if table in _SHARED else {name})]
        for table, frame in work.tables.items()
    }
    scales = {key: scale for key, scale in work.scales.items() if key[0] == name}
    root = work.root / ".parts" / name
    for language in work.environments:
        (root / language.folder / name).mkdir(parents=True)
    part = Work(tables, work.geometries, work.units, work.labels, scales, root, work.made_at)
    part.environments = work.environments
    return part


def write_part(part: Work, name: str) -> Made:
    """Write the pages of a wave from its part; what was made."""
    write_wave_pages(part, wave_work(part, name))
    return part.made


def part_key(part: Work) -> str:
    """SHA-256 over everything that a part is made from but the time."""
    frames = [f"{name} {frame_digest(frame)}" for name, frame in [*part.tables.items(), *part.units.items()]]
    shapes = [
        f"{vintage} {geometry.source} {geometry.preview} {frame_digest(geometry.shapes.to_wkb())}"
        for vintage, geometry in part.geometries.items()
    ]
    return digest([code_fingerprint(), code_version(), *frames, *shapes, part.labels, part.scales])


def taken_over(key: str, kept: Path, before: Path, root: Path) -> Made | None:
    """What was made of a part with this key, whose files of the site `before` now stand under `root`; None without one.

    All of them are there as they were written, or none is taken.
    """
    if not (kept / key).exists():
        return None
    part: _Part = pickle.loads((kept / key).read_bytes())
    try:
        if any(sha256(before / file) != known for file, known in part.files.items()):
            return None
    except OSError:
        return None
    for file in part.files:
        link_or_copy(before / file, root / file)
    return part.made


def put_in_place(part: Work, root: Path) -> dict[str, str]:
    """Move the files of a part that has been written to their place under `root`; their SHA-256 by that place."""
    known = {}
    for file in sorted(path for path in part.root.rglob("*") if path.is_file()):
        place = file.relative_to(part.root)
        known[place.as_posix()] = sha256(file)
        os.replace(file, root / place)
    shutil.rmtree(part.root)
    return known


def remember(kept: Path, parts: Mapping[str, tuple[Made, dict[str, str]] | None]) -> None:
    """Remember parts by their key in the folder `kept`, those of None as before, and forget all others."""
    for file in kept.iterdir():
        if file.name not in parts:
            file.unlink()
    for key, part in parts.items():
        if part is not None:
            made, files = part
            (kept / key).write_bytes(pickle.dumps(_Part(replace(made, images=[], downloads=[]), files)))
