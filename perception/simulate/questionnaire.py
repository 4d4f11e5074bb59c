"""What the simulated programme asks: its services, its three rounds, and which questions a round puts to whom.

How people answer is `population`'s business, how a round writes the answers down that of its own module.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from typing import Literal

from perception.intake.instrument import Instrument

INSTRUMENT = "citizen-services"
WAIT = "health_wait"
REASONS_NOT_USED = "health_not_used_"
"""How the questions begin that make up the select-multiple question why health care was not used."""
WITH_NEITHER = ("satisfaction", "facilities", "quality", "process")
"""How questions end that a round with middle categories puts with one."""
RARELY_SERVED = ("waste", "kp-torghar")
"""A service that hardly reaches one district: too few users there for an estimate."""


@dataclass(frozen=True)
class Service:
    """A service in 2021: share of adults using it (and how much likelier in towns), positive shares, don't-know share.

    `trend` is what a round adds to the share that is satisfied.
    """

    used: float
    urban_use: float
    satisfied: float
    dont_know: float
    attributes: tuple[str, ...]
    bribe_asked: float | None = None
    trend: float = 0.0


_UTILITY = ("access", "affordability", "quality", "equality", "timeliness")
_SCHOOL = ("access", "affordability", "facilities", "equality", "teaching")
_HEALTH = ("access", "affordability", "facilities", "equality", "courtesy")
_POLICE = ("access", "affordability", "quality", "equality", "courtesy")
_IDENTITY = ("access", "affordability", "equality", "process", "timeliness")

SERVICES = {
    "health": Service(0.75, -0.3, 0.48, 0.03, _HEALTH, trend=0.03),
    "primary_school": Service(0.60, -0.4, 0.56, 0.04, _SCHOOL, trend=0.01),
    "secondary_school": Service(0.40, -0.1, 0.52, 0.045, _SCHOOL),
    "water": Service(0.65, 0.6, 0.45, 0.035, _UTILITY, trend=-0.01),
    "waste": Service(0.50, 1.0, 0.34, 0.04, _UTILITY, trend=0.01),
    "electricity": Service(0.95, 0.3, 0.38, 0.03, _UTILITY, trend=-0.04),
    "police": Service(0.14, 0.1, 0.33, 0.07, _POLICE, 0.30),
    "identity": Service(0.42, 0.1, 0.67, 0.035, _IDENTITY, 0.10, trend=0.02),
}


def service_of(question: str) -> str | None:
    """The service that a question is about; None for the government of the district."""
    return next((name for name in SERVICES if question.startswith(f"{name}_")), None)


@dataclass(frozen=True)
class Round:
    """A round: its map, first and last day by province, and how its questionnaire differs from the instrument.

    `neither` says whether some scales offer their middle category, `need` whether the need of a service is asked, of
    non-users after use or of everyone before it; `left_out` are patterns of questions that are not asked.
    """

    name: str
    vintage: str
    days: dict[str, tuple[date, date]]
    neither: bool = False
    need: Literal["no", "of_non_users", "first"] = "no"
    left_out: tuple[str, ...] = ()

    def questions(self, instrument: Instrument) -> list[str]:
        """The questions of the instrument that the round asks."""
        return [q for q in instrument.questions if not any(fnmatch(q, pattern) for pattern in self.left_out)]

    def scale(self, question: str, instrument: Instrument) -> tuple[str, ...]:
        """The categories that the round offers, as the instrument orders them."""
        middle = self.neither and question.endswith(WITH_NEITHER) and not question.startswith(REASONS_NOT_USED)
        return tuple(answer for answer in instrument.scale(question) if middle or answer != "neither")

    def asked_if(self, question: str) -> tuple[str, str] | None:
        """The question and answer that a question depends on; None where everybody is asked."""
        if question == "complaint_solved":
            return "complaint_made", "yes"
        service = service_of(question)
        if service is None:
            return None
        used, needed = f"{service}_used", f"{service}_needed"
        if question == used:
            return (needed, "yes") if self.need == "first" else None
        if question == needed:
            return (used, "no") if self.need == "of_non_users" else None
        if question.startswith(REASONS_NOT_USED):
            return (used, "no") if self.need == "first" else (needed, "yes")
        return used, "yes"


ROUNDS = {
    one.name: one
    for one in (
        Round(
            "2018",
            "2018",
            {"kp": (date(2018, 9, 24), date(2018, 11, 9)), "punjab": (date(2018, 10, 1), date(2018, 11, 16))},
            left_out=("*_needed", f"{REASONS_NOT_USED}*", "*_access", WAIT, "*_bribe_asked", "discrimination"),
        ),
        Round(
            "2021",
            "2018",
            {"kp": (date(2021, 2, 15), date(2021, 4, 3)), "punjab": (date(2021, 2, 22), date(2021, 4, 10))},
            neither=True,
            need="of_non_users",
        ),
        Round(
            "2024",
            "2023",
            {"kp": (date(2024, 1, 22), date(2024, 3, 9)), "punjab": (date(2024, 1, 22), date(2024, 3, 9))},
            need="first",
        ),
    )
}
PROVINCES = {"kp": "Khyber Pakhtunkhwa", "punjab": "Punjab"}
PROVINCES_IN_URDU = {"kp": "خیبر پختونخوا", "punjab": "پنجاب"}
