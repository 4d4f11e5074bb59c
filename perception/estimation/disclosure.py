"""Which counts of an indicator must be withheld so that none to be protected can be worked out from the others.

Counts only: what is too uncertain to publish, and which published numbers give counts away, `publication` says.

What an attacker is taken to know: the geography; who was asked and answered, so n of every cell, also of withheld ones
(another indicator with the same universe gives it away); the count answering 1 in every published cell, exactly (in
truth a weighted share is published, which says less); and that counts are whole numbers from 0 to n. Nothing is known
of a withheld cell, also where it is withheld for its quality. A cell is safe when its count answering 1 may, for all
that the attacker knows, still take values that lie `minimum` persons apart (n apart where n is smaller); since n is
known, the same then holds for the count answering 0. All cells withheld here are safe, complements included.
Not covered: an attacker who knows respondents' answers, who reasons about why one cell was chosen and not another (all
give the same reason), or who combines two indicators of which one contains the other.

Sources: Cox 1980 and 1995 (complementary suppression, protection by feasible intervals), Kelly, Golden and Assad 1992
(a linear programme per cell that finds the cheapest cells to withhold), Fischetti and Salazar 2001 (the attacker's
programmes).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from perception.errors import InputError, Problem
from perception.estimation.domains import UNIT_COLUMNS

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
_Categories = frozenset[tuple[str, str]]
_REMEDY = "Materialise the wave whole."
HEADLINE_PRICE = 10
"""How much dearer it is to withhold the number of everybody in an area than that of a group of as many respondents."""


def domain_categories(domain: str) -> dict[str, str]:
    """The category of each dimension in a domain: `sex=female,urban=rural` -> {sex: female, urban: rural}."""
    return {} if domain == "all" else dict(part.split("=", 1) for part in domain.split(","))


def withheld_cells(
    cells: pd.DataFrame, units: pd.DataFrame, sensitive: Flags, unpublished: Flags, minimum: int = 10
) -> Flags:
    """Which cells must be withheld to protect respondents: the `sensitive` ones and those that complement them.

    `cells` has level, unit_id, domain, n and n_positive (persons) of one indicator of one wave, every district cell
    that has an answer among them; `units` gives division_id and province_id of each district_id. `sensitive` (to be
    protected) and `unpublished` (withheld anyway, or tells nothing) have a value per cell. Returns a value per cell,
    True for sensitive and complementary cells. Of possible complements those with few respondents are preferred, and
    groups to everybody in an area. The same input gives the same result. Raises InputError when the cells do not add
    up.
    """
    if not sensitive.any():
        return sensitive.copy()
    table = _table(cells.reset_index(drop=True), units)
    room = np.minimum(table.n, minimum)
    withheld = sensitive.copy()
    moves = _easy_moves(table, withheld | unpublished, withheld, room)
    by_size = np.lexsort((np.arange(len(room)), -table.n))
    # Large cells first: what protects them often protects the small ones inside them. A complement needs room as well:
    # an attacker who saw that its count is not small would know which of the withheld ones is.
    while (short := withheld & (_widths(moves) < room)).any():
        cell = by_size[short[by_size]][0]
        moves = np.vstack([moves, *_ends(table, withheld | unpublished, cell)])
        for upwards in (bool(table.rare[cell]), not table.rare[cell]):
            amount = _missing_amount(table, moves, cell, int(room[cell]), upwards)
            if amount:
                move = _cheapest_move(table, withheld | unpublished, cell, amount)
                moves = np.vstack([moves, move])
                withheld = withheld | ((move != 0) & ~unpublished)
    # A later choice may have made an earlier one needless: such a cell is published after all.
    for cell in by_size[(withheld & ~sensitive)[by_size]]:
        rest, without = moves[moves[:, cell] == 0], withheld & (np.arange(len(room)) != cell)
        if (_widths(rest) >= room)[without].all():
            moves, withheld = rest, without
    # The solver works in floating point; what is said in the end rests on whole numbers alone.
    kept = moves[(moves[:, ~(withheld | unpublished)] == 0).all(axis=1)]
    if (_widths(kept) < room)[withheld].any():
        raise RuntimeError("a count that must be protected is not: the linear programmes were not solved exactly")
    return withheld


def revealing_cells(cells: pd.DataFrame, units: pd.DataFrame, hidden: Flags, told: Flags) -> Flags:
    """Which of the `told` cells must be withheld, or the count of a `hidden` one would be certain from the others.

    Cells and units as for `withheld_cells`; `told` are published and give their counts away, the rest says nothing. A
    cell inside a told one in which all answer alike is left out: only withholding that whole one, and what it has to
    say of everybody in it, would hide that they answer alike too.
    """
    revealing = np.zeros(len(cells), bool)
    counts, n = cells["n_positive"].to_numpy(np.int64), cells["n"].to_numpy(np.int64)
    while True:
        unanimous = told & ~revealing & ((counts == 0) | (counts == n))
        open_cells = (hidden | revealing) & ~_inside(cells, units, unanimous)
        more = withheld_cells(cells, units, open_cells, ~(told | open_cells), minimum=1) & told & ~revealing
        revealing |= more
        if not (more & unanimous).any():
            return revealing


def _inside(cells: pd.DataFrame, units: pd.DataFrame, wholes: Flags) -> Flags:
    """Which cells are one of the `wholes` or a part of one."""
    asked = set(cells.loc[(cells["level"] == "district").to_numpy(), "unit_id"])
    places = units[units["district_id"].isin(asked)].assign(all="all")
    members = {
        (level, unit): set(group["district_id"])
        for level, column in UNIT_COLUMNS.items()
        for unit, group in places.groupby(column or "all")
    }
    areas = [members.get(key, set()) for key in zip(cells["level"], cells["unit_id"], strict=True)]
    domains = [set(domain_categories(domain).items()) for domain in cells["domain"]]
    inside = np.zeros(len(cells), bool)
    for whole in np.flatnonzero(wholes):
        inside |= [
            area <= areas[whole] and domains[whole] <= domain for area, domain in zip(areas, domains, strict=True)
        ]
    return inside


@dataclass(frozen=True)
class _Table:
    """Cells as sums of atoms, an atom being a district by categories, of which some may be unknown.

    n, count (persons answering 1), price of withholding and unit (a number per area) of each cell, atom_n and
    atom_count of each atom; membership is cells x atoms (0/1). links x atoms = 0 says that two ways to split the
    persons of a district (by sex and area, by age) agree.
    """

    n: Counts
    count: Counts
    price: Counts
    unit: NDArray[np.intp]
    atom_n: Counts
    atom_count: Counts
    membership: Any
    links: Any

    @property
    def rare(self) -> Flags:
        """Cells in which answering 1 is not the more frequent answer."""
        return 2 * self.count <= self.n


def _table(cells: pd.DataFrame, units: pd.DataFrame) -> _Table:
    counts = cells[["n", "n_positive"]].to_numpy(np.int64)
    known = [frozenset(domain_categories(domain).items()) for domain in cells["domain"]]
    keys = list(zip(cells["level"], cells["unit_id"], known, strict=True))
    kinds = sorted({frozenset(name for name, _ in categories) for categories in known}, key=sorted)
    splits = [kind for kind in kinds if not any(kind < other for other in kinds)]

    atoms: list[tuple[str, int, _Categories]] = []
    sizes: list[Counts] = []
    placed: dict[tuple[str, int, _Categories], Any] = defaultdict(lambda: np.zeros(2, np.int64))
    districts = [number for number, key in enumerate(keys) if key[0] == "district"]
    # From the most detailed cells to the whole: what they leave over are persons whose categories are not all known.
    for number in sorted(districts, key=lambda number: -len(known[number])):
        district, categories = keys[number][1], known[number]
        for split, names in enumerate(splits):
            if not {name for name, _ in categories} <= names:
                continue
            rest = counts[number] - placed[district, split, categories]
            if rest.min() < 0 or rest[1] > rest[0]:
                raise _not_adding_up(cells, number)
            if rest[0]:
                atoms.append((district, split, categories))
                sizes.append(rest)
                for part in _parts(categories, kinds) - {categories}:
                    placed[district, split, part] += rest

    places = _places(units, {district for district, *_ in atoms})
    rows = {key: number for number, key in enumerate(keys)}
    member: list[tuple[int, int]] = []
    other_splits: dict[tuple[int, int], list[int]] = defaultdict(list)
    for atom, (district, split, categories) in enumerate(atoms):
        for part in _parts(categories, kinds):
            first = next(number for number, names in enumerate(splits) if {name for name, _ in part} <= names)
            for level, unit in places[district].items():
                row = rows.get((level, unit, part))
                if row is not None and split == first:
                    member.append((row, atom))
                elif row is not None and level == "district":
                    other_splits[row, split].append(atom)
    size = np.array(sizes, np.int64).reshape(-1, 2)
    membership = _incidence(member, (len(cells), len(atoms)))
    found = membership @ size
    if (found != counts).any():
        raise _not_adding_up(cells, int(np.flatnonzero((found != counts).any(axis=1))[0]))
    again = _incidence(
        [(number, atom) for number, group in enumerate(other_splits.values()) for atom in group],
        (len(other_splits), len(atoms)),
    )
    links = membership[[row for row, _ in other_splits]] - again
    areas = np.asarray(cells.groupby(["level", "unit_id"]).ngroup(), np.intp)
    price = counts[:, 0] * np.where(cells["domain"] == "all", HEADLINE_PRICE, 1)
    return _Table(counts[:, 0], counts[:, 1], price, areas, size[:, 0], size[:, 1], membership, links)


def _parts(categories: _Categories, kinds: list[frozenset[str]]) -> set[_Categories]:
    """The domains that contain these categories, themselves included."""
    names = {name for name, _ in categories}
    return {frozenset(pair for pair in categories if pair[0] in kind) for kind in kinds if kind <= names}


def _places(units: pd.DataFrame, districts: set[str]) -> dict[str, dict[str, str]]:
    """The unit of each level that each district lies in."""
    if unknown := sorted(districts - set(units["district_id"])):
        raise InputError([Problem(f"districts {', '.join(unknown)}", "are not among the units of the wave", _REMEDY)])
    return {
        str(row["district_id"]): {
            level: str(row[column]) if column else "all" for level, column in UNIT_COLUMNS.items()
        }
        for row in units.to_dict("records")
    }


def _incidence(pairs: list[tuple[int, int]], shape: tuple[int, int]) -> Any:
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(pairs), np.int64), (rows, columns)), shape)


def _not_adding_up(cells: pd.DataFrame, number: int) -> InputError:
    row = cells.iloc[number]
    where = f"{row['level']} {row['unit_id']}, domain {row['domain']}"
    return InputError([Problem(where, "the counts of its parts do not add up to its own", _REMEDY)])


def _widths(moves: Counts) -> Counts:
    """How far apart values of each cell are known to lie that an attacker cannot rule out, in persons.

    `moves` are by how much each cell differs from the truth in whole tables that agree with everything published.
    """
    widths: Counts = moves.max(axis=0, initial=0) - moves.min(axis=0, initial=0)
    return widths


def _easy_moves(table: _Table, hidden: Flags, targets: Flags, room: Counts) -> Counts:
    """Moves (moves x cells) that leave every cell alone but the hidden ones, made to move many targets far at once.

    First half of the targets are pushed up while the others are pushed down, in as many patterns as tell any two apart;
    then, unit by unit, persons are brought together in the targets that still lack room.
    """
    fixed = LinearConstraint(sparse.vstack([table.links, table.membership[~hidden]]), 0, 0)
    numbers = np.cumsum(targets) - 1
    moves = np.zeros((0, len(targets)), np.int64)
    for bit in range(int(numbers[-1]).bit_length()):
        push = table.membership.T @ np.where(targets, np.where(numbers >> bit & 1, 1.0, -1.0), 0.0)
        moves = np.vstack([moves, _move(table, push, fixed), _move(table, -push, fixed)])
    for unit in np.unique(table.unit[targets]):
        short = targets & (table.unit == unit) & (_widths(moves) < room)
        if short.any():
            push = table.membership.T @ np.where(short, np.where(table.rare, -1.0, 1.0), 0.0)
            moves = np.vstack([moves, _move(table, push, fixed)])
    return moves


def _move(table: _Table, cost: NDArray[np.float64], fixed: LinearConstraint, moved_cells: int = 0) -> Counts:
    """The change of every cell in the cheapest table that keeps `fixed`; whole persons, none below 0 or above n.

    The first variables are the changes of the atoms, then come 2 x `moved_cells` that say by how much cells move.
    """
    atoms, extra = len(table.atom_n), np.zeros(2 * moved_cells)
    low, high = -table.atom_count, table.atom_n - table.atom_count
    result = milp(
        cost,
        constraints=fixed,
        bounds=Bounds(np.concatenate([low, extra]), np.concatenate([high, extra + np.inf])),
        integrality=np.concatenate([np.ones(atoms), extra]),
    )
    if result.x is None:
        raise RuntimeError(f"a linear programme that protects withheld counts was not solved: {result.message}")
    change = np.rint(result.x[:atoms]).astype(np.int64)
    if (change < low).any() or (change > high).any() or (table.links @ change).any():
        raise RuntimeError("a linear programme that protects withheld counts was not solved exactly")
    move: Counts = table.membership @ change
    return move


def _ends(table: _Table, hidden: Flags, cell: int) -> tuple[Counts, Counts]:
    """The moves that make a cell smallest and largest while every cell but the hidden ones stays."""
    fixed = LinearConstraint(sparse.vstack([table.links, table.membership[~hidden]]), 0, 0)
    own = table.membership[[cell]].toarray()[0].astype(float)
    return _move(table, own, fixed), _move(table, -own, fixed)


def _missing_amount(table: _Table, moves: Counts, cell: int, room: int, upwards: bool) -> int:
    """By how many persons a cell must move, up or down as far as its n allows, to have enough room; 0 if it has."""
    low, high = moves[:, cell].min(initial=0), moves[:, cell].max(initial=0)
    if high - low >= room:
        return 0
    count, n = table.count[cell], table.n[cell]
    return int(min(low + room, n - count) if upwards else max(high - room, -count))


def _cheapest_move(table: _Table, hidden: Flags, cell: int, amount: int) -> Counts:
    """The move of `cell` by `amount` that costs least: a published cell costs its price for every person moved."""
    open_cells = np.flatnonzero(~hidden)
    published, count = table.membership[open_cells], len(open_cells)
    one = sparse.eye_array(count)
    fixed = sparse.block_array(
        [
            [table.links, None, None],
            [published, -one, one],
            [table.membership[[cell]], None, None],
        ]
    )
    ends = np.zeros(fixed.shape[0])
    ends[-1] = amount
    prices = table.price[open_cells] / max(table.n.mean(), 1.0)
    cost = np.concatenate([np.zeros(len(table.atom_n)), prices, prices])
    return _move(table, cost, LinearConstraint(fixed, ends, ends), count)
