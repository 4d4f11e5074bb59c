"""The site: every page, image and asset, built from published tables in a new folder that then replaces the old one.

What a map says is `views`, a ranking `rankings`, a district's page `profiles`; figures of drivers are `figures`, what
stands around them `driver_pages`. `wave_pages` and `place_pages` put them on pages, those of waves by other processes
as `wave_parts`, which also draw the `images`. Here are the pages about everything, and the order of work.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from perception.errors import InputError, Problem
from perception.processes import processes
from perception.publish import data_page, embeds, images, maps, plotly_map, views
from perception.publish.downloads import clean_text, write_downloads
from perception.publish.language import LANGUAGES, labels_in, words_with
from perception.publish.page_templates import style_sheet
from perception.publish.place_pages import write_district_pages, write_service_pages
from perception.publish.site_work import Made, WaveWork, Work, headlines, listed, only, together
from perception.publish.wave_pages import wave_work
from perception.publish.wave_parts import part_key, part_of, put_in_place, remember, taken_over, write_part

if TYPE_CHECKING:
    from perception.geography import Geometry

OTHER_FOLDERS = (
    "assets",
    "districts",
    "services",
    data_page.FOLDER,
    *(language.folder.rstrip("/") for language in LANGUAGES if language.folder),
)
"""Folders of the site beside those of the waves; each language has its own of all of these but assets."""
OTHER_PAGES = ("index", "quality", "drivers")
"""Pages of a wave beside those of its indicators; those of driver models start with `drivers-`."""
LONGEST_TEXT = 700
"""Letters of a text of a wave or a questionnaire that are shown; the public tables have all of it."""


def write_site(
    tables: Mapping[str, pd.DataFrame],
    geometries: Mapping[str, Geometry],
    units: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    made_at: str,
    kept: Path | None = None,
    data_files: Callable[[], Mapping[str, bytes]] = dict,
) -> dict[str, Path]:
    """Build the site of all published waves in `folder`; a failure leaves the old site as it was.

    `tables` are the published ones, any of them empty but that of waves; `geometries` and `units` the shapes and
    districts (`geography.vintage_units`) by vintage, those of trends included; `made_at` is written into the provenance
    files; the folder `kept` is where it is remembered what the pages of each wave were made from, which are taken over
    from the old site where that is still the same; `data_files` makes, while other processes write pages, the files
    that stand beside the page about the data and are offered there (see `data_page`), by name.
    Returns the pages by name: `index`, `methods`, `data/index`, `districts/index`, `districts/<district>`,
    `services/index`, `services/<instrument>-<service>`, `<wave>/index`, `<wave>/quality`, `<wave>/<indicator>`,
    `<wave>/drivers`, `<wave>/drivers-<model>`, `<wave>/drivers-<model>-districts`; each stands in the folder of every
    other language of `language.LANGUAGES` too. InputError lists vintages without geometry, districts that are not on
    their vintage, and waves and indicators whose id is the name of another folder or page of the site.
    """
    _check(tables, geometries, units)
    tables = {name: _shown_texts(frame) for name, frame in _shown_rows(tables).items()}
    units = {vintage: _shown_texts(frame) for vintage, frame in units.items()}
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)  # an earlier run died between the two renames below
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
    try:
        labels = {language.code: labels_in(language, tables) for language in LANGUAGES}
        work = Work(tables, geometries, units, labels, maps.scales(tables), fresh, made_at)
        made = _build(work, folder, kept, data_files)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    except BaseException:
        if old.exists():
            os.replace(old, folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return {name: folder / page for name, page in made.pages.items()}


def _shown_rows(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with the rows that pages show, which are few of all; and `direct_estimates`."""
    of_everybody = only(tables["published_estimates"], domain="all")
    return {
        **tables,
        "published_estimates": maps.shown_estimates(of_everybody),
        "direct_estimates": only(of_everybody, method="direct"),
        "published_gaps": only(tables["published_gaps"], level="district"),
        "published_trends": only(tables["published_trends"], level="district", domain="all"),
    }


