"""Runs the notebooks and keeps their outputs: each NAME.md is the text that people edit, NAME.ipynb what they open.

Without names all are made anew: `python notebooks/make.py [NAME.md ...]`. The outputs are those of the tables in
data/processed/public, or of the project that $PERCEPTION_PROJECT names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

HERE = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LONGEST = 300  # seconds for one cell


def texts() -> list[Path]:
    """The plain texts of all notebooks, in their order."""
    return sorted(HERE.glob("[0-9]*.md"))


def read(text: Path) -> NotebookNode:
    """The notebook of a plain text, without outputs; ids of cells follow from their order."""
    notebook = jupytext.read(text)
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    notebook.metadata["jupytext"] = {"formats": "ipynb,md"}
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
    return notebook


def executed(text: Path) -> NotebookNode:
    """The notebook of a plain text with its outputs; CellExecutionError where a cell fails."""
    notebook = read(text)
    with TemporaryDirectory() as folder:  # of the sockets: nobody else on the machine can listen
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        where = {"metadata": {"path": str(text.parent)}}
        NotebookClient(notebook, timeout=LONGEST, resources=where, config=config).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


if __name__ == "__main__":
    for each in map(Path, sys.argv[1:] or texts()):
        jupytext.write(executed(each), each.with_suffix(".ipynb"))
        print(each.with_suffix(".ipynb"))
