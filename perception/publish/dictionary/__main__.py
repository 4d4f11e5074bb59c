"""Write the dictionary of tables: `python -m perception.publish.dictionary docs/dictionary.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from perception.publish.dictionary.tables import markdown_tables

if len(sys.argv) != 2:
    sys.exit("Say where to: python -m perception.publish.dictionary docs/dictionary.md")
Path(sys.argv[1]).write_text(markdown_tables(), encoding="utf-8")
