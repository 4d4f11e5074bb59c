"""The page about the data: every published table and column, every indicator, and files that say so to catalogues."""

from __future__ import annotations

from collections.abc import Mapping

from perception.publish.dictionary import indicator_dictionary
from perception.publish.maps import records
from perception.publish.site_work import Work
from perception.schemas import TABLES

FOLDER = "data"
ARCHIVE, DICTIONARY = "tables.zip", "dictionary.md"


def codebook_file(wave: str) -> str:
    """The name of the file that describes a wave to catalogues."""
    return f"ddi-{wave}.xml"


def write_data_page(work: Work, files: Mapping[str, bytes]) -> None:
    """Write the page and, beside it, the files that it offers by name: `ARCHIVE`, `DICTIONARY` and codebooks."""
    for name, file in files.items():
        (work.root / FOLDER / name).write_bytes(file)
    described = indicator_dictionary(work.tables["published_indicators"], work.tables["published_waves"])
    content = {
        "waves": [{"wave": wave, "codebook": codebook_file(wave["wave"])} for wave in work.waves],
        "questionnaires": {name: records(rows) for name, rows in described.groupby("instrument", sort=False)},
        "tables": [table for table in TABLES.values() if table.public],
        "files": files,
        "archive": ARCHIVE,
        "dictionary": DICTIONARY,
        "simulated": bool(work.waves) and all(wave["simulated"] for wave in work.waves),
    }
    work.write_page(f"{FOLDER}/index", "data", content)
