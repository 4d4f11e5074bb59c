"""Files that are replaced, never written into."""

from __future__ import annotations

import shutil
from pathlib import Path


def link_or_copy(file: Path, place: Path) -> None:
    """A second name for a file, or a copy where the file system has no such thing."""
    try:
        place.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, place)
