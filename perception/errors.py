"""How bad input is reported: every problem at once, each with its place, what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_TEXT = 600
"""Of a longer text (a cell may be as long as anything) the middle is left out."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input: `where` (wave, file, column, code), `what` is wrong, and the `remedy`."""

    where: str
    what: str
    remedy: str

    def __post_init__(self) -> None:
        for name in ("where", "what", "remedy"):
            if len(text := str(getattr(self, name))) > LONGEST_TEXT:
                half = LONGEST_TEXT // 2
                object.__setattr__(self, name, f"{text[:half]} ... {text[-half:]}")

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.remedy}"


class InputError(Exception):
    """Raised once with every `Problem` found; nothing has been written when it is raised."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(heading + ":\n" + "\n".join(f"  - {problem}" for problem in self.problems))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the problems, not the code that found them."""
        return str(self).splitlines()

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return InputError, (self.problems,)  # by default only the message would reach another process
