"""A folder for a brief: chosen figures as images and data, with captions, alt texts and citations ready to paste."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.errors import InputError, Problem
from perception.project import Project
from perception.publish import embeds, maps
from perception.publish.downloads import ENDINGS
from perception.publish.page_templates import page_environment
from perception.publish.release import REVISION_FILE, newest_release

Entry = dict[str, Any]
PREVIEW_WARNING = (
    "Made from a preview that has not been released: numbers may still change, and there is no address to cite."
)
_NEAR = 50
"""How alike two names have to be, of 100, for one to be proposed for the other."""
_IMAGE_WIDTH = 600


@dataclass(frozen=True)
class Export:
    """What was written where: how many figures and files, and the version they are from (None: the preview)."""

    folder: Path
    figures: int
    files: int
    version: int | None


def export(
    project: Project,
    folder: Path,
    *,
    waves: Sequence[str] = (),
    indicators: Sequence[str] = (),
    districts: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> Export:
    """Write the embeds that are of one of `waves`, `indicators`, `districts` and `kinds` into a new folder.

    Each choice that is empty takes all. The folder gets images (SVG, PNG in two sizes) and data files under the paths
    they have on the site, `brief.md`, `brief.html` and `citations.txt`, what is simulated last. They come from the
    newest release, or from the preview where there is none. InputError when nothing is chosen or a name is unknown
    (with the nearest names), the folder has something in it, or there is no site or a file of it is missing.
    """
    released = newest_release(project)
    site = released or project.site
    index_file = site / embeds.INDEX_FILE
    if not index_file.is_file():
        remedy = "Make the site with `perception run`."
        raise InputError([Problem(str(site), f"has no {embeds.INDEX_FILE} to choose from", remedy)])
    index = json.loads(index_file.read_text(encoding="utf-8"))
    wanted = {"wave": waves, "indicator": indicators, "district": districts, "kind": kinds}
    problems = [*_choice_problems(index["embeds"], wanted), *_folder_problems(folder)]
    if problems:
        raise InputError(problems)
    chosen = [one for one in index["embeds"] if all(one[name] in names for name, names in wanted.items() if names)]
    chosen.sort(key=lambda one: bool(one["simulated"]))
    files = [name for one in chosen for name in _file_names(one)]
    if not chosen:
        given = ", ".join(f"{name} {' or '.join(names)}" for name, names in wanted.items() if names)
        problems.append(Problem(given, "no figure is all of this", "Leave out one of them."))
    problems += [
        Problem(str(site / name), "the file is not there", "Make the site again with `perception run`.")
        for name in dict.fromkeys(files)
        if not (site / name).is_file()
    ]
    if problems:
        raise InputError(problems)
    version = json.loads((site / REVISION_FILE).read_text(encoding="utf-8"))["version"] if released else None
    _write(folder, site, chosen, list(dict.fromkeys(files)), index["address"], version)
    return Export(folder, len(chosen), len(set(files)), version)


def _choice_problems(entries: Sequence[Entry], wanted: dict[str, Sequence[str]]) -> list[Problem]:
    from rapidfuzz import fuzz, process

    if not any(wanted.values()):
        remedy = "Choose with --wave, --indicator, --district or --kind."
        return [Problem("export", "nothing is chosen", remedy)]
    problems = []
    for what, names in wanted.items():
        known = sorted({entry[what] for entry in entries} - {""})
        for name in (name for name in names if name not in known):
            near = process.extract(name, known, scorer=fuzz.WRatio, limit=3, score_cutoff=_NEAR)
            remedy = (
                f"Nearest: {', '.join(found for found, _, _ in near)}." if near else f"There are: {_listed(known)}."
            )
            problems.append(Problem(f"{what} {name}", "there is no figure of it", remedy))
    return problems


def _listed(names: Sequence[str], most: int = 20) -> str:
    return (", ".join(names[:most]) + (" ..." if len(names) > most else "")) or "none"


def _folder_problems(folder: Path) -> list[Problem]:
    if folder.is_dir() and not any(folder.iterdir()):
        return []
    remedy = "Name a folder that is empty or not there yet."
    return [Problem(str(folder), "is there already and is not empty", remedy)] if folder.exists() else []


def _file_names(entry: Entry) -> list[str]:
    images = [entry["path"] + ending for ending in embeds.IMAGES.values()]
    return images + [entry["data"] + ending for ending in ENDINGS]


def _write(
    folder: Path, site: Path, chosen: Sequence[Entry], files: Sequence[str], address: str, version: int | None
) -> None:
    """Write everything aside, then give the folder its name: it appears whole or not at all."""
    folder = folder.absolute()
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.writing")
    aside.mkdir(parents=True)
    try:
        for name in files:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(site / name, aside / name)
        figures = [_figure(entry, address if version else "") for entry in chosen]
        warning = "" if version else PREVIEW_WARNING
        content = {"figures": figures, "warning": warning, "version": version, "width": _IMAGE_WIDTH}
        page = page_environment().get_template("brief.html.j2").render(content)
        (aside / "brief.html").write_text(page, encoding="utf-8")
        (aside / "brief.md").write_text(_markdown(figures, warning), encoding="utf-8")
        (aside / "citations.txt").write_text(_citations(chosen, warning, address, version), encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        os.replace(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _figure(entry: Entry, address: str) -> Entry:
    """What a brief shows of a figure; `address` is that of the release, empty where there is none."""
    return {
        **{name: entry[name] for name in ("title", "subtitle", "headline", "alt", "caption", "source", "simulated")},
        "image": f"{entry['path']}@2x.png",
        "height": round(_IMAGE_WIDTH * entry["height"] / entry["width"]),
        "data": [entry["data"] + ending for ending in ENDINGS],
        "page": address + entry["page"] if address else "",
    }


def _markdown(figures: Sequence[Entry], warning: str) -> str:
    text = embeds.markdown_text
    parts = [f"**{text(warning)}**"] if warning else []
    for one in figures:
        parts += [
            f"## {text(one['title'])}",
            *([f"**{maps.SIMULATED_NOTE}**"] if one["simulated"] else []),
            *([text(one["subtitle"])] if one["subtitle"] else []),
            *([f"**{text(one['headline'])}**"] if one["headline"] else []),
            f"![{text(one['alt'])}]({one['image']})",
            *([text(one["caption"])] if one["caption"] else []),
            text(one["source"]) + (f" <{one['page']}>" if one["page"] else ""),
            "Data: " + ", ".join(f"[{Path(name).suffix[1:].upper()}]({name})" for name in one["data"]),
        ]
    return "\n\n".join(parts) + "\n"


def _citations(chosen: Sequence[Entry], warning: str, address: str, version: int | None) -> str:
    """Each source once, marked where it is simulated; where the figures were taken from."""
    lines = dict.fromkeys(
        (f"{maps.SIMULATED}: " if entry["simulated"] else "") + f"{entry['citation']} (licence: {entry['licence']})"
        for entry in chosen
    )
    origin = f"Figures: version {version}, {address}" if version else warning
    return "\n".join([*lines, "", origin]) + "\n"
