"""What every table, column, indicator and question means, for people (Markdown) and catalogues (DDI, CSVW).

All of it is generated from `perception.schemas`, the published tables and the declarations of waves; nothing here
looks at answers.
"""

from __future__ import annotations

from perception.publish.dictionary.csvw import csv_archive, csvw
from perception.publish.dictionary.ddi import ddi
from perception.publish.dictionary.tables import indicator_dictionary, markdown, markdown_tables

__all__ = ["csv_archive", "csvw", "ddi", "indicator_dictionary", "markdown", "markdown_tables"]
