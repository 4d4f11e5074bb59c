"""What every table, column, indicator and question means, for people (frames, Markdown) and catalogues (DDI, CSVW).

All of it is generated from `perception.schemas`, the questionnaires, the wave files and what they were made to; nothing
here looks at answers.
"""

from __future__ import annotations

from perception.dictionary.csvw import csvw, csvw_text
from perception.dictionary.ddi import ddi
from perception.dictionary.tables import (
    indicator_dictionary,
    markdown,
    markdown_indicators,
    markdown_tables,
    table_dictionary,
)

__all__ = [
    "csvw",
    "csvw_text",
    "ddi",
    "indicator_dictionary",
    "markdown",
    "markdown_indicators",
    "markdown_tables",
    "table_dictionary",
]
