"""The pages of districts and of services: what all waves say of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.publish import embeds, maps, profiles, site_embeds, views
from perception.publish.embeds import Embed
from perception.publish.maps import Row
from perception.publish.profiles import Profile, Result
from perception.publish.site_work import WaveWork, Work, draw, listed, models_of, only, rows_by, write_embeds

if TYPE_CHECKING:
    from perception.geography import Geometry


def write_district_pages(work: Work, waves: Sequence[WaveWork]) -> None:
    """Write a page for every district with its profile in the first wave of each instrument, and the list of districts.

    `waves` are in the order in which they are shown; simulated and other waves of an instrument stand apart.
    """
    gaps = rows_by(work.tables["published_gaps"], "wave", "unit_id")
    found: dict[str, list[Profile]] = {}
    seen: defaultdict[tuple[str, bool], set[str]] = defaultdict(set)
    cards: dict[str, Embed] = {}
    for one in waves:
        subjects, series = list(one.subjects.values()), _series(one.wave)
        surveyed = {key for of in subjects for level, key in of.estimates if level == "district"}
        to_show = surveyed - seen[series]
        seen[series] |= surveyed
        explained = only(work.tables["published_diagnosis"], wave=one.name)["district_id"]
        told = _told(work, one) if to_show.intersection(explained) else {}
        for unit in work.districts(one.wave["vintage"]):
            key = unit["district_id"]
            if key not in to_show:
                continue
            rows = gaps.get((one.name, key), [])
            made = profiles.profile(subjects, unit, one.changes, rows, told.get(key, []), one.since)
            found.setdefault(key, []).append(made)
            inputs = {"table": "published_estimates", "district": key, "figure": "card"}
            drawing = profiles.card(made)
            draw(work, made.card, drawing, one.wave, inputs)
            embed = site_embeds.card_embed(made, drawing, work.parts.main_results(made, linked=False))
            write_embeds(work, [embed])
            cards[made.card] = embed
            data = site_embeds.district_data(subjects, made, one.changes, embed.page)
            work.made.downloads.append((data, work.root / embed.data))
    by_name = {one.name: one for one in waves}
    beside = {vintage: _neighbours(geometry) for vintage, geometry in work.geometries.items()}
    for key, made_of in sorted(found.items()):
        first = by_name[made_of[0].wave["wave"]]
        near = [found[other][0] for other in beside[first.wave["vintage"]].get(key, []) if other in found]
        content = {
            "name": made_of[0].name,
            "province": made_of[0].province,
            "profiles": [
                {"of": made, "history": _history(work, waves, made), "panel": embeds.panel(cards[made.card], "../")}
                for made in made_of
            ],
            "oembed_link": embeds.oembed_link(cards[made_of[0].card], embeds.PREVIEW_ADDRESS),
            "neighbours": [{"of": other, "message": _after_the_name(other)} for other in near],
            "ground": first.ground,
            "district_id": key,
            "simulated": all(made.wave["simulated"] for made in made_of),
        }
        work.write_page(f"districts/{key}", "district", content)
        work.made.found.append((made_of[0].name, f"District, {made_of[0].province}", f"districts/{key}.html"))
    _write_district_list(work, list(found.values()))


def _told(work: Work, one: WaveWork) -> dict[str, list[tuple[str, str]]]:
    """What driver models of a wave say of its low and watched districts, and where, by district."""
    told: dict[str, list[tuple[str, str]]] = {}
    for model in models_of(work, one.wave):
        for district in model.districts:
            place = f"{one.name}/{model.page}-districts.html#{district.district_id}"
            told.setdefault(district.district_id, []).append((district.figure.reading, place))
    return told


def _write_district_list(work: Work, found: Sequence[Sequence[Profile]]) -> None:
    by_province: dict[str, list[Sequence[Profile]]] = {}
    for made_of in sorted(found, key=lambda made_of: (made_of[0].province, made_of[0].name)):
        by_province.setdefault(made_of[0].province, []).append(made_of)
    simulated = all(wave["simulated"] for wave in work.waves)
    content = {"provinces": by_province, "former": former_districts(work.units), "simulated": simulated}
    work.write_page("districts/index", "districts", content)


def former_districts(units: Mapping[str, pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """The last vintage that has a district and the next one, of each district that the newest vintage no longer has.

    `units` are the districts (`geography.vintage_units`) by vintage.
    """
    found: dict[str, tuple[str, str]] = {}
    for vintage, following in pairwise(sorted(units)):
        here, there = (set(units[one]["district_id"]) for one in (vintage, following))
        found |= dict.fromkeys(here - there, (vintage, following))
        found = {key: between for key, between in found.items() if key not in there}
    return found


def _series(wave: Row) -> tuple[str, bool]:
    """What waves have in common whose results of a district follow each other."""
    return wave["instrument"], bool(wave["simulated"])


def _after_the_name(made: Profile) -> str:
    """A district's message as it goes on after a link with its name."""
    follows = made.message.removeprefix(f"{made.name} ")
    return f" {follows}" if follows != made.message else f": {made.message}"


