"""The pages of districts and of services: what all waves say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.publish import embeds, maps, profiles, site_embeds, views
from perception.publish.downloads import write_downloads
from perception.publish.embeds import Embed
from perception.publish.profiles import Profile
from perception.publish.site_work import WaveWork, Work, code_version, draw, listed, only, rows_by, write_embeds

if TYPE_CHECKING:
    from perception.geography import Geometry


def write_district_pages(work: Work, waves: Sequence[WaveWork]) -> dict[str, list[Profile]]:
    """Write a page for every district with its profile in the newest wave of each instrument; profiles by district."""
    gaps = rows_by(_level(work, "published_gaps"), "wave", "unit_id")
    found: dict[str, list[Profile]] = {}
    seen: set[tuple[str, str]] = set()
    cards: dict[str, Embed] = {}
    for one in waves:
        told: dict[str, list[tuple[str, str]]] = {}
        for model in one.models:
            for district in model.districts:
                place = f"{one.name}/{model.page}-districts.html#{district.district_id}"
                told.setdefault(district.district_id, []).append((district.figure.reading, place))
        subjects = list(one.subjects.values())
        surveyed = {key for of in subjects for level, key in of.estimates if level == "district"}
        for unit in work.districts(one.wave["vintage"]):
            key, instrument = unit["district_id"], one.wave["instrument"]
            if key not in surveyed or (key, instrument) in seen:
                continue
            seen.add((key, instrument))
            rows = gaps.get((one.name, key), [])
            made = profiles.profile(subjects, unit, one.changes, rows, told.get(key, []))
            found.setdefault(key, []).append(made)
            inputs = {"table": "published_estimates", "district": key, "figure": "card"}
            drawing = profiles.card(made)
            draw(work, made.card, drawing, one.wave, inputs)
            embed = site_embeds.card_embed(made, drawing, work.parts.card(made))
            write_embeds(work, [embed])
            cards[made.card] = embed
            data = site_embeds.district_data(subjects, made, one.changes, embed.page, code_version())
            write_downloads(data, work.root / embed.data)
    by_name = {one.name: one for one in waves}
    beside = {vintage: _neighbours(geometry) for vintage, geometry in work.geometries.items()}
    for key, made_of in sorted(found.items()):
        newest = by_name[made_of[0].wave["wave"]]
        near = [
            {"district_id": other, "name": found[other][0].name, "message": _after_the_name(found[other][0])}
            for other in beside[newest.wave["vintage"]].get(key, [])
            if other in found
        ]
        content = {
            "name": made_of[0].name,
            "province": made_of[0].province,
            "profiles": [
                {"of": made, "history": _history(by_name, waves, made), "panel": embeds.panel(cards[made.card], "../")}
                for made in made_of
            ],
            "oembed_link": embeds.oembed_link(cards[made_of[0].card], embeds.PREVIEW_ADDRESS),
            "neighbours": near,
            "ground": newest.ground,
            "district_id": key,
            "simulated": all(made.wave["simulated"] for made in made_of),
        }
        work.write_page(f"districts/{key}", "district", content)
        work.made.found.append((made_of[0].name, f"District, {made_of[0].province}", f"districts/{key}.html"))
    return found


def _after_the_name(made: Profile) -> str:
    """A district's message as it goes on after a link with its name."""
    follows = made.message.removeprefix(f"{made.name} ")
    return f" {follows}" if follows != made.message else f": {made.message}"


def _level(work: Work, table: str) -> pd.DataFrame:
    return only(work.tables[table], level="district")


def _neighbours(geometry: Geometry) -> dict[str, list[str]]:
    from perception.geography import neighbours

    pairs = neighbours(geometry.shapes)
    return {str(key): rows["neighbour_id"].tolist() for key, rows in pairs.groupby("district_id")}


def _history(
    by_name: Mapping[str, WaveWork], waves: Sequence[WaveWork], made: Profile
) -> dict[str, list[tuple[str, str, str]]]:
    """The headline results of a district in all waves of the instrument, newest first: (title, value, interval)."""
    newest = by_name[made.wave["wave"]]
    found: dict[str, list[tuple[str, str, str]]] = {}
    for of in newest.headline:
        cells = []
        for one in waves:
            then = one.subjects.get(of.indicator["indicator"])
            if one.wave["instrument"] != newest.wave["instrument"] or then is None:
                continue
            row = then.district(made.district_id)
            if row is not None:
                told = maps.is_published(row)
                value = of.scale.value(row["estimate"]) if told else "not published"
                cells.append((one.wave["title"], value, of.scale.interval(row["low"], row["high"]) if told else ""))
        if len(cells) > 1:
            found[str(of.indicator["label"])] = cells
    return found


def write_service_pages(work: Work, waves: Sequence[WaveWork]) -> None:
    """Write a page for every service of an instrument: its indicators in all waves."""
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
    for page, content in found.items():
        simulated = all(one.wave["simulated"] for one in content["waves"].values())
        shown = sorted(content["indicators"].values(), key=lambda each: not each["of"].indicator["headline"])
        work.write_page(f"services/{page}", "service", {**content, "indicators": shown, "simulated": simulated})
        work.made.found.append((content["label"], "Service", f"services/{page}.html"))
    simulated = all(wave["simulated"] for wave in work.waves)
    work.write_page("services/index", "services", {"services": list(found.values()), "simulated": simulated})
