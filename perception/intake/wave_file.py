"""What `wave.yml` declares about one wave: its files, design, geography and how its codes map to the instrument.

Only the declaration lives here; reading the files it names is `raw`, applying its maps is `harmonise`.
"""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from perception.errors import InputError, Problem
from perception.intake.declarations import ID_PATTERN, Declaration, Text, load_declaration
from perception.intake.instrument import Identifier
from perception.intake.readers import code_key

WAVE_ID_PATTERN = ID_PATTERN
WAVE_FILE = "wave.yml"
CHECKSUMS_FILE = "SHA256SUMS"
ACROSS_WAVES = "across"
RESERVED_IDS = (ACROSS_WAVES, "assets", "publishing")
"""Names of folders and stages that stand beside those of waves."""

Code = int | float | str
Reason = Literal["dont_know", "refused", "not_asked", "missing"]


class Join(Declaration):
    """How a further file is joined to the first: key columns, each of which the further file holds once."""

    on: Annotated[list[str], Field(min_length=1)]


class DataFile(Declaration):
    """A data file beside `wave.yml`, the columns taken from it (all when empty) and how it is joined."""

    path: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    columns: list[str] = []
    join: Join | None = None


class RowRule(Declaration):
    """Which rows count, by the codes of one column: either those to `keep` or those to `drop`."""

    column: str
    keep: list[Code] = []
    drop: list[Code] = []

    @model_validator(mode="after")
    def _one_of_the_two(self) -> RowRule:
        if bool(self.keep) == bool(self.drop):
            raise ValueError("needs either `keep` or `drop`. Give one of the two.")
        return self


class SampleDesign(Declaration):
    """The sample design: weight, strata (crossed), PSU, the columns PSU ids are unique within, and two policies.

    `single_psu` says what happens to a stratum with one PSU, `empty_psus` whether a sampled PSU in which nobody
    completed an interview counts in its stratum's number of PSUs.
    """

    weight: str
    weight_scale: Literal["population", "mean_one", "relative"]
    strata: Annotated[list[str], Field(min_length=1)]
    psu: str
    psu_within: list[str] = []
    single_psu: Literal["collapse", "centre", "fail"] = "collapse"
    empty_psus: Literal["count", "leave_out"] = "count"


class Place(Declaration):
    """Where respondents live: the district column, whether its codes or labels are names, names declared by hand."""

    vintage: str
    district: str
    by: Literal["code", "label"] = "label"
    names: dict[Code, str] = {}


class Variable(Declaration):
    """How one harmonised variable is made: source column and code map, or a constant for the whole wave."""

    source: str | None = None
    constant: str | None = None
    by: Literal["code", "label"] = "code"
    map: dict[Code, str] = {}
    missing: dict[Code, Reason] = {}
    blank: Reason = "missing"

    @model_validator(mode="after")
    def _source_or_constant(self) -> Variable:
        if (self.source is None) == (self.constant is None):
            raise ValueError("needs either `source` or `constant`. Give one of the two.")
        codes = [code_key(code) for code in (*self.map, *self.missing)]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"codes {twice} stand twice in `map` and `missing` together. Keep one of them.")
        return self


class FieldDates(Declaration):
    """First and last day of fieldwork."""

    start: date
    end: date

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> FieldDates:
        if self.start > self.end:
            raise ValueError("starts after it ends. Correct `start` or `end`.")
        return self


class Wave(Declaration):
    """One survey in one folder."""

    id: Identifier
    round: str
    predecessor: Identifier | None = None
    title: Text
    instrument: Identifier
    dates: FieldDates
    producer: str
    citation: str
    licence: str
    simulated: bool
    files: Annotated[list[DataFile], Field(min_length=1)]
    rows: list[RowRule] = []
    respondent_id: Annotated[list[str], Field(min_length=1)]
    design: SampleDesign
    geography: Place
    variables: dict[str, Variable]

    @model_validator(mode="before")
    @classmethod
    def _round_may_be_a_year(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("round"), int):
            return {**value, "round": str(value["round"])}
        return value

    @model_validator(mode="after")
    def _id_is_free(self) -> Wave:
        if self.id in RESERVED_IDS:
            raise ValueError(f"id: {self.id} is a name that the software uses itself. Choose another id.")
        return self

    @model_validator(mode="after")
    def _only_the_first_file_stands_alone(self) -> Wave:
        if self.files[0].join is not None or any(file.join is None for file in self.files[1:]):
            raise ValueError("files: the first stands alone and every further one needs `join`. Correct the list.")
        return self


def load_wave(folder: Path) -> Wave:
    """Read `wave.yml` of a wave folder; InputError lists every mistake, a folder of another name included."""
    wave = load_declaration(folder / WAVE_FILE, Wave)
    if wave.id != folder.name:
        raise InputError(
            [
                Problem(
                    f"{folder.name}/{WAVE_FILE}, id", f"is {wave.id!r}", f"Name the folder {wave.id} or correct the id."
                )
            ]
        )
    return wave


def data_files(wave: Wave, folder: Path) -> list[Path]:
    """The data files of a wave, in the order declared; they need not exist."""
    return [folder / file.path for file in wave.files]


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(wave: Wave, folder: Path) -> None:
    """Record the SHA-256 of the data files in `SHA256SUMS`, in the form that `sha256sum --check` reads."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in data_files(wave, folder)]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), encoding="utf-8")


def checksum_problems(wave: Wave, folder: Path) -> list[Problem]:
    """Data files that are not there or differ from the recorded checksum; a wave without a record has none to break."""
    recorded: dict[str, str] = {}
    if (folder / CHECKSUMS_FILE).exists():
        for line in (folder / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines():
            digest, _, name = line.partition("  ")
            recorded[name] = digest
    problems = []
    for path in data_files(wave, folder):
        where = f"{wave.id}/{path.name}"
        if not path.is_file():
            problems.append(Problem(where, "the file is not there", "Put it beside wave.yml or correct `files`."))
        elif path.name in recorded and sha256(path) != recorded[path.name]:
            problems.append(
                Problem(
                    where,
                    "is not the file whose checksum was recorded",
                    f"Restore it, or run `perception add-wave` again to record the new one in {CHECKSUMS_FILE}.",
                )
            )
    return problems


def wave_version(wave: Wave, folder: Path, instrument: Path) -> str:
    """SHA-256 over the content of everything a wave is made from: wave.yml, its data files and the instrument."""
    digest = hashlib.sha256()
    for path in [folder / WAVE_FILE, *data_files(wave, folder), instrument]:
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()
