"""Maps as Plotly figures that notebooks show: what `views` says of districts, drawn without asking any network."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from plotly import io
from plotly.graph_objects import Figure

from perception.publish import drawing, maps, plotly_map, static_map
from perception.publish.maps import BaseMap, MapSpec
from perception.publish.plotly_map import FONTS

_INNER, _MAP, _MARGIN = 800, 580, 16  # in pixels; the map's longer side, beside which the legend stands
_LETTERS = 125  # of a note in a line
_SMALL_LINE = 15


class NotebookMap(Figure):  # type: ignore[misc]
    """A Plotly figure that leaves the site's image of the same map beside it in a notebook.

    A code repository, a mail or a converted notebook shows no Plotly figures, but images. A figure that was changed
    after it was made goes without, or the image would say something else.
    """

    _made: Mapping[str, Any] | None = None
    _image: drawing.Drawing | None = None
    _alt: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any], image: drawing.Drawing, alt: str) -> NotebookMap:
        """A figure of this content that has this image with this alt text."""
        figure = cls(content)
        figure._image, figure._alt, figure._made = image, alt, figure.to_plotly_json()
        return figure

    def _ipython_display_(self) -> None:
        if self._image is None or io.renderers.default != "plotly_mimetype" or self.to_plotly_json() != self._made:
            super()._ipython_display_()
            return
        from IPython.display import display

        image = drawing.small_png(self._image)
        shown = {**self._repr_mimebundle_(), "image/png": image, "text/plain": self._alt}
        display(shown, raw=True, metadata={"image/png": {"alt": self._alt}})  # type: ignore[no-untyped-call]


def notebook_figure(spec: MapSpec, base: BaseMap) -> NotebookMap:
    """The map with what the page says around it: title, legend, notes, source.

    Districts are areas of a plane, projected as in the site's images: Plotly's own maps fetch an outline of the world
    from a server, and stay blank without.
    """
    page = plotly_map.figure(spec, base)
    told = {
        key: text
        for trace in page["data"]
        if trace["type"] == "choropleth"
        for key, text in zip(trace["locations"], trace["text"], strict=True)
    }
    canvas = static_map.canvas(base, {place.district_id: place.name for place in spec.places})
    districts = [
        {
            **_area(canvas.rings[place.district_id], spec.colour(place)),
            "name": html.escape(place.name, quote=False),
            "meta": place.district_id,
            "text": told[place.district_id],
            "hoveron": "fills",
            "hoverinfo": "text",
            "showlegend": False,
        }
        for place in spec.places
        if place.drawn
    ]
    borders = [
        {**_outline(rings, {"color": maps.INK, "width": width}), "hoverinfo": "skip", "showlegend": False}
        for (rings, _), width in ((canvas.divisions, 0.7), (canvas.borders, 1.4))
    ]
    stars = [
        {"x": x, "y": y, "text": "<b>*</b>", "showarrow": False}
        | {"font": {"size": 18, "color": static_map.mark_colour(spec.colour(place))}}
        for place in spec.having("caution")
        for x, y, _ in [canvas.labels[place.district_id]]
    ]
    scale = _MAP / max(canvas.width, canvas.height)
    layout = _words_around(spec, canvas.height * scale)
    layout["annotations"] += stars
    layout["hoverlabel"] = page["layout"]["hoverlabel"]
    layout["xaxis"] = {"visible": False, "range": [0, canvas.width], "domain": [0, canvas.width * scale / _INNER]}
    layout["yaxis"] = {"visible": False, "range": [canvas.height, 0], "scaleanchor": "x"}
    content = {"data": [*districts, *borders, *_legend(spec)], "layout": layout}
    alt = ". ".join(text.rstrip(".") for text in (spec.title, spec.subtitle, spec.summary) if text)
    alt = f"{maps.SIMULATED}. Map. {alt}." if spec.simulated else f"Map. {alt}."
    return NotebookMap.of(content, static_map.drawing(spec, canvas), alt)


def _outline(rings: Iterable[Any], line: Mapping[str, Any]) -> dict[str, Any]:
    """Rings as Plotly takes them, with a gap between one and the next."""
    x: list[float | None] = []
    y: list[float | None] = []
    for ring in rings:
        x += [*ring[:, 0].tolist(), None]
        y += [*ring[:, 1].tolist(), None]
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line}


def _area(rings: Iterable[Any], colour: str) -> dict[str, Any]:
    area = {**_outline(rings, {"color": maps.BORDER, "width": 0.6}), "fill": "toself"}
    if colour != maps.HATCHED:
        return area | {"fillcolor": colour}
    hatch = {"shape": "/", "size": 6, "solidity": 0.25, "fgcolor": maps.HATCH_LINE, "bgcolor": maps.HATCH_GROUND}
    return area | {"fillcolor": maps.HATCH_GROUND, "fillpattern": hatch}


def _legend(spec: MapSpec) -> list[dict[str, Any]]:
    """A mark for each class and each kind of district without a number, named as in the page's legend."""
    labels = [one.label for one in spec.classes]
    if spec.cuts:
        labels[0] += f" ({spec.ends[0]})"
        labels[-1] += f" ({spec.ends[1]})"
    marks = [(one.colour, label) for one, label in zip(spec.classes, labels, strict=True)]
    marks += [(maps.HATCHED, "Not published (see note)")] if spec.having("suppressed") else []
    marks += [(maps.NO_DATA, "No data (see note)")] if spec.having("no_data") else []
    traces = [
        {**_area([], colour), "x": [None], "y": [None], "name": html.escape(label, quote=False), "showlegend": True}
        for colour, label in marks
    ]
    if spec.having("caution"):
        star = {"symbol": "asterisk-open", "color": maps.INK, "size": 9}
        traces.append(
            {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "marker": star, "name": "Use with caution"}
        )
    return traces


