"""What every test shares: no key, no model and no ledger of the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Speed is measured in bench/, so a slow machine fails no test. In CI the cases are the same every time; elsewhere they
# are new ones, and what they find is a test to write.
settings.register_profile(
    "kapelle", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("kapelle")


@pytest.fixture(autouse=True)
def offline_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's keys, models and ledger; every test has an empty ledger of its own."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("KAPELLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KAPELLE_DB", str(tmp_path / "ledger.sqlite"))
