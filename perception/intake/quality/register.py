"""What a quality check is, what it gives back, and how one is declared; which checks there are is `__init__`'s list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from perception.intake.quality.evidence import Interviews

Verdict = Literal["pass", "warn", "hold", "fail", "not_run"]
Stage = Literal["intake", "estimates", "publication"]
Limits = Mapping[str, float]

BREACHES = ("warn", "hold", "fail")
NO_ENUMERATORS = "fieldwork.enumerator is not declared, or blank in every row"
LISTED = 5_000
"""Most rows that one finding lists; its message says how many there are."""


@dataclass(frozen=True)
class Finding:
    """What a check found of one unit; no unit means the whole wave."""

    verdict: Verdict
    message: str
    value: float | None = None
    threshold: float | None = None
    level: str = "wave"
    unit: str = ""


@dataclass(frozen=True)
class Rows:
    """Rows that a finding is about: their places in the raw rows, what is odd about each, and the finding's unit."""

    positions: Sequence[int] | NDArray[np.intp]
    details: Sequence[str]
    verdict: Verdict = "warn"
    unit: str = ""


@dataclass(frozen=True)
class Outcome:
    """All that a check found."""

    findings: list[Finding]
    rows: list[Rows] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """A check: its id, what it is about, the verdict of a breach, where the rule is from, its default thresholds."""

    id: str
    title: str
    level: str
    severity: str
    source: str
    function: Callable[[Interviews, Limits], Outcome]
    thresholds: Limits
    stage: Stage = "intake"

    def limits(self, interviews: Interviews) -> dict[str, float]:
        """The thresholds that apply: the defaults, then the instrument's, then the wave's."""
        own = interviews.wave.quality.get(self.id, {})
        return {**self.thresholds, **interviews.instrument.quality.get(self.id, {}), **own}

    def __call__(self, interviews: Interviews) -> Outcome:
        """Run the check with the thresholds that apply."""
        return self.function(interviews, self.limits(interviews))


def check(
    id: str, title: str, *, level: str, severity: str, source: str, stage: Stage = "intake", **thresholds: float
) -> Callable[[Callable[[Interviews, Limits], Outcome]], Check]:
    """Make a check of a function of the interviews and the thresholds, here with their defaults."""

    def declare(function: Callable[[Interviews, Limits], Outcome]) -> Check:
        return Check(id, title, level, severity, source, function, thresholds, stage)

    return declare


def not_run(lacking: str) -> Outcome:
    """The outcome of a check that lacks what it needs."""
    return Outcome([Finding("not_run", f"not run: {lacking}")])


def outcome(found: Iterable[Finding], otherwise: Finding, rows: Iterable[Rows] = ()) -> Outcome:
    """Findings, after the wave's own `otherwise` where none of them is a breach."""
    findings = list(found)
    breached = any(finding.verdict in BREACHES for finding in findings)
    return Outcome(findings if breached else [otherwise, *findings], list(rows))


def chosen(interviews: Interviews, which: ArrayLike) -> NDArray[np.intp]:
    """Places in the raw rows of at most `LISTED` of the chosen interviews that count (mask or numbers)."""
    numbers = np.asarray(which)
    numbers = np.flatnonzero(numbers) if numbers.dtype == bool else numbers
    return interviews.positions[numbers[:LISTED]]


def some(names: Iterable[object], count: int = 3) -> str:
    """The first few names, and how many more there are."""
    every = [str(name) for name in names]
    more = f" and {len(every) - count} more" if len(every) > count else ""
    return ", ".join(every[:count]) + more


def percent(share: float) -> str:
    """A share as a reader meets it."""
    return "under 0.1%" if 0 < share < 0.001 else f"{100 * share:.1f}%"


def counted(number: float, thing: str) -> str:
    """A number of things, such as 1 row or 2,000 rows."""
    return f"{int(number):,} {thing}{'' if number == 1 else 's'}"


def typical(names: pd.Series) -> str:
    """The commonest texts and how often they stand, each set apart, as it may be Urdu."""
    counts = names.value_counts()
    return some((f"\u2068{value}\u2069 ({number})" for value, number in counts.items()), 5)