def _words_around(spec: MapSpec, height: float) -> dict[str, Any]:
    """Plotly's layout of a map so high: the title above, the legend beside, notes and source below."""
    notes = [spec.asked, *spec.notes, spec.source, spec.boundary]
    notes += [maps.SIMULATED_NOTE] if spec.simulated else []
    below = [line for note in notes for line in _escaped(note, _LETTERS)]
    above = [f"<b>{line}</b>" for line in _escaped(spec.title, 80)] + _escaped(spec.subtitle, 110)
    above += [f"<b>{maps.SIMULATED}</b>"] if spec.simulated else []
    above += _escaped(spec.summary, 110)
    top, bottom = 20 * len(above) + 20, _SMALL_LINE * len(below) + 20
    left = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "align": "left", "showarrow": False}
    small, usual = {"family": FONTS, "color": maps.GREY, "size": 11}, {"family": FONTS, "color": maps.INK, "size": 14}
    texts = [
        left | {"text": "<br>".join(above), "font": usual, "y": 1, "yanchor": "bottom", "yshift": 8},
        left | {"text": "<br>".join(below), "font": small, "y": 0, "yanchor": "top", "yshift": -8},
    ]
    if spec.simulated:
        middle = {"xref": "x domain", "yref": "y domain", "x": 0.5, "y": 0.5, "textangle": -20, "showarrow": False}
        font = {"family": FONTS, "color": maps.INK, "size": 34}
        texts.append(middle | {"text": f"<b>{maps.SIMULATED}</b>", "font": font, "opacity": 0.11})
    facts = maps.file_facts(spec.title, " ".join(notes), spec.source, spec.simulated)
    return {
        "width": _INNER + 2 * _MARGIN,
        "height": round(top + height + bottom),
        "margin": {"l": _MARGIN, "r": _MARGIN, "t": top, "b": bottom},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "showlegend": True,
        "legend": {
            "x": 1,
            "xanchor": "right",
            "y": 1,
            "title": {"text": "<br>".join(_escaped(spec.measure, 28))},
            "font": {"family": FONTS, "color": maps.INK, "size": 12},
            "itemclick": False,
            "itemdoubleclick": False,
        },
        "annotations": texts,
        "meta": {name.lower(): text for name, text in facts.items()},
    }


def _escaped(text: str, letters: int) -> list[str]:
    """A text in lines; Plotly reads a little HTML, so it is escaped."""
    return [html.escape(line, quote=False) for line in textwrap.wrap(text, letters)]
