"""A small language model, served by llama.cpp's own server: see bench/local_model.py, which fetches it. No test does.

KAPELLE_TEST_LLM=1 makes a missing model or server an error instead of a skipped test; 0 skips these tests.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

from bench.local_model import fetch_model, model_path, serve

# Read now: no test sees the machine's own variables.
_WANTED = os.environ.get("KAPELLE_TEST_LLM", "").strip()


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """A server with one slot of 8,192 tokens, which all tests share."""
    if _WANTED == "0":
        pytest.skip("KAPELLE_TEST_LLM=0")
    if not model_path().exists():
        missing = f"{model_path()} is not there; python -m bench.local_model --fetch"
    elif importlib.util.find_spec("xllamacpp") is None:
        missing = "xllamacpp is not installed; pip install 'kapelle[bench-llm]'"
    else:
        missing = ""
    if missing and _WANTED:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with serve(fetch_model()) as url:
        yield url
