"""Writing YAML for people: values as short as they are read back the same, and the mark on what is a guess."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

WIDTH = 120
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./()-]*")
_NOT_TEXT = {"true", "false", "null"}


def marked(line: str, reasons: Iterable[str]) -> str:
    """The line, with `# check` and the reasons if there are any."""
    told = " ".join("; ".join(dict.fromkeys(reasons)).split())
    return f"{line}  # check: {told}" if told else line


def comment(text: str, indent: str = "", mark: str = "") -> list[str]:
    """A text as comment lines, each with the mark if there is one."""
    start = f"{indent}# {mark}"
    width = WIDTH - len(start)
    return [start + line for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)]


def short(text: Any) -> str:
    """A text in quotes, cut where it is long."""
    words = " ".join(str(text).split())
    return '"' + (words if len(words) <= 60 else words[:57] + "...") + '"'


def scalar(value: Any) -> str:
    """A value as YAML: bare where it is read back as the same, else in double quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    bare = _WORDS.fullmatch(text) and text == text.strip() and text.casefold() not in _NOT_TEXT
    return text if bare else json.dumps(text, ensure_ascii=False)


def flow(value: Any) -> str:
    """A nested value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def code(text: str) -> int | str:
    """A code as wave.yml has it: a whole number where it is one."""
    return int(text) if re.fullmatch(r"-?[1-9][0-9]*|0", text) else text
