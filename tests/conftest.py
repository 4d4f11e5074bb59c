"""Fixtures shared by all tests: the reference material beside the checkout, skipped where absent."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name}, which is not on this machine")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Reference numbers computed with R and the textbook tables they were computed on."""
    return _shared("golden")


@pytest.fixture(scope="session")
def shared_waves() -> Path:
    """Survey files as their producers published them."""
    return _shared("waves")


@pytest.fixture(scope="session")
def shared_boundaries() -> Path:
    """An official district boundary layer."""
    return _shared("boundaries")
