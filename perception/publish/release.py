"""Releases: copies of the site that never change, under addresses that stay, with checksums and a log of revisions.

`data/releases/` holds `v1/`, `v2/` ..., of which each carries its own record (`revision.json`) and `SHA256SUMS`, and
what is made from them: `latest/`, `revisions.json` and `revisions.html`. `latest/` is a copy of the newest version and
no link to it, because its snippets give addresses below `latest/`, which a link could not, and because places that
serve files do not follow links. A version comes into being in one step, when its finished folder gets its name; what
is made from the versions is made good by the next release should this one die before.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from filelock import Timeout

from perception.errors import InputError, Problem
from perception.intake.wave_file import ACROSS_WAVES, CHECKSUMS_FILE, sha256
from perception.project import Project
from perception.publication_record import whole_publication
from perception.publish import embeds, maps
from perception.publish.downloads import clean_text
from perception.publish.page_templates import page_environment

Revision = dict[str, Any]
REVISION_FILE = "revision.json"
LOG_FILE = "revisions.json"
LATEST = "latest"
_VERSION = re.compile(r"v[1-9][0-9]*")
_ADDRESS = re.compile(r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*/?")
"""Of letters that mean the same in HTML, XML, JSON, Markdown and an address, so that it can stand in each as it is."""
_CLOCK = re.compile(rb'"made_at":\s*"[^"]*"')
_MOST_NAMED = 5


@dataclass(frozen=True)
class Release:
    """A version that was made: its number, its folder, the record of it, and what its maker should know."""

    version: int
    folder: Path
    revision: Revision
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Standing:
    """Where a copy of the site stands: its address, and what its embed panels say of that."""

    address: str
    note: str


_PREVIEW = _Standing(embeds.PREVIEW_ADDRESS, embeds.PREVIEW_NOTE)


def release(project: Project, address: str | None, note: str, today: date) -> Release:
    """Make the next version of what is in data/processed/public: the site, and the public tables where they are there.

    `address` is where data/releases will be served (https); the first release needs it, later ones keep it. `note`
    says what is new. InputError when there is no site, note or address, the last publication failed or what it made
    was changed since, an earlier version is not as it was made, a run is publishing, or nothing has changed since the
    last version.
    """
    folder = project.releases
    with _alone(project):
        earlier, problems = _earlier(folder)
        problems += _site_problems(project)
        if earlier or not _version_folders(folder):  # else no version can be read, and its address is not known
            problems += _address_problems(earlier, address)
        if not clean_text(note):
            problems.append(Problem("note", "says nothing", "Say what is new, for the log of revisions."))
        if problems:
            raise InputError(problems)
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        _complete(folder, earlier)
        sources = _sources(project)
        changes = _changes(folder, earlier, sources)
        if earlier and not any(changes["files"].values()):
            remedy = "Run `perception run` after a change; there is nothing to release before."
            raise InputError([Problem(f"version {len(earlier)}", "nothing has changed since", remedy)])
        base = earlier[0]["address"] if earlier else _with_slash(address or "")
        revision = _revision(folder, earlier, sources, base, clean_text(note), today, changes)
        version = _write_version(folder, revision, sources)
        _complete(folder, [*earlier, revision])
    return Release(revision["version"], version, revision, _warnings(revision))


def newest_release(project: Project) -> Path | None:
    """The folder of the newest version, if there is one."""
    found = _version_folders(project.releases)
    return found[max(found)] if found else None


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    """While no run publishes and no other release is made."""
    lock = project.lock(ACROSS_WAVES)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        remedy = "Wait for it to end, and release again."
        raise InputError([Problem(str(project.public), "a run or another release is at work", remedy)]) from None
    try:
        yield
    finally:
        lock.release()


def _version_folders(folder: Path) -> dict[int, Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return {int(path.name[1:]): path for path in found if _VERSION.fullmatch(path.name)}


def _earlier(folder: Path) -> tuple[list[Revision], list[Problem]]:
    """The records of the versions that are there, and everything about them that is not as it was made."""
    found = _version_folders(folder)
    problems = [
        Problem(f"data/releases/v{number}", "is not there, but a later version is", "Restore it from a copy.")
        for number in range(1, max(found, default=0))
        if number not in found
    ]
    revisions: list[Revision] = []
    for number, path in sorted(found.items()):
        if wrong := _altered(path):
            problems.append(
                Problem(f"data/releases/v{number}", wrong, "Restore it from a copy: versions never change.")
            )
            continue
        revision = json.loads((path / REVISION_FILE).read_text(encoding="utf-8"))
        before = found.get(number - 1)
        if before and (before / CHECKSUMS_FILE).is_file() and revision["previous"] != sha256(before / CHECKSUMS_FILE):
            what = f"is not the version that v{number} followed"
            problems.append(Problem(f"data/releases/v{number - 1}", what, "Restore it from a copy."))
        revisions.append(revision)
    if not problems:
        problems += _log_problems(folder, revisions)
    return revisions, problems


def _altered(folder: Path) -> str:
    """How a folder differs from its checksums, in words; empty where it does not."""
    try:
        lines = (folder / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"has no readable {CHECKSUMS_FILE}: no release made it, or not the whole of it"
    recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    there.pop(CHECKSUMS_FILE, None)
    found = {
        "missing": recorded.keys() - there.keys(),
        "added": there.keys() - recorded.keys(),
        "altered": {name for name in recorded.keys() & there.keys() if sha256(there[name]) != recorded[name]},
    }
    return "; ".join(f"{what}: {_some(names)}" for what, names in found.items() if names)


def _some(names: set[str]) -> str:
    shown = sorted(names)[:_MOST_NAMED]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _log_problems(folder: Path, revisions: Sequence[Revision]) -> list[Problem]:
    """The log may be behind the versions, when a release died before it wrote it, and nothing else."""
    path = folder / LOG_FILE
    if not path.exists():
        return []
    where = f"data/releases/{LOG_FILE}"
    try:
        logged = json.loads(path.read_text(encoding="utf-8"))["revisions"]
        count = len(logged)
    except (ValueError, KeyError, TypeError):
        return [Problem(where, "cannot be read", "Delete it: it is made again from the versions.")]
    if count > len(revisions):
        what = f"names {count} versions, of which {len(revisions)} are there"
        return [Problem(where, what, "Restore the others from a copy.")]
    if logged != _log(folder, revisions[:count])["revisions"]:
        return [Problem(where, "does not say what the versions say", "Delete it: it is made again from the versions.")]
    return []


def _site_problems(project: Project) -> list[Problem]:
    remedy = "Make it with `perception run`."
    if not (project.site / "index.html").is_file():
        return [Problem(str(project.site), "there is no site to release", remedy)]
    if not (project.site / embeds.INDEX_FILE).is_file():
        return [Problem(str(project.site), f"has no {embeds.INDEX_FILE}: an earlier code version made it", remedy)]
    if whole_publication(project) is None:
        what = "is not what `perception run` leaves: its last publication failed, or something else changed files since"
        return [Problem(str(project.public), what, "Publish with `perception run`, then release.")]
    return []


def _address_problems(earlier: Sequence[Revision], address: str | None) -> list[Problem]:
    if address is None and not earlier:
        remedy = "Give the address under which data/releases will be served, such as https://example.org/surveys/."
        return [Problem("address", "the first release needs one", remedy)]
    if address is not None and not _ADDRESS.fullmatch(address):
        remedy = "Give one such as https://example.org/surveys/: without a query, a user or letters beyond A to Z."
        return [Problem(f"address {address}", "is no https address that can be used", remedy)]
    if address is not None and earlier and _with_slash(address) != earlier[0]["address"]:
        what = f"is another than {earlier[0]['address']}, which people have embedded"
        remedy = "Leave it out. If the site has moved, let the old address forward to the new one."
        return [Problem(f"address {address}", what, remedy)]
    return []


def _with_slash(address: str) -> str:
    return address.rstrip("/") + "/"


def _sources(project: Project) -> dict[str, Path]:
    """The files of a release by their path in it."""
    site = {path.relative_to(project.site).as_posix(): path for path in project.site.rglob("*") if path.is_file()}
    tables = {path.name: path for path in (project.public_warehouse, project.sdg_file) if path.is_file()}
    return dict(sorted({**tables, **site}.items()))


def _of_version(base: str, version: int) -> _Standing:
    note = f"These addresses are of version {version}, which never changes. The newest one is always at {base}{LATEST}/"
    return _Standing(f"{base}v{version}/", note)


def _of_latest(base: str) -> _Standing:
    note = f"These addresses always show the newest version. Versions that never change: {base}revisions.html"
    return _Standing(f"{base}{LATEST}/", note)


def _moved(path: Path, old: _Standing, new: _Standing) -> bytes:
    """The content of a file of the site, standing somewhere else."""
    content = path.read_bytes()
    if path.suffix == ".xlsx":
        return _workbook_moved(content, old, new)
    return _text_moved(content, old, new) if path.suffix in (".html", ".json") else content


def _text_moved(content: bytes, old: _Standing, new: _Standing) -> bytes:
    for before, after in ((old.note, new.note), (old.address, new.address)):
        content = content.replace(before.encode(), after.encode())
    return content


def _workbook_moved(content: bytes, old: _Standing, new: _Standing) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w") as target:
            for part in source.infolist():
                target.writestr(part, _text_moved(source.read(part), old, new))
        return file.getvalue()


def _changes(folder: Path, earlier: Sequence[Revision], sources: Mapping[str, Path]) -> dict[str, Any]:
    """What is new since the last version: waves by name, files by number; the time of making is no change."""
    waves = {wave["wave"]: wave["wave_version"] for wave in _waves(sources)}
    before = {wave["wave"]: wave["wave_version"] for wave in earlier[-1]["waves"]} if earlier else {}
    last = folder / f"v{len(earlier)}"
    old = {path.relative_to(last).as_posix() for path in last.rglob("*") if path.is_file()}
    old -= {CHECKSUMS_FILE, REVISION_FILE}
    both = [name for name in sources if name in old]
    standing = _of_version(earlier[0]["address"], len(earlier)) if earlier else _PREVIEW
    return {
        "waves": {
            "added": sorted(waves.keys() - before.keys()),
            "changed": sorted(name for name in waves.keys() & before.keys() if waves[name] != before[name]),
            "removed": sorted(before.keys() - waves.keys()),
        },
        "files": {
            "added": len(sources.keys() - old),
            "changed": sum(not _same(sources[name], last / name, standing) for name in both),
            "removed": len(old - sources.keys()),
        },
    }


def _same(fresh: Path, released: Path, standing: _Standing) -> bool:
    if fresh.suffix == ".duckdb":
        return sha256(fresh) == sha256(released) or _tables(fresh) == _tables(released)
    content, before = _moved(fresh, _PREVIEW, standing), released.read_bytes()
    if fresh.suffix == ".json":
        content, before = (_CLOCK.sub(b"", text) for text in (content, before))
    return content == before


def _tables(file: Path) -> list[tuple[Any, ...]]:
    """What tells the tables of two DuckDB files apart; the bytes do not, for they are never the same twice."""
    import duckdb

    with duckdb.connect(str(file), read_only=True) as connection:
        names = sorted(name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall())
        told = []
        for name in names:
            table = '"' + name.replace('"', '""') + '"'
            columns = connection.execute(f"DESCRIBE {table}").fetchall()
            told.append((name, columns, connection.execute(f"SELECT count(*), sum(hash(t)) FROM {table} t").fetchone()))
        return told


def _waves(sources: Mapping[str, Path]) -> list[dict[str, Any]]:
    index = json.loads(sources[embeds.INDEX_FILE].read_text(encoding="utf-8"))
    return [{name: wave[name] for name in ("wave", "title", "wave_version", "simulated")} for wave in index["waves"]]


def _revision(
    folder: Path,
    earlier: Sequence[Revision],
    sources: Mapping[str, Path],
    base: str,
    note: str,
    today: date,
    changes: dict[str, Any],
) -> Revision:
    pages = (path.read_text(encoding="utf-8") for path in sources.values() if path.suffix == ".html")
    waves = _waves(sources)
    return {
        "version": len(earlier) + 1,
        "date": today.isoformat(),
        "note": note,
        "address": base,
        "simulated": all(wave["simulated"] for wave in waves),
        "preview_boundaries": any(maps.PREVIEW_NOTE in page for page in pages),
        "waves": waves,
        "changes": changes,
        "previous": sha256(folder / f"v{len(earlier)}" / CHECKSUMS_FILE) if earlier else None,
    }


def _warnings(revision: Revision) -> tuple[str, ...]:
    every = "Every wave is simulated; every page and the log of revisions say so."
    preview = (
        "The maps are marked as a preview: their boundaries are not cleared for publication (data/raw/boundaries)."
    )
    return tuple(
        words for words, holds in ((every, revision["simulated"]), (preview, revision["preview_boundaries"])) if holds
    )


def _write_version(folder: Path, revision: Revision, sources: Mapping[str, Path]) -> Path:
    """Write a version aside and give it its name when it is whole; its files can only be read from then on."""
    number = revision["version"]
    aside, target = folder / f".v{number}.building", folder / f"v{number}"
    _write_copy(aside, sources, _PREVIEW, _of_version(revision["address"], number), _json(revision))
    for path in sorted(aside.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    os.replace(aside, target)
    target.chmod(0o555)
    return target


def _write_copy(folder: Path, sources: Mapping[str, Path], old: _Standing, new: _Standing, revision: bytes) -> None:
    for name, source in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_moved(source, old, new))
    (folder / REVISION_FILE).write_bytes(revision)
    lines = [f"{sha256(folder / name)}  {name}\n" for name in sorted([*sources, REVISION_FILE])]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), encoding="utf-8")


def _complete(folder: Path, revisions: Sequence[Revision]) -> None:
    """Make what is made from the versions, unless it is there as it should be."""
    if not revisions:
        return
    version, latest = folder / f"v{len(revisions)}", folder / LATEST
    record = (version / REVISION_FILE).read_bytes()
    if not latest.is_dir() or _altered(latest) or (latest / REVISION_FILE).read_bytes() != record:
        _write_latest(folder, version, revisions[-1], record)
    log = _log(folder, revisions)
    page = page_environment().get_template("revisions.html.j2").render(log=log, latest=LATEST)
    for path, content in ((folder / LOG_FILE, _json(log)), (folder / "revisions.html", page.encode())):
        aside = path.with_name(f".{path.name}.building")
        aside.write_bytes(content)
        os.replace(aside, path)


def _write_latest(folder: Path, version: Path, revision: Revision, record: bytes) -> None:
    base = revision["address"]
    aside, old, latest = folder / f".{LATEST}.building", folder / f".{LATEST}.old", folder / LATEST
    kept = {path.relative_to(version).as_posix(): path for path in version.rglob("*") if path.is_file()}
    own = (CHECKSUMS_FILE, REVISION_FILE)
    sources = {name: path for name, path in kept.items() if name not in own}
    _write_copy(aside, sources, _of_version(base, revision["version"]), _of_latest(base), record)
    if latest.exists():
        os.replace(latest, old)
    os.replace(aside, latest)
    shutil.rmtree(old, ignore_errors=True)


def _log(folder: Path, revisions: Sequence[Revision]) -> dict[str, Any]:
    """What `revisions.json` says: the address, and each version with the digest of its checksums."""
    entries = [
        {**revision, "sha256sums": sha256(folder / f"v{number}" / CHECKSUMS_FILE)}
        for number, revision in enumerate(revisions, start=1)
    ]
    return {"address": revisions[0]["address"] if revisions else "", "revisions": entries}


def _tidy(folder: Path) -> None:
    """Remove what a release that died left behind."""
    for leftover in (*folder.glob(".*.building"), *folder.glob(".*.old")):
        if leftover.is_dir():
            for path in (leftover, *leftover.rglob("*")):
                if path.is_dir():
                    path.chmod(0o755)
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
