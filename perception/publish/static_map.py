"""The static map as SVG and PNG, without a browser: one layout of texts and boxes, two ways of drawing it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from perception.publish.drawing import (
    ALARM,
    EM,
    INNER,
    MARGIN,
    Box,
    Text,
    draw_shape,
    draw_watermark,
    svg_opening,
    svg_shape,
    svg_watermark,
    write,
    write_heading,
)
from perception.publish.drawing import pngs as png_images
from perception.publish.maps import (
    BORDER,
    GREY,
    HATCH_GROUND,
    HATCH_LINE,
    INK,
    NO_DATA,
    SIMULATED,
    SIMULATED_NOTE,
    STATES,
    BaseMap,
    MapSpec,
    Place,
)
from perception.publish.plotly_map import mark_colour

TALLEST = 640
LABEL = 10


@dataclass(frozen=True)
class Canvas:
    """A base map projected to pixels once: rings per district, borders, where its name stands, and the map's size.

    A label is (x and y of its middle, lines); a district too small for its name has none of the lines.
    """

    rings: Mapping[str, list[Any]]
    paths: Mapping[str, str]
    borders: tuple[list[Any], str]
    labels: Mapping[str, tuple[float, float, tuple[str, ...]]]
    width: float
    height: float


@dataclass(frozen=True)
class Scene:
    """A laid-out image: its height, texts and boxes, and where the map stands."""

    height: float
    texts: tuple[Text, ...]
    boxes: tuple[Box, ...]
    map_x: float
    map_y: float


def canvas(base: BaseMap, names: Mapping[str, str]) -> Canvas:
    """Project a base map (Albers equal-area conic on WGS 84) and fit it into the image; north is up, y grows downwards.

    `names` has the name of each district id.
    """
    import numpy as np
    import shapely

    south, north = base.parallels
    crs = f"+proj=aea +lat_1={south} +lat_2={north} +lat_0={south} +lon_0={base.meridian} +datum=WGS84 +units=m"
    projected = base.shapes.to_crs(crs)
    west, bottom, east, top = projected.total_bounds
    per_metre = min(INNER / (east - west), TALLEST / (top - bottom))

    def to_pixels(shape: Any) -> Any:
        return shapely.transform(shape, lambda points: np.round((points - (west, top)) * (per_metre, -per_metre), 1))

    def rings(shape: Any) -> list[Any]:
        return [
            shapely.get_coordinates(r) for part in shapely.get_parts(shape) for r in (part.exterior, *part.interiors)
        ]

    shapes = {
        str(key): to_pixels(shape) for key, shape in zip(projected["district_id"], projected.geometry, strict=True)
    }
    borders = [ring for shape in base.borders.to_crs(crs).geometry for ring in rings(to_pixels(shape))]
    return Canvas(
        rings={key: rings(shape) for key, shape in shapes.items()},
        paths={key: _path(rings(shape)) for key, shape in shapes.items()},
        borders=(borders, _path(borders)),
        labels={key: _label(shape, names[key]) for key, shape in shapes.items()},
        width=round((east - west) * per_metre, 1),
        height=round((top - bottom) * per_metre, 1),
    )


def _path(rings: list[Any]) -> str:
    return "".join("M" + "L".join(f"{x:g},{y:g}" for x, y in ring[:-1]) + "Z" for ring in rings)


def _label(shape: Any, name: str) -> tuple[float, float, tuple[str, ...]]:
    """Where a name, on one line or two, lies wholly inside its district, as near to the roomiest spot as can be."""
    import numpy as np
    import shapely

    part = max(shapely.get_parts(shape), key=shapely.area)
    middle = shapely.get_coordinates(shapely.maximum_inscribed_circle(part, tolerance=1))[0]
    west, north, east, south = part.bounds
    grid = np.stack(np.meshgrid(np.linspace(west, east, 25), np.linspace(north, south, 25)), -1).reshape(-1, 2)
    grid = grid[np.argsort(np.hypot(*(grid - middle).T))]
    shapely.prepare(part)
    for lines in dict.fromkeys([(name,), tuple(name.rsplit(" ", 1))]):
        width = (max(map(len, lines)) + 1) * LABEL * EM[False] / 2
        height = len(lines) * LABEL * 1.15 / 2
        x, y = grid[:, 0], grid[:, 1]
        inside = shapely.contains(part, shapely.box(x - width, y - height, x + width, y + height))
        if inside.any():
            middle = grid[inside.argmax()]
            break
    else:
        lines = ()
    return round(float(middle[0]), 1), round(float(middle[1]), 1), lines


def labels(spec: MapSpec, drawn: Canvas) -> Iterator[tuple[Place, Text]]:
    """The names of districts where they fit, relative to the map; a star marks caution with or without a name."""
    for place in spec.having(*STATES):
        x, y, lines = drawn.labels[place.district_id]
        star = "*" if place.state == "caution" else ""
        colour = mark_colour(spec.colour(place))
        if star and not lines:
            yield place, Text(x, y + 8, star, 16, colour, True, "middle")
        for number, line in enumerate(lines):
            below = LABEL * (0.36 + 1.15 * (number - (len(lines) - 1) / 2))
            last = star if number == len(lines) - 1 else ""
            yield place, Text(x, round(y + below, 1), line + last, LABEL, colour, False, "middle")


def layout(spec: MapSpec, drawn: Canvas) -> Scene:
    """Where everything stands, from the top: title, what is measured, legend, map, notes, source."""
    texts: list[Text] = []
    y = write_heading(texts, spec.title, spec.subtitle, spec.simulated)
    if spec.summary:
        y = write(texts, y, spec.summary, 14, INK)
    y, boxes = _legend(spec, texts, y + 30)
    map_y = y + 18
    y = map_y + drawn.height + 14
    for note in (spec.asked, *spec.notes, spec.source, spec.boundary, *([SIMULATED_NOTE] if spec.simulated else [])):
        y = write(texts, y, note, 11.5, ALARM if note == SIMULATED_NOTE else GREY) + 2
    return Scene(math.ceil(y + MARGIN - 12), tuple(texts), tuple(boxes), MARGIN + (INNER - drawn.width) / 2, map_y)


def _legend(spec: MapSpec, texts: list[Text], y: float) -> tuple[float, list[Box]]:
    """The classes as a bar with their cuts below, then a box for each kind of district without a number."""
    width, height = 76, 14
    texts.append(Text(MARGIN, y, f"{spec.measure}: darker is worse", 12, INK, bold=True))
    top = y + 9
    boxes = [Box(MARGIN + k * width, top, width, height, colour) for k, colour in enumerate(spec.colours)]
    below = top + height + 15
    for number, cut in enumerate(spec.scale.cuts, start=1):
        texts.append(Text(MARGIN + number * width, below, spec.scale.cut(cut), 12, INK, anchor="middle"))
    end = MARGIN + len(boxes) * width
    texts.append(Text(MARGIN, below, spec.ends[0], 12))
    texts.append(Text(end, below, spec.ends[1], 12, anchor="end"))
    extra = [
        (spec.having("suppressed"), HATCH_GROUND, "Not published (see note)"),
        (spec.having("no_data"), NO_DATA, "No data"),
        (spec.having("caution"), "", "Use with caution"),
    ]
    rows = [(fill, label) for places, fill, label in extra if places]
    for row, (fill, label) in enumerate(rows):
        line = y - 10 + row * 20
        if fill:
            boxes.append(Box(end + 32, line, 24, height, fill))
        else:
            texts.append(Text(end + 44, line + 17, "*", 18, INK, bold=True, anchor="middle"))
        texts.append(Text(end + 64, line + 11.5, label, 12, INK))
    return below, boxes


def svg(spec: MapSpec, drawn: Canvas) -> str:
    """The map as an SVG document; every district is a path with its id and its value in words."""
    scene = layout(spec, drawn)
    return "\n".join(_svg_lines(spec, drawn, scene)) + "\n"


def _svg_lines(spec: MapSpec, drawn: Canvas, scene: Scene) -> Iterator[str]:
    mark = f"{SIMULATED}. " if spec.simulated else ""
    desc = " ".join(
        [mark + spec.subtitle + ".", spec.measure + ".", spec.asked, *spec.notes, spec.source, spec.boundary]
    )
    yield from svg_opening(scene.height, mark + spec.title, desc)
    yield (
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="6" height="6" fill="{HATCH_GROUND}"/><rect width="1.6" height="6" fill="{HATCH_LINE}"/>'
        "</pattern></defs>"
    )
    yield f'<g transform="translate({scene.map_x:g},{scene.map_y:g})" stroke-linejoin="round">'
    yield f'<g stroke="{BORDER}" stroke-width="0.6">'
    for place in spec.having(*STATES):
        yield (
            f'<path class="district {place.state}" data-district="{html.escape(place.district_id)}" '
            f'fill="{_fill(spec.colour(place))}" d="{drawn.paths[place.district_id]}">'
            f"<title>{html.escape(f'{place.name}: {place.words}')}</title></path>"
        )
    yield f'</g><path class="border" fill="none" stroke="{INK}" stroke-width="1.1" d="{drawn.borders[1]}"/>'
    for place, text in labels(spec, drawn):
        halo = f' paint-order="stroke" stroke="{HATCH_GROUND}" stroke-width="3"' if place.state == "suppressed" else ""
        yield f'<g class="name" pointer-events="none"{halo}>{svg_shape(text)}</g>'
    if spec.simulated:
        yield svg_watermark(drawn.width / 2, drawn.height / 2)
    yield "</g>"
    for box in scene.boxes:
        yield svg_shape(replace(box, fill=_fill(box.fill)))
    yield from map(svg_shape, scene.texts)
    yield "</svg>"


def _fill(colour: str) -> str:
    return "url(#hatch)" if colour == HATCH_GROUND else colour


def pngs(spec: MapSpec, drawn: Canvas) -> tuple[bytes, bytes]:
    """The map as PNG at 1x (840 pixels wide) and 2x, with title, source and any SIMULATED in the metadata."""
    scene = layout(spec, drawn)
    metadata = {
        "Title": (f"{SIMULATED}: " if spec.simulated else "") + spec.title,
        "Description": " ".join([spec.subtitle + ".", *spec.notes, spec.boundary]),
        "Source": spec.source,
        **({"Warning": f"{SIMULATED}. {SIMULATED_NOTE}"} if spec.simulated else {}),
    }
    return png_images(scene.height, lambda axes: _draw(axes, spec, drawn, scene), metadata)


def _draw(axes: Any, spec: MapSpec, drawn: Canvas, scene: Scene) -> None:
    import numpy as np
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path
    from matplotlib.patheffects import withStroke

    shift = np.array([scene.map_x, scene.map_y])

    def outline(rings: list[Any]) -> Path:
        return Path.make_compound_path(*(Path(ring + shift, closed=True) for ring in rings))

    def hatched(artist: Any) -> Any:
        artist.set_hatch("////")
        artist.set_hatchcolor(HATCH_LINE)
        return artist

    for suppressed in (False, True):
        places = [place for place in spec.having(*STATES) if (place.state == "suppressed") == suppressed]
        if places:
            made = PathCollection(
                [outline(drawn.rings[place.district_id]) for place in places],
                facecolors=[spec.colour(place) for place in places],
                edgecolors=BORDER,
                linewidths=0.45,
            )
            axes.add_collection(hatched(made) if suppressed else made, autolim=False)
    border = PathCollection([outline(drawn.borders[0])], facecolors="none", edgecolors=INK, linewidths=0.8)
    axes.add_collection(border, autolim=False)
    for box in scene.boxes:
        patch = draw_shape(axes, box)
        if box.fill == HATCH_GROUND:
            hatched(patch)
    for text in scene.texts:
        draw_shape(axes, text)
    for place, text in labels(spec, drawn):
        made = draw_shape(axes, replace(text, x=text.x + scene.map_x, y=text.y + scene.map_y))
        if place.state == "suppressed":
            made.set_path_effects([withStroke(linewidth=2.2, foreground=HATCH_GROUND)])
    if spec.simulated:
        draw_watermark(axes, scene.map_x + drawn.width / 2, scene.map_y + drawn.height / 2)
