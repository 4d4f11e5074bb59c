"""How a map is laid out as a drawing: as a map, or as tiles of equal size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perception.publish.drawing import (
    EM,
    INNER,
    MARGIN,
    Area,
    Box,
    Dot,
    Drawing,
    Group,
    Line,
    Shape,
    Text,
    write,
    write_heading,
    write_notes,
)
from perception.publish.maps import (
    BORDER,
    HATCH_GROUND,
    HATCHED,
    INK,
    NO_DATA,
    STATES,
    BaseMap,
    MapSpec,
    Place,
    file_facts,
)

TALLEST = 640
LABEL = 10
TILE = 68
_CLEAR = 3
"""Pixels between the map and a name beside it."""


@dataclass(frozen=True)
class Canvas:
    """A base map projected to pixels once: rings per district, borders, where its name stands, and the map's size.

    Borders are those of divisions and of provinces, as rings and as a path. A label is (x and y of its middle, lines);
    a district too small for its name has none of the lines, but where there is room for it beside the map, `asides` has
    x and y of the middle of its name there, and of the end of the line to it. `tiles` has the column and the row of
    each district in the map of equal tiles.
    """

    rings: Mapping[str, list[Any]]
    paths: Mapping[str, str]
    divisions: tuple[list[Any], str]
    borders: tuple[list[Any], str]
    labels: Mapping[str, tuple[float, float, tuple[str, ...]]]
    asides: Mapping[str, tuple[float, float, float, float]]
    tiles: Mapping[str, tuple[int, int]]
    width: float
    height: float


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

    def borders(outlines: Any) -> tuple[list[Any], str]:
        found = [ring for shape in outlines.to_crs(crs).geometry for ring in rings(to_pixels(shape))]
        return found, _path(found)

    width, height = round((east - west) * per_metre, 1), round((top - bottom) * per_metre, 1)
    labels = {key: _label(shape, names[key]) for key, shape in shapes.items()}
    middles = {key: shapely.get_coordinates(shape.representative_point())[0] for key, shape in shapes.items()}
    return Canvas(
        rings={key: rings(shape) for key, shape in shapes.items()},
        paths={key: _path(rings(shape)) for key, shape in shapes.items()},
        divisions=borders(base.divisions),
        borders=borders(base.borders),
        labels=labels,
        asides=_asides(shapely.union_all(list(shapes.values())), labels, names, width, height),
        tiles=tile_places(middles, {key: shapely.area(shape) for key, shape in shapes.items()}),
        width=width,
        height=height,
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


def _asides(
    land: Any, labels: Mapping[str, tuple[float, float, tuple[str, ...]]], names: Mapping[str, str], *size: float
) -> dict[str, tuple[float, float, float, float]]:
    """Where the names of districts stand that are too small for them: outside the `land` of a map of this size.

    Each is as near to its district as can be; no such name and no line to one touches another name or line. The values
    are those of `Canvas.asides`.
    """
    import numpy as np
    import shapely

    def boxes(x: Any, y: Any, lines: Sequence[str]) -> Any:
        across, down = (max(map(len, lines)) + 1) * LABEL * EM[False] / 2, len(lines) * LABEL * 1.15 / 2
        return shapely.box(x - across, y - down, x + across, y + down)

    frame = shapely.box((size[0] - INNER) / 2, 0, (size[0] + INNER) / 2, size[1])
    land = shapely.buffer(land, _CLEAR)
    for each in (land, frame):
        shapely.prepare(each)
    far, angle = (each.ravel() for each in np.meshgrid(np.arange(16, INNER, 12), np.linspace(0, 2 * np.pi, 36, False)))
    nearest_first = np.argsort(far, kind="stable")
    across, down = (far * np.cos(angle))[nearest_first], (far * np.sin(angle))[nearest_first]
    taken = [boxes(x, y, lines) for x, y, lines in labels.values() if lines]
    small = [(key, shapely.Point(x, y)) for key, (x, y, lines) in labels.items() if not lines]
    found = {}
    for key, dot in sorted(small, key=lambda one: shapely.distance(one[1], shapely.boundary(land))):
        places = boxes(dot.x + across, dot.y + down, [names[key]])
        for place in places[shapely.contains(frame, places) & ~shapely.intersects(land, places)]:
            line = shapely.shortest_line(dot, place)
            if not shapely.intersects([place, line], np.array(taken)[:, None]).any():
                taken += [place, line]
                middle, end = shapely.get_coordinates([shapely.centroid(place), line])[[0, -1]].round(1).tolist()
                found[key] = (middle[0], middle[1], end[0], end[1])
                break
    return found


def labels(spec: MapSpec, drawn: Canvas) -> Iterator[Shape]:
    """The names of districts where they fit, relative to the map; a star marks caution with or without a name.

    The names of `spec.named` that fit nowhere stand beside the map with a line to their districts.
    """
    for place in spec.having(*STATES):
        x, y, lines = drawn.labels[place.district_id]
        star = "*" if place.state == "caution" else ""
        if place.district_id in spec.named and place.district_id in drawn.asides:
            aside_x, aside_y, end_x, end_y = drawn.asides[place.district_id]
            yield Line(x, y, end_x, end_y, INK, 0.8)
            yield Dot(x, y, 2.4, "#ffffff")
            yield Text(aside_x, round(aside_y + LABEL * 0.36, 1), place.name + star, LABEL, INK, False, "middle")
        elif star and not lines:
            yield Text(x, y + 8, star, 16, mark_colour(spec.colour(place)), True, "middle")
        for number, line in enumerate(lines):
            below = LABEL * (0.36 + 1.15 * (number - (len(lines) - 1) / 2))
            yield _name(spec, place, x, round(y + below, 1), line + (star if number == len(lines) - 1 else ""))


def _name(spec: MapSpec, place: Place, x: float, y: float, line: str) -> Text:
    fill = spec.colour(place)
    return Text(x, y, line, LABEL, mark_colour(fill), False, "middle", HATCH_GROUND if fill == HATCHED else "")


def mark_colour(fill: str) -> str:
    """Ink or white, whichever stands out on a colour (by its relative luminance, WCAG 2.2)."""
    if not fill.startswith("#"):
        return INK
    parts = [int(fill[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.2 else "#ffffff"


def drawing(spec: MapSpec, drawn: Canvas) -> Drawing:
    """The map with its title, legend, notes and source."""
    areas = [
        Area(drawn.rings[key], drawn.paths[key], spec.colour(place), BORDER, 0.6, key, place.state, spoken(place))
        for place in spec.having(*STATES)
        for key in [place.district_id]
    ]
    outlines = [Area(*drawn.divisions, "none", INK, 0.7), Area(*drawn.borders, "none", INK, 1.4)]
    return _with_words(spec, (*areas, *outlines, *labels(spec, drawn)), drawn.width, drawn.height)


def tile_drawing(spec: MapSpec, drawn: Canvas) -> Drawing:
    """The same as tiles of equal size, so that small districts with many people are seen."""
    columns, rows = (1 + max(place[axis] for place in drawn.tiles.values()) for axis in (0, 1))
    size = min(TILE, INNER // columns)
    shapes: list[Shape] = []
    for place in spec.having(*STATES):
        column, row = drawn.tiles[place.district_id]
        x, y = column * size, row * size
        of = (place.district_id, place.state, spoken(place))
        shapes.append(Box(x + 1, y + 1, size - 2, size - 2, spec.colour(place), BORDER, 0.8, *of))
        lines = (place.name + ("*" if place.state == "caution" else "")).split()
        height = min(LABEL, (size - 6) / (max(map(len, lines)) * EM[False]), (size - 6) / (len(lines) * 1.15))
        top = y + size / 2 + height * (0.36 - 1.15 * (len(lines) - 1) / 2)
        for number, line in enumerate(lines):
            text = _name(spec, place, x + size / 2, round(top + number * height * 1.15, 1), line)
            shapes.append(replace(text, size=round(height, 1)))
    return _with_words(spec, tuple(shapes), columns * size, rows * size)


def spoken(place: Place) -> str:
    """What is said of a district."""
    return f"{place.name}: {place.words}"


def tile_places(middles: Mapping[str, Any], areas: Mapping[str, float]) -> dict[str, tuple[int, int]]:
    """A column and a row for each district, on a grid as wide and high as they need, near to where it lies.

    `middles` are points in pixels, y downwards, `areas` in square pixels. A cell is as large as a district is on
    average; districts are given cells so that the sum of squared distances is the smallest (an assignment problem).
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    if not middles:
        return {}
    points = np.array([middles[key] for key in middles])
    side = math.sqrt(sum(areas.values()) / len(areas))
    low = points.min(axis=0)
    across, down = np.ceil((points.max(axis=0) - low) / side).astype(int) + 1
    cells = np.stack(np.meshgrid(np.arange(across), np.arange(down)), -1).reshape(-1, 2)
    if len(cells) < len(points):
        raise AssertionError("unreachable: cells of the mean area cover the districts")
    distance = ((points[:, None, :] - (low + cells * side)[None, :, :]) ** 2).sum(axis=2)
    chosen = cells[linear_sum_assignment(distance)[1]]
    chosen = chosen - chosen.min(axis=0)
    return {key: (int(column), int(row)) for key, (column, row) in zip(middles, chosen, strict=True)}