def _neighbours(geometry: Geometry) -> dict[str, list[str]]:
    from perception.geography import neighbours

    pairs = neighbours(geometry.shapes)
    return {str(key): rows["neighbour_id"].tolist() for key, rows in pairs.groupby("district_id")}


def _history(work: Work, waves: Sequence[WaveWork], made: Profile) -> dict[str, list[tuple[Row, Result]]]:
    """The headline results of a district by label: (wave, result) of each wave of the series that has it, newest first.

    All strips of an indicator have the same ends, which hold all its intervals here and those of the province.
    """
    series = [one for one in waves if _series(one.wave) == _series(made.wave)]
    newest = next(one for one in series if one.name == made.wave["wave"])
    unit = next(unit for unit in work.districts(made.wave["vintage"]) if unit["district_id"] == made.district_id)
    found = {}
    for of in newest.headline:
        every = (one.subjects.get(str(of.indicator["indicator"])) for one in series)
        subjects = [subject for subject in every if subject and subject.district(made.district_id) is not None]
        places = (("district", made.district_id), ("province", str(unit["province_id"])))
        drawn = (subject.estimates.get(place) for subject in subjects for place in places)
        ends = views.strip_ends((row for row in drawn if row and maps.is_published(row)), of.scale)
        if len(subjects) > 1:
            rows = [(subject.wave, profiles.result(subject, unit, ends=ends)) for subject in subjects]
            found[str(of.indicator["label"])] = rows
    return found


def write_service_pages(work: Work, waves: Sequence[WaveWork]) -> None:
    """Write a page for every service of an instrument with its indicators in all waves, and the list of services.

    `waves` are in the order in which they are shown.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in waves:
        for name, of in one.subjects.items():
            service = maps.text(of.indicator["service"])
            if not service:
                continue
            page = f"{one.wave['instrument']}-{service}"
            label = of.indicator["service_label"]
            content = found.setdefault(page, {"label": label, "indicators": {}, "waves": {}, "page": page})
            content["waves"][one.name] = one
            rows = content["indicators"].setdefault(name, {"of": of, "rows": []})["rows"]
            rows.append({"wave": one.wave, "summary": views.province_summary(of), "bands": listed(of)})
    labels = Counter(content["label"] for content in found.values())
    for page, content in found.items():
        content["simulated"] = all(one.wave["simulated"] for one in content["waves"].values())
        content["repeated"] = labels[content["label"]] > 1
        shown = sorted(content["indicators"].values(), key=lambda each: not each["of"].indicator["headline"])
        work.write_page(f"services/{page}", "service", {**content, "indicators": shown})
        newest = next(iter(content["waves"].values())).wave["title"]
        what = f"Service, {newest}" if content["repeated"] else "Service"
        work.made.found.append((content["label"], what, f"services/{page}.html"))
    simulated = all(wave["simulated"] for wave in work.waves)
    work.write_page("services/index", "services", {"services": list(found.values()), "simulated": simulated})
