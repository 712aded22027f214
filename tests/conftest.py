"""What every test shares: no key, no model and no ledger of the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def offline_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's keys, models and ledger; every test has an empty ledger of its own."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("KAPELLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAPELLE_DB", str(tmp_path / "ledger.sqlite"))
