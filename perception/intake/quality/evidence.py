"""What the quality checks of one wave look at, gathered once and coded for counting; nothing is judged here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.intake import fieldwork
from perception.intake.declarations import REASON_SUFFIX, REASONS
from perception.intake.harmonise import counted_rows
from perception.intake.instrument import Instrument
from perception.intake.wave_file import Wave

Codes = NDArray[np.intp]
Small = NDArray[np.signedinteger[Any]]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

DONT_KNOW, REFUSED, NOT_ASKED, MISSING, STRANGE = -1, -2, -3, -4, -5
"""Codes of what is no category of a question; `STRANGE` is neither that nor a reason."""


@dataclass(frozen=True)
class Groups:
    """Rows by group: the place of each row's group in `names`, -1 where it is not known."""

    codes: Codes
    names: list[str]

    def sums(self, values: Floats | Mask | None = None) -> Floats:
        """Sum of `values` in each group, or its number of rows; nothing counts of rows without a group."""
        known = self.codes >= 0
        weights = None if values is None else np.asarray(values, dtype=np.float64)[known]
        return np.bincount(self.codes[known], weights, minlength=len(self.names)).astype(np.float64)

    def of(self, values: Floats) -> Floats:
        """The value of each row's group; NaN without one."""
        return np.append(values, np.nan)[self.codes]


def groups(values: pd.Series) -> Groups:
    """Rows grouped by the value of a column."""
    codes, names = pd.factorize(values)
    return Groups(np.asarray(codes, dtype=np.intp), [str(name) for name in names])


def crossed(*parts: Groups) -> Groups:
    """Rows grouped by several groupings at once; names joined by a slash."""
    codes, known = np.zeros(len(parts[0].codes), dtype=np.int64), np.ones(len(parts[0].codes), dtype=bool)
    for part in parts:
        codes = codes * max(len(part.names), 1) + part.codes
        known &= part.codes >= 0
    numbers, kept = pd.factorize(codes[known])
    places = np.full(len(codes), -1, dtype=np.intp)
    places[known] = numbers
    names = []
    for code in kept.tolist():
        pieces = []
        for part in reversed(parts):
            code, place = divmod(code, max(len(part.names), 1))
            pieces.append(part.names[place])
        names.append("/".join(reversed(pieces)))
    return Groups(places, names)


@dataclass(frozen=True)
class Answers:
    """Answers to questions with categories: rows x questions, the place in the scale or the code of a reason."""

    names: tuple[str, ...]
    codes: Small

    def of(self, question: str) -> Small:
        """The answers to one question."""
        return self.codes[:, self.names.index(question)]


