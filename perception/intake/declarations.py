"""What all hand-written YAML files share: loading, reporting every mistake at once, texts in several languages, and the
background variables that every instrument knows.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from perception.errors import InputError, Problem

REASONS = ("dont_know", "refused", "not_asked", "missing")
"""Why an answer is not there. Don't know and refused are counted; all four are left out of the denominator."""

REASON_SUFFIX = "_reason"
REPLICATE_PREFIX = "replicate_weight_"
"""A number's reason for no answer stands in a column of its own, named after the number."""

BACKGROUND: dict[str, tuple[str, ...]] = {
    "sex": ("female", "male", "transgender"),
    "urban": ("urban", "rural"),
    "age": (),
    "wealth": ("lowest", "second", "middle", "fourth", "highest"),
    "education": ("none", "primary", "middle", "secondary", "higher"),
}
"""Harmonised background variables and their categories in order; age is a number of years."""

AGE_GROUPS = ("<25", "25-34", "35-44", "45-54", "55-64", "65+")
"""Age bands of the SDG 16.6.2 metadata."""
AGE_BREAKS = (25, 35, 45, 55, 65)

ID_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"


class Declaration(BaseModel):
    """Base of all declarations: unknown keys are mistakes, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(Declaration):
    """A text in English and, where there is one, Urdu; a bare string is English."""

    en: str
    ur: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_string_is_english(cls, value: Any) -> Any:
        return {"en": value} if isinstance(value, str) else value


_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_FastLoader):  # type: ignore[misc, valid-type]
    """YAML lets a key stand twice and keeps the last; in a code map that would lose a code silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or mapping", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


# YAML 1.1 reads yes/no/on/off as booleans, but here they are category names; only true/false are booleans.
_UniqueKeyLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

MOST_VALUES = 100_000
"""Far more than any declaration has; aliases of aliases make billions of a few lines."""

Model = TypeVar("Model", bound=BaseModel)


def load_declaration(path: Path, model: type[Model]) -> Model:
    """Parse a YAML file into `model`; InputError lists every mistake with its place in the file.

    A file that has not been touched since is not read again; models are frozen.
    """
    try:
        facts = path.stat()
        stamps = [facts.st_ino, facts.st_size, facts.st_mtime_ns]
    except OSError:
        stamps = []  # reading it says what is wrong
    loaded: Model = _loaded(path, model, *stamps)
    return loaded


@lru_cache(maxsize=64)
def _loaded(path: Path, model: type[Model], *stamps: int) -> Model:
    where = path.parent.name + "/" + path.name
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError([Problem(where, "the file does not exist", f"Create {path.name} there.")]) from None
    except OSError as error:
        remedy = f"Put a readable file {path.name} there."
        raise InputError([Problem(where, f"cannot be read ({error.strerror})", remedy)]) from None
    except UnicodeDecodeError as error:
        raise InputError([Problem(where, f"is not UTF-8 text ({error.reason})", "Save it as UTF-8.")]) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # a list as key, the 31st of February
        what = " ".join(str(error).split())
        raise InputError([Problem(where, f"is not valid YAML: {what}", "Correct the line named.")]) from None
    if _values(content, {}) > MOST_VALUES:
        remedy = "Write them out instead of with & and *."
        raise InputError([Problem(where, "holds declarations inside each other without end", remedy)])
    if not isinstance(content, dict):
        raise InputError([Problem(where, "does not hold a mapping of keys", "See the examples in recipes/.")])
    if unprintable := [
        text for text in _texts(content) if any(ord(letter) < 32 and letter not in "\n\t" for letter in text)
    ]:
        remedy = "Remove it; pages and images cannot show it."
        raise InputError(Problem(where, f"{text!r} holds a control character", remedy) for text in unprintable)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(_problem(where, detail) for detail in error.errors()) from None


def _values(content: Any, known: dict[int, float]) -> float:
    """How many values a declaration has once its aliases are written out; infinite where it holds itself or is deep."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        known[id(content)] = math.inf  # until its parts are known: met among them, it holds itself
        parts = [*content, *content.values()] if isinstance(content, dict) else content
        try:
            known[id(content)] = 1 + sum(_values(part, known) for part in parts)
        except RecursionError:
            return math.inf
    return known[id(content)]


def _texts(content: Any) -> Iterator[str]:
    """Every text in a nested declaration, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _problem(where: str, detail: Any) -> Problem:
    place = ".".join(str(part) for part in detail["loc"])
    what, remedy = detail["msg"].removeprefix("Value error, "), "Correct the value."
    if detail["type"] == "missing":
        what, remedy = "is missing", "Add it."
    elif detail["type"] == "extra_forbidden":
        what, remedy = "is not a key that is known here", "Remove it or correct its spelling."
    elif "input" in detail and detail["type"] != "value_error":
        what = f"{what} (found {detail['input']!r})"
    elif detail["type"] == "value_error" and ". " in what:
        what, remedy = what.split(". ", 1)
    return Problem(f"{where}, {place}" if place else where, what.rstrip("."), remedy)
