"""The templates of all pages, and what every one of them may say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perception.publish import figures, maps, plotly_map, rankings, static_map, views, words

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment() -> Environment:
    """The templates of this package, escaping everything, a name that is not given being an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perception.publish"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals |= {
        "SIMULATED": maps.SIMULATED,
        "SIMULATED_NOTE": maps.SIMULATED_NOTE,
        "HATCH": (maps.HATCH_GROUND, maps.HATCH_LINE),
        "HATCHED": maps.HATCHED,
        "NO_DATA": maps.NO_DATA,
        "BANDS": views.BANDS,
        "BAND_COLOURS": views.BAND_COLOURS,
        "OVERLAP": rankings.OVERLAP,
        "QUADRANTS": figures.QUADRANTS,
        "NOT_CAUSE": figures.NOT_CAUSE,
        "MAP_CONFIG": plotly_map.CONFIG,
        "mark_fill": figures.mark_fill,
        "mark_colour": static_map.mark_colour,
        "dates_of": maps.dates,
        "list_of": words.list_of,
    }
    return environment


def style_sheet() -> str:
    """The style sheet of all pages."""
    folder = Path(__file__).with_name("templates")
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("figures.css", "style.css"))