def _shown_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its texts in one line, without what turns the text around them, none longer than `LONGEST_TEXT`.

    Titles, labels and citations stand dozens of times on a page, so that a boundless one would make pages boundless.
    Texts become Python's own: pages take small parts of tables thousands of times, at a tenth of what Arrow's cost.
    """
    shown = {}
    for column in frame.select_dtypes(["object", "str"]):
        texts = [value for value in frame[column].dropna().unique() if isinstance(value, str)]
        changed = {value: short for value in texts if (short := _shown_text(value)) != value}
        values = frame[column].astype("object")
        shown[str(column)] = values.replace(changed) if changed else values
    return frame.assign(**shown)


def _shown_text(text: str) -> str:
    clean = clean_text(text)
    return clean if len(clean) <= LONGEST_TEXT else f"{clean[: LONGEST_TEXT - 1]}…"


def _check(
    tables: Mapping[str, pd.DataFrame], geometries: Mapping[str, Geometry], units: Mapping[str, pd.DataFrame]
) -> None:
    problems = []
    placed = {
        "published_estimates": only(tables["published_estimates"], level="district").rename(
            columns={"unit_id": "district_id"}
        ),
        "published_diagnosis": tables["published_diagnosis"],
    }
    for wave, vintage in zip(*(tables["published_waves"][name] for name in ("wave", "vintage")), strict=True):
        if wave in OTHER_FOLDERS:
            what = f"its id is the name of a folder that every site has: {', '.join(OTHER_FOLDERS)}"
            problems.append(Problem(f"wave {wave}", what, "Give the wave another id."))
        for indicator in only(tables["published_indicators"], wave=wave)["indicator"]:
            if indicator in OTHER_PAGES or str(indicator).startswith("drivers-"):
                what = f"its id is the name of a page that every wave has: {', '.join(OTHER_PAGES)}, drivers-…"
                problems.append(Problem(f"wave {wave}, indicator {indicator}", what, "Give the indicator another id."))
        shared = only(tables["published_trends"], wave=wave)["vintage"].dropna().unique()
        for needed in dict.fromkeys([vintage, *shared]):
            if needed not in geometries or needed not in units:
                remedy = f"Pass the geometry and the units of vintage {needed}."
                problems.append(Problem(f"wave {wave}", f"no districts are known for its vintage {needed}", remedy))
        if vintage not in units:
            continue
        for table, districts in placed.items():
            found = set(only(districts, wave=wave)["district_id"])
            if strange := sorted(found - set(units[vintage]["district_id"])):
                what = f"{table} has districts that are not on vintage {vintage}: {', '.join(strange)}"
                problems.append(Problem(f"wave {wave}", what, "Correct the wave's vintage or its district names."))
    if problems:
        raise InputError(problems)


def _build(work: Work, before: Path, kept: Path | None, data_files: Callable[[], Mapping[str, bytes]]) -> Made:
    """Write everything; what of the site `before` is still good is taken over."""
    (work.root / "assets").mkdir()
    for language in work.environments:
        for folder in ("districts", "services", data_page.FOLDER, *work.titles):
            (work.root / language.folder / folder).mkdir(parents=True)
    parts = {name: part_of(work, name) for name in work.titles}
    keys = {name: part_key(part) for name, part in parts.items()} if kept else {}
    old = {name: taken_over(key, kept, before, work.root) for name, key in keys.items()} if kept else {}
    with processes(len(work.tables["published_indicators"])) as executor:
        fresh = {name: executor.submit(write_part, parts[name], name) for name in parts if old.get(name) is None}
        # What people answered is shown before what is simulated.
        waves = sorted((wave_work(work, name) for name in work.titles), key=lambda one: bool(one.wave["simulated"]))
        write_district_pages(work, waves)
        write_service_pages(work, waves)
        _overview_pages(work, waves)
        data_page.write_data_page(work, data_files())
        files = _write_files(work.made, work.root, before, executor)
        for name, written in fresh.items():
            files += _write_files(written.result(), parts[name].root, before, executor)
        for file in files:
            file.result()
    known = {name: (written.result(), put_in_place(parts[name], work.root)) for name, written in fresh.items()}
    if kept:
        remember(kept, {key: known.get(name) for name, key in keys.items()})
    shutil.rmtree(work.root / ".parts", ignore_errors=True)
    made = Made()
    for name in work.titles:
        made.add(old.get(name) or known[name][0])
    made.add(work.made)
    embeds.write_index(made.embeds, work.waves, work.root)
    _write_assets(work, made)
    return made


def _write_files(made: Made, root: Path, before: Path, executor: Executor) -> list[Future[None]]:
    """Have the images and data files of what was made written under `root`."""
    drawn = images.write_images(made.images, root, before, executor)
    return drawn + [executor.submit(write_downloads, *each) for each in made.downloads]


def _overview_pages(work: Work, waves: Sequence[WaveWork]) -> None:
    """Write the home page and the page of methods."""
    simulated = bool(waves) and all(one.wave["simulated"] for one in waves)
    latest = [one for one in waves if together(one.wave) == together(waves[0].wave)]
    sections = []
    for one in latest:
        if not one.headline:
            continue
        main, *others = one.headline
        spec = views.band_map(main, one.ground.base) if one.ground else None
        sections.append(
            {
                "wave": one.wave,
                "ground": one.ground,
                "spec": spec,
                "headline": " ".join(headlines(main)),
                "main": main,
                "listed": listed(main),
                "dates": maps.dates(one.wave),
                "others": [{"of": of, "bands": listed(of)} for of in others],
            }
        )
    rounds: dict[str, list[WaveWork]] = {}
    for one in waves:
        rounds.setdefault(f"{one.wave['instrument']} {one.wave['round']}", []).append(one)
    about = {"simulated": simulated}
    work.write_page("index", "index", {**about, "sections": sections, "rounds": list(rounds.values())})
    work.write_page("methods", "methods", about)


def _write_assets(work: Work, made: Made) -> None:
    from plotly.offline import get_plotlyjs

    assets, own = work.root / "assets", Path(__file__).with_name("templates")
    shutil.copyfile(own / "site.js", assets / "site.js")
    (assets / "style.css").write_text(style_sheet(), encoding="utf-8")
    (assets / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    drawn = {ground.base.geometry.vintage for ground in work.grounds.values()}
    for vintage in sorted(drawn):
        script = plotly_map.geometry_script(work.geometries[vintage], work.units[vintage])
        (assets / f"geometry-{vintage}.js").write_text(script, encoding="utf-8")
    for language in work.environments:
        found = _found(made, words_with(language, work.labels[language.code]).fixed)
        entries = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        script = f"window.perceptionSearch = {entries};\n"
        (work.root / language.search_file).write_text(script, encoding="utf-8")


def _found(made: Made, translated: Callable[[str], str]) -> list[tuple[str, ...]]:
    """What the search box of a language finds: label, what it is, page, and the English label where it is another."""
    found = []
    for label, kind, page in made.found:
        shown = translated(label)
        found.append((shown, translated(kind), page, *([label] if shown != label else [])))
    return found
