"""The record of the last publication that succeeded: what it was made from, and every file that it made."""

from __future__ import annotations

import json
import os
from pathlib import Path

from perception.project import Project


def forget_publication(project: Project) -> None:
    """A publication begins: until it has succeeded nothing may rely on what is there."""
    _record(project).unlink(missing_ok=True)


def record_publication(project: Project, made_from: str) -> None:
    """A publication has succeeded; `made_from` is a digest of its inputs, taken before it began."""
    record, aside = _record(project), _record(project).with_suffix(".aside")
    aside.write_text(json.dumps({"made_from": made_from, "outputs": _outputs(project)}), encoding="utf-8")
    os.replace(aside, record)


def whole_publication(project: Project) -> str | None:
    """What the last publication was made from; None unless it succeeded and every file it made is as it left it."""
    try:
        record = json.loads(_record(project).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    outputs = _outputs(project)
    same = all(outputs.get(name) == facts for name, facts in record["outputs"].items())
    return str(record["made_from"]) if same else None


def _record(project: Project) -> Path:
    return project.internal / "publication.json"


def _outputs(project: Project) -> dict[str, list[int]]:
    """Size and time of the last change (ns) of every file that publication makes."""
    tables = project.table("", None).parent.glob("[!.]*.parquet")
    files = [project.internal_warehouse, *tables, *project.public.rglob("*")]
    facts = {file: file.stat() for file in files if file.is_file()}
    return {str(file.relative_to(project.root)): [found.st_size, found.st_mtime_ns] for file, found in facts.items()}