@dataclass(frozen=True)
class Interviews:
    """A wave as the checks see it.

    `raw` are the raw rows after remedies, counting or not, with the attributes that reading gave them; `responses` the
    table, its rows those of `raw` that count in the same order; `paradata` as `fieldwork.interviews(raw, wave)`.
    `units` are the districts of the vintage, `shapes` makes their polygons (district_id, geometry in degrees) when
    asked, `margins` the wave's file of the surveyed population. What a check lacks it says, so that any may be None.
    """

    wave: Wave
    instrument: Instrument
    raw: pd.DataFrame = field(default_factory=pd.DataFrame)
    responses: pd.DataFrame = field(default_factory=pd.DataFrame)
    design_psus: pd.DataFrame = field(default_factory=pd.DataFrame)
    paradata: pd.DataFrame = field(default_factory=pd.DataFrame)
    question_times: pd.DataFrame | None = None
    back_checks: pd.DataFrame | None = None
    units: pd.DataFrame | None = None
    shapes: Callable[[], Any] | None = None
    margins: pd.DataFrame | None = None
    codebook_changes: pd.DataFrame | None = None
    estimates: pd.DataFrame | None = None
    previous_estimates: pd.DataFrame | None = None
    public_tables: Mapping[str, pd.DataFrame] | None = None
    seed: int = 1

    @cached_property
    def positions(self) -> Codes:
        """Where in `raw` the rows stand that count; ValueError when they are not those of `responses`."""
        positions = np.flatnonzero(counted_rows(self.raw, self.wave))
        if len(positions) != len(self.responses):
            raise ValueError(f"{len(positions)} raw rows count, but there are {len(self.responses)} responses")
        return positions

    @property
    def size(self) -> int:
        """How many interviews count."""
        return len(self.positions)

    def column(self, name: str) -> pd.Series:
        """A raw column in the rows that count."""
        return self.raw[name].iloc[self.positions].reset_index(drop=True)

    def known(self, name: str) -> pd.Series:
        """A column of the paradata in the rows that count."""
        return self.paradata[name].iloc[self.positions].reset_index(drop=True)

    @cached_property
    def enumerators(self) -> Groups:
        """Interviews by enumerator."""
        return groups(self.known("enumerator"))

    @cached_property
    def psus(self) -> Groups:
        """Interviews by PSU."""
        return groups(self.responses["psu"])

    @cached_property
    def strata(self) -> Groups:
        """Interviews by stratum."""
        return groups(self.responses["stratum"])

    @cached_property
    def districts(self) -> Groups:
        """Interviews by district."""
        return groups(self.responses["district_id"])

    @cached_property
    def answers(self) -> Answers:
        """The answers to every question with categories that the wave has."""
        names = tuple(
            name
            for name, question in self.instrument.questions.items()
            if question.categories and name in self.responses.columns
        )
        longest = max((len(self.instrument.scale(name)) for name in names), default=0)
        small = np.int8 if longest < 128 else np.int16
        codes = np.empty((len(self.responses), len(names)), dtype=small, order="F")
        for number, name in enumerate(names):
            codes[:, number] = _coded(self.responses[name], self.instrument.scale(name))
        return Answers(names, codes)

    @cached_property
    def numbers(self) -> dict[str, tuple[Floats, Small]]:
        """The number and the code of the reason (`STRANGE` where there is a number) of every number the wave has."""
        found = {}
        for name in ("age", *self.instrument.questions):
            if name in self.responses.columns and not self.instrument.scale(name):
                values = self.responses[name].to_numpy(dtype=np.float64)
                reasons = np.where(np.isnan(values), MISSING, STRANGE).astype(np.int16)
                if name + REASON_SUFFIX in self.responses.columns:
                    written = _coded(self.responses[name + REASON_SUFFIX], ())
                    reasons = np.where(written == STRANGE, reasons, written)
                found[name] = (values, reasons)
        return found

    @cached_property
    def reasons(self) -> dict[str, NDArray[np.intp]]:
        """How many interviews each question of the instrument has of: an answer, then each of the four reasons."""
        counts = {name: _reason_counts(self.answers.of(name)) for name in self.answers.names}
        for name, (_, reasons) in self.numbers.items():
            if name in self.instrument.questions:
                counts[name] = _reason_counts(np.where(reasons == STRANGE, 0, reasons))
        return counts

    def not_answered(self, code: int) -> Codes:
        """How many questions of each interview have the reason `code` for no answer."""
        total = np.zeros(self.size, dtype=np.intp)
        for number in range(len(self.answers.names)):
            total += self.answers.codes[:, number] == code
        for name, (_, reasons) in self.numbers.items():
            if name in self.instrument.questions:
                total += reasons == code
        return total

    @cached_property
    def asked(self) -> Codes:
        """How many questions were put in each interview."""
        questions = len(self.answers.names) + sum(name in self.instrument.questions for name in self.numbers)
        return questions - self.not_answered(NOT_ASKED)


def _coded(values: pd.Series, scale: tuple[str, ...]) -> Small:
    """The place of each value in the scale, or the code of its reason; null is missing."""
    meaning = {name: place for place, name in enumerate(scale)}
    meaning |= dict(zip(REASONS, (DONT_KNOW, REFUSED, NOT_ASKED, MISSING), strict=True))
    codes: Any
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, names = values.cat.codes.to_numpy(), values.cat.categories
    else:
        codes, names = pd.factorize(values)
    null = MISSING if scale else STRANGE
    small = np.int8 if len(scale) < 128 else np.int16
    lookup: Small = np.array([*(meaning.get(str(name), STRANGE) for name in names), null], dtype=small)
    coded: Small = lookup[codes]
    return coded


def _reason_counts(codes: NDArray[Any]) -> NDArray[np.intp]:
    """How many codes are an answer, don't know, refused, not asked, missing."""
    reasons = [np.count_nonzero(codes == code) for code in (DONT_KNOW, REFUSED, NOT_ASKED)]
    missing = np.count_nonzero(codes <= MISSING)
    return np.array([len(codes) - sum(reasons) - missing, *reasons, missing], dtype=np.intp)


def gather(
    raw: pd.DataFrame,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
    wave: Wave,
    instrument: Instrument,
    *,
    folder: Path | None = None,
    **further: Any,
) -> Interviews:
    """`Interviews` of a wave from its tables; `folder` is the wave's, for its audit log and back-checks.

    `further` are the other fields of `Interviews`. InputError lists times, places and files that cannot be read.
    """
    return Interviews(
        wave,
        instrument,
        raw,
        responses,
        design_psus,
        fieldwork.interviews(raw, wave),
        question_times=fieldwork.question_times(wave, folder) if folder else None,
        back_checks=fieldwork.back_checks(wave, folder) if folder else None,
        **further,
    )
