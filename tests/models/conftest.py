"""Model tests see no key, no model and no proxy of the machine that they run on."""

from __future__ import annotations

import os

import pytest

_TAKEN_AWAY = ("KAPELLE_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "OLLAMA_", "VLLM_")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(_TAKEN_AWAY) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