def _with_words(spec: MapSpec, shapes: tuple[Shape, ...], width: float, height: float) -> Drawing:
    """Where everything stands, from the top: title, what is measured, legend, map, notes, source."""
    texts: list[Text] = []
    y = write_heading(texts, spec.title, spec.subtitle, spec.simulated)
    if spec.summary:
        y = write(texts, y, spec.summary, 14, INK)
    y, boxes = _legend(spec, texts, y + 30)
    map_x, map_y = MARGIN + (INNER - width) / 2, y + 18
    y = map_y + height + 14
    y = write_notes(texts, y, (spec.asked, *spec.notes, spec.source, spec.boundary), spec.simulated)
    said = (spec.subtitle + ".", spec.measure + ".", spec.asked, *spec.notes, spec.source, spec.boundary)
    return Drawing(
        height=math.ceil(y + MARGIN - 12),
        groups=(Group(map_x, map_y, shapes), Group(0, 0, (*boxes, *texts))),
        description=" ".join(said),
        facts=file_facts(spec.title, " ".join(said[:-2] + said[-1:]), spec.source, spec.simulated),
        simulated=spec.simulated,
        middle=(map_x + width / 2, map_y + height / 2),
    )


def _legend(spec: MapSpec, texts: list[Text], y: float) -> tuple[float, list[Box]]:
    """The classes as a bar with their cuts below, or one box for each, then one for each kind without a number."""
    height = 14
    texts.append(Text(MARGIN, y, spec.measure, 12, INK, bold=True))
    top = y + 9
    kinds = [
        (spec.having("suppressed"), HATCHED, "Not published (see note)"),
        (spec.having("no_data"), NO_DATA, "No data (see note)"),
        (spec.having("caution"), "", "Use with caution"),
    ]
    extra = [(fill, label) for places, fill, label in kinds if places]
    if not spec.cuts:
        return _boxes_in_a_row([*((one.colour, one.label) for one in spec.classes), *extra], texts, top)
    width = 76
    boxes = [Box(MARGIN + k * width, top, width, height, one.colour) for k, one in enumerate(spec.classes)]
    below = top + height + 15
    for number, cut in enumerate(spec.cuts, start=1):
        texts.append(Text(MARGIN + number * width, below, cut, 12, INK, anchor="middle"))
    end = MARGIN + len(boxes) * width
    texts.append(Text(MARGIN, below, spec.ends[0], 12))
    texts.append(Text(end, below, spec.ends[1], 12, anchor="end"))
    beside = max(end, MARGIN + len(spec.measure) * 12 * EM[True]) + 24
    for row, (fill, label) in enumerate(extra):
        boxes += _mark(fill, label, beside, y - 10 + row * 20, texts)
    return max(below, y - 10 + len(extra) * 20), boxes


def _boxes_in_a_row(marks: list[tuple[str, str]], texts: list[Text], y: float) -> tuple[float, list[Box]]:
    boxes: list[Box] = []
    x: float = MARGIN
    for fill, label in marks:
        room = 40 + len(label) * 12 * EM[False] + 22
        if x > MARGIN and x + room > MARGIN + INNER:
            x, y = MARGIN, y + 22
        boxes += _mark(fill, label, x, y, texts)
        x += room
    return y + 16, boxes


def _mark(fill: str, label: str, x: float, y: float, texts: list[Text]) -> list[Box]:
    """A box of a colour, or the star of caution, and what it means."""
    texts.append(Text(x + 32, y + 11.5, label, 12, INK))
    if fill:
        return [Box(x, y, 24, 14, fill)]
    texts.append(Text(x + 12, y + 17, "*", 18, INK, bold=True, anchor="middle"))
    return []
