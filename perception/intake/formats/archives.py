"""Where the bytes of a table come from: a file, the inside of a .gz, or a table in a .zip. Nothing is written to disk.

What is packed is measured while it is unpacked, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from perception.errors import InputError, Problem
from perception.intake.formats.tables import AGAIN, MANY

CHUNK = 4 * 1024 * 1024
LARGEST_UNPACKED = 2_000_000_000
SUSPICIOUS_SIZE, SUSPICIOUS_RATIO = 100_000_000, 200
"""Tables shrink to a tenth or a fiftieth; what shrinks to less than a two-hundredth and is large is no table."""

_NOT_TABLES = ("media", "__MACOSX")


@dataclass(frozen=True)
class Source:
    """A table's bytes: the name that tells its format, and how to open them (as often as needed, from the start).

    `path` is the file itself where the table is not packed.
    """

    name: str
    open: Callable[[], IO[bytes]]
    where: str
    packed_size: int | None = None
    path: Path | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def suffix(self) -> str:
        """The suffix that tells the format, in small letters."""
        return PurePosixPath(self.name).suffix.lower()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a few MB at a time; InputError when they are too many for the file they were packed in."""
        size = 0
        with self.open() as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if self.packed_size is not None and _too_large(size, self.packed_size):
                    raise InputError([_bomb(self.where, size, self.packed_size)])
                yield chunk

    def file(self) -> BytesIO | str:
        """What libraries that need the whole file take: its path, or its bytes in memory."""
        return BytesIO(b"".join(self.chunks())) if self.path is None else str(self.path)


def open_source(path: Path, where: str, member: str | None, readable: Iterable[str]) -> Source:
    """The table in `path`; of a .zip the `member` declared, else the table that the names of all others begin with.

    `readable` are the suffixes that can be a table. InputError names members that are unsafe, encrypted or too large,
    and lists those there are when it is not clear which one is meant.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _zip_member(path, where, member, tuple(readable))
    if member is not None:
        raise InputError([Problem(where, f"is no .zip, but `member` {member} is declared", "Remove `member`.")])
    if suffix == ".gz":
        return Source(path.stem, lambda: cast(IO[bytes], gzip.open(path)), where, path.stat().st_size)
    return Source(path.name, lambda: path.open("rb"), where, path=path)


def check_zip(archive: zipfile.ZipFile, where: str, read: Callable[[str], bool] = lambda name: True) -> None:
    """InputError when members of a zip file have unsafe names, or those to `read` are encrypted or hold too much."""
    again = "Pack it again without folders above it."
    problems = [
        Problem(where, f"holds a member named {member.filename!r}, which points outside the archive", again)
        for member in archive.infolist()
        if _points_outside(member)
    ][:MANY]
    members = [member for member in archive.infolist() if read(member.filename)]
    locked = [member.filename for member in members if member.flag_bits & 1]
    if locked:
        what = f"is encrypted ({', '.join(locked[:MANY])})"
        problems.append(Problem(where, what, "Export or pack it again without a password."))
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if _too_large(unpacked, packed):
        problems.append(_bomb(where, unpacked, packed))
    if problems:
        raise InputError(problems)


def _points_outside(member: zipfile.ZipInfo) -> bool:
    name = member.orig_filename  # ZipFile has made `filename` harmless already
    return (
        ".." in name.replace("\\", "/").split("/")
        or name.startswith(("/", "\\"))
        or bool(PureWindowsPath(name).drive)
        or "\0" in name
    )


def _too_large(unpacked: int, packed: int) -> bool:
    return unpacked > LARGEST_UNPACKED or (unpacked > SUSPICIOUS_SIZE and unpacked > SUSPICIOUS_RATIO * packed)


def _bomb(where: str, unpacked: int, packed: int) -> Problem:
    what = f"unpacks from {packed / 1e6:.1f} MB to {unpacked / 1e6:,.0f} MB or more, which no survey file does"
    return Problem(where, what, f"It may be damaged or made to do harm. {AGAIN}")


def _zip_member(path: Path, where: str, member: str | None, readable: tuple[str, ...]) -> Source:
    def is_table(name: str) -> bool:
        return name.lower().endswith(readable) and not set(PurePosixPath(name).parts[:-1]) & set(_NOT_TABLES)

    with zipfile.ZipFile(path) as archive:
        check_zip(archive, where, is_table)
        infos = {info.filename: info for info in archive.infolist()}
    tables = [name for name in infos if is_table(name)]
    if not tables:
        held = ", ".join(list(infos)[:MANY]) or "nothing"
        raise InputError([Problem(where, f"holds no table, only {held}", f"Pack one of {', '.join(readable)}.")])
    chosen = [name for name in tables if member in (name, PurePosixPath(name).name)] if member else _main(tables)
    if len(chosen) != 1:
        held = ", ".join(sorted(tables))
        what = f"has {'no' if not chosen else 'several'} member {member}" if member else "does not tell its main table"
        raise InputError([Problem(where, f"{what}; it holds {held}", "Name one of them as `member` of the file.")])
    name = chosen[0]
    others = sorted(PurePosixPath(other).name for other in tables if other != name)
    notes = [f"table {name} was read, not {', '.join(others)}"] if others and not member else []
    return Source(name, lambda: _open_member(path, name), where, infos[name].compress_size, notes=notes)


def _main(tables: list[str]) -> list[str]:
    """The tables whose name, without suffix, all other names begin with: `form.csv` of `form-children.csv`."""
    stems = {name: PurePosixPath(name).stem for name in tables}
    return [name for name, stem in stems.items() if all(other.startswith(stem) for other in stems.values())]


def _open_member(path: Path, name: str) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        return archive.open(name)  # stays readable after the archive is closed
