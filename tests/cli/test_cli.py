"""The command line, run in process: what it prints, what it returns, and that bad input never breaks anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kapelle import cli
from kapelle.ledger import SqliteLedger, ledger_path
from tests.models.openai_server import OpenAIServer, chat, failure, raw

ROOT = Path(__file__).parents[2]
ATLAS = str(ROOT / "examples" / "atlas" / "data")
OWN = str(ROOT / "examples" / "atlas" / "agents.yaml")
COMPARE = "Compare the population of France and Germany"


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def kapelle(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command as a shell would, and gives its exit code and output."""

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["kapelle", *words])
        monkeypatch.setenv("COLUMNS", "140")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        out, err = capfd.readouterr()
        return Outcome(code if isinstance(code, int) else 1, out, err)

    return run


def test_run_prints_the_answer_on_standard_output_and_the_rest_beside_it(kapelle: Any) -> None:
    done = kapelle("run", COMPARE, "--data", ATLAS)
    assert (done.code, "84,500,000" in done.out) == (0, True)
    assert "No model is configured" in done.err
    assert "critical path" in done.err
    assert "started" not in done.out


def test_json_is_one_object(kapelle: Any) -> None:
    done = kapelle("run", COMPARE, "--data", ATLAS, "--json", "--budget", "1")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    assert (done.data["state"], done.data["settings"]["budget_usd"]) == ("done", 1.0)
    assert set(done.data["tasks"]) == {"s1", "s2", "s3"}


def test_plan_shows_levels_agents_and_reasons_and_runs_nothing(kapelle: Any) -> None:
    done = kapelle("plan", COMPARE, "--data", ATLAS)
    assert done.code == 0
    for words in ("level 0: at the same time", "folder-search", "after s1, s2: it puts", "approved: expected $0"):
        assert words in done.out
    assert "There is no ledger" in kapelle("runs").err


@pytest.mark.parametrize(
    ("option", "words"), [("--xml", "<graph>"), ("--mermaid", "flowchart"), ("--yaml", "request: Compare")]
)
def test_plan_prints_the_graph_for_other_tools(kapelle: Any, option: str, words: str) -> None:
    assert words in kapelle("plan", COMPARE, "--data", ATLAS, option).out


@pytest.mark.slow
def test_what_plan_writes_as_xml_run_reads(kapelle: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.xml").write_text(kapelle("plan", COMPARE, "--data", ATLAS, "--xml").out)
    assert kapelle("run", str(tmp_path / "plan.xml"), "--data", ATLAS, "--json").data["state"] == "done"


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Make a program the user's editor: it changes the text `plan` as the code says."""
    script = tmp_path / "editor.py"
    head = "import sys, pathlib\nfile = pathlib.Path(sys.argv[1])\nplan = file.read_text()\n"
    script.write_text(f"{head}{code}\nfile.write_text(plan)\n")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")


def test_an_edited_plan_is_checked_again_and_run(kapelle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "plan = plan.replace('population of France', 'population of Spain')")
    done = kapelle("plan", COMPARE, "--data", ATLAS, "--edit")
    assert (done.code, "48,100,000" in done.out, "approved" in done.out) == (0, True, True)


def test_an_edit_that_is_no_plan_is_kept(kapelle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "plan = plan.replace('- s1', '- s9')")
    done = kapelle("plan", COMPARE, "--data", ATLAS, "--edit")
    kept = Path(done.err.rpartition("kept in '")[2].partition("'")[0])
    assert (done.code, "depends on 's9'" in done.err, "- s9" in kept.read_text()) == (2, True, True)
    assert kapelle("runs", "--json").data == {"runs": []}


def test_an_editor_that_is_not_there_is_named(kapelle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "/nowhere/editor")
    done = kapelle("plan", COMPARE, "--data", ATLAS, "--edit")
    assert (done.code, "Name another in EDITOR" in done.err) == (2, True)


def test_plan_and_agents_leave_no_ledger_behind(kapelle: Any) -> None:
    kapelle("plan", COMPARE, "--data", ATLAS)
    kapelle("agents")
    assert not Path(ledger_path()).exists()


def test_a_run_is_explained_listed_and_drawn(kapelle: Any, tmp_path: Path) -> None:
    kapelle("run", COMPARE, "--data", ATLAS, "--svg", str(tmp_path / "run.svg"), "-o", str(tmp_path / "answer.md"))
    assert "agent: folder-search" in kapelle("explain", "last").out
    assert COMPARE in kapelle("runs").out
    assert (tmp_path / "run.svg").read_text().startswith("<svg")
    assert "84,500,000" in (tmp_path / "answer.md").read_text()


def test_agents_lists_prices_and_who_lacks_a_model(kapelle: Any) -> None:
    done = kapelle("agents", "--agents", OWN, "--data", ATLAS)
    assert "gazetteer" in done.out
    assert "$0.0020 a task" in done.out
    assert done.out.count("needs a model") == 15


def test_a_run_that_fails_returns_one_and_keeps_its_reason(kapelle: Any) -> None:
    done = kapelle("run", "Find the capital of Atlantis", "--data", ATLAS)
    assert (done.code, done.out) == (1, "")
    assert "Nothing in the folder answers 'capital of Atlantis'" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "Make me happy"], "No rule fits 'Make me happy'"),
        (["run", COMPARE, "--data", "/nowhere"], "There is no folder '/nowhere'"),
        (["run", "plan.yaml"], "Cannot read 'plan.yaml'"),
        (["run", COMPARE, "--budget", "-1"], "budget_usd=-1.0"),
        (["run", COMPARE, "--budget", "nan"], "budget_usd=nan"),
        (["run", COMPARE, "--quality", "7"], "min_quality=7.0"),
        (["run", COMPARE, "--model", "no such model"], "--model"),
        (["run", COMPARE, "--agents", "/nowhere.yaml"], "/nowhere.yaml"),
        (["run", COMPARE, "--svg", "/nowhere/run.svg"], "Cannot write"),
        (["run", COMPARE, "--db", "/"], "--db"),
        (["run", COMPARE, "--db", "postgresql://u:p@q@h/x"], "more than one @"),
        (["savings", "--db", "postgresql://u:p@h/x"], "a ledger that is a file"),
        (["learn", "--db", "postgresql://u:p@h/x"], "a ledger that is a file"),
        (["explain", "nope"], "There is no ledger"),
        (["run", COMPARE, "--budget", "1e300"], "budget_usd=1e+300"),
        (["run", "word " * 100 + "plan.json"], "No rule fits"),
        (["run"], "Missing argument"),
        (["run", COMPARE, "--budget", "lots"], "--budget"),
        (["dance"], "No such command"),
    ],
)
def test_bad_input_is_one_clear_error_and_exit_code_two(kapelle: Any, words: list[str], said: str) -> None:
    done = kapelle(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_help_shows_examples(kapelle: Any) -> None:
    for command in ("run", "plan", "explain", "runs", "agents"):
        done = kapelle(command, "--help")
        assert (done.code, f"kapelle {command}" in done.out) == (0, True)


def test_version_is_printed(kapelle: Any) -> None:
    assert kapelle("--version").out.startswith("kapelle 0.")


GOOD_PLAN = """tasks:
  - {id: s1, type: lookup, inputs: {query: capital of Peru}}
  - {id: s2, type: report, depends_on: [s1]}
"""
FRAGMENTS = st.sampled_from([
    "<graph>", "</graph>", "<node id='a'>", 'search("x")', "depends='b'", "&amp;", "&x;", "<!DOCTYPE x>", "{s1}", "{",
    "}}", "tasks:", "- id: a", "type: lookup", "inputs:", "*a", "&a", "!!python/name:os.system", "[", "]", '"', "'",
    "\x00", "\ud800", "null", "1e999", "-1", "NaN", "depends_on: [s2]", "\n", "  ", "é", "🙂", "|", "%", "<![CDATA[",
])  # fmt: skip
PLAN_TEXTS = st.lists(FRAGMENTS, max_size=12).map("".join) | st.builds(
    lambda at, cut, put: GOOD_PLAN[:at] + put + GOOD_PLAN[at + cut :],
    st.integers(0, len(GOOD_PLAN)),
    st.integers(0, 10),
    FRAGMENTS,
)
OPTION_VALUES = st.sampled_from(
    ["0", "-1", "nan", "inf", "1e308", "1e-300", "", "x", "0.5", "1", "2", "\x00", "--", "Ⅷ", "1_0"]
)
OPTIONS = st.lists(
    st.tuples(st.sampled_from(["--budget", "--deadline", "--quality", "--max-tokens"]), OPTION_VALUES), max_size=3
)
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_the_ledger_is_consistent() -> None:
    """The newest run, if any was begun, has ended and can be rebuilt. Older ones were looked at before."""
    if Path(ledger_path()).exists():
        with SqliteLedger(ledger_path()) as ledger:
            for summary in ledger.runs(limit=1):
                assert ledger.run(summary.run_id).ended


def assert_clean(done: Outcome) -> None:
    assert done.code in (0, 1, 2)
    assert "Traceback" not in done.err + done.out
    assert done.code != 2 or done.err.strip()


@pytest.mark.slow
@given(PLAN_TEXTS, st.sampled_from([".yaml", ".json", ".xml"]), OPTIONS)
@FUZZ
def test_any_plan_file_with_any_options_ends_cleanly(
    kapelle: Any, tmp_path: Path, text: str, suffix: str, options: list[tuple[str, str]]
) -> None:
    path = tmp_path / f"plan{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    done = kapelle("run", str(path), "--data", ATLAS, *(word for pair in options for word in pair))
    assert_clean(done)
    assert_the_ledger_is_consistent()


TASK = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["s1", "s2", "", "a b", "{s1}"]),
        "type": st.sampled_from(["lookup", "write", "", "fly"]),
        "description": st.text(max_size=5),
        "inputs": st.lists(st.fixed_dictionaries({"name": st.text(max_size=3), "value": FRAGMENTS}), max_size=2),
        "depends_on": st.lists(st.sampled_from(["s1", "s2", "s9"]), max_size=2),
        "requires": st.lists(st.sampled_from(["sql", "x"]), max_size=1),
    }
)
REPLIES = (
    st.builds(lambda tasks: chat(json.dumps({"tasks": tasks})), st.lists(TASK, max_size=3))
    | st.builds(lambda text: chat(text), st.text(max_size=20))
    | st.builds(lambda body: raw(body), st.binary(max_size=40))
    | st.sampled_from([failure(400), failure(401), chat(None), chat('{"tasks": 3}'), raw("{}")])
)


@pytest.mark.slow
@given(st.lists(REPLIES, min_size=1, max_size=4))
@settings(FUZZ, max_examples=100)
def test_any_reply_of_a_model_ends_cleanly(kapelle: Any, monkeypatch: pytest.MonkeyPatch, replies: list[Any]) -> None:
    with OpenAIServer(replies) as server:
        monkeypatch.setenv("KAPELLE_MODEL", "local:small")
        monkeypatch.setenv("KAPELLE_BASE_URL", server.base_url)
        assert_clean(kapelle("run", "What is the capital of France?"))
    assert_the_ledger_is_consistent()


WRITTEN = "SELECT COUNT(*) FROM (SELECT river FROM river_countries GROUP BY river HAVING COUNT(DISTINCT country) > 5)"


@pytest.mark.parametrize("model", ["local:small", "none"])
def test_a_model_writes_sql_where_no_rule_understands_and_the_json_says_so(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str
) -> None:
    question = "How many rivers flow through more than 5 countries?"
    (tmp_path / "plan.yaml").write_text(
        f"request: {question}\ntasks:\n  - id: s1\n    type: aggregate\n    inputs: {{question: '{question}'}}\n"
    )
    with OpenAIServer([chat(json.dumps({"sql": WRITTEN}))]) as server:
        monkeypatch.setenv("KAPELLE_BASE_URL", server.base_url)
        done = kapelle("run", str(tmp_path / "plan.yaml"), "--data", ATLAS, "--model", model, "--json")
    output = done.data["tasks"]["s1"]["output"]
    if model == "none":
        assert (done.code, output, server.requests) == (1, None, [])
        return
    assert (done.code, output["sql"], output["sql_by"]) == (0, WRITTEN, "model local:small")
    assert sorted(output["sources"]) == ["river_countries.csv"]
    assert len(server.requests) == 1


SUPPORT = "examples/savings/support.csv"


@pytest.mark.slow
def test_savings_tells_what_routing_would_have_saved_and_draws_it(kapelle: Any, tmp_path: Path) -> None:
    done = kapelle("savings", SUPPORT, "--plot", str(tmp_path / "curve.svg"))
    assert (done.code, "random mix" in done.out, "What routing would use" in done.out) == (0, True, True)
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    data = kapelle("savings", SUPPORT, "--json", "--keep", "0.9").data
    assert [target["quality_share"] for target in data["targets"]] == [0.9]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "--column"),
        ("task_id,model,quality,cost_usd\n" + "".join(f"{n},one,1,0.1\n" for n in range(60)), "one agent"),
        ("task_id,model,quality,cost_usd\n" + "".join(f"{n},m{n % 2},nan,-1\n" for n in range(60)), "line 2"),
    ],
)
def test_a_log_that_says_nothing_is_refused_with_the_way_out(
    kapelle: Any, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "log.csv").write_text(content)
    done = kapelle("savings", str(tmp_path / "log.csv"))
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.slow
def test_learn_writes_what_later_runs_use(kapelle: Any, tmp_path: Path) -> None:
    ledger = str(tmp_path / "l.sqlite")
    done = kapelle("learn", SUPPORT, "--db", ledger, "--json")
    assert (done.data["tasks"], done.data["agents"]) == (300, 2)
    assert sorted(path.name for path in (tmp_path / "l.sqlite.learned").iterdir()) == [
        "policy.npz",
        "strategies.json",
        "success.npz",
    ]
    assert kapelle("run", COMPARE, "--data", ATLAS, "--db", ledger, "--json").data["state"] == "done"


def test_the_frontier_shows_the_choices(kapelle: Any) -> None:
    words = (
        "For each of Peru and Chile, find its capital; then write a report",
        "--agents",
        "examples/atlas/agents.yaml",
    )
    done = kapelle("plan", *words, "--frontier")
    assert (done.code, "cheapest" in done.out, "most likely to succeed" in done.out) == (0, True, True)
    points = kapelle("plan", *words, "--frontier", "--json").data["frontier"]["points"]
    assert len(points) >= 2


COUNTRIES = ("For each of Peru and Chile, find its capital", "Compare the capitals of France and Germany")


def test_several_requests_are_planned_together(kapelle: Any) -> None:
    words = (*COUNTRIES, "--together", "--agents", "examples/atlas/agents.yaml")
    done = kapelle("plan", *words, "--budget", "1")
    assert (done.code, "2 plans together" in done.out, "works for 1. For each" in done.out) == (0, True, True)
    said = kapelle("plan", *words, "--budget", "1", "--json").data
    assert (said["approved"], said["status"], len(said["plans"])) == (True, "optimal", 2)
    assert sum(one["budget_usd"] for one in said["plans"]) == pytest.approx(1.0)
    assert sum(one["estimated_cost_usd"] for one in said["plans"]) == pytest.approx(said["estimated_cost_usd"])


def test_a_budget_too_small_for_all_says_what_is_missing(kapelle: Any) -> None:
    words = (*COUNTRIES, "--together", "--agents", "examples/atlas/agents.yaml", "--budget", "0.0001")
    done = kapelle("plan", *words)
    assert (done.code, "max_total_cost must give by" in done.out) == (2, True)
    assert kapelle("run", *words, "--json").code == 2


def test_requests_that_were_planned_together_are_run_one_after_the_other(kapelle: Any) -> None:
    done = kapelle("run", *COUNTRIES, "--together", "--data", ATLAS, "--json")
    assert (done.code, [run["state"] for run in done.data["runs"]]) == (0, ["done", "done"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "find", "it"), "add --together"),
        (("run", "find", "it"), "add --together"),
        (("plan", "a", "b", "--together", "--svg", "p.svg"), "--svg is about one request"),
        (("run", "a", "b", "--together", "--max-tokens", "9"), "--max-tokens is about one request"),
        (("plan", "-", "-", "--together"), "give - once"),
    ],
)
def test_what_cannot_go_together_is_refused(kapelle: Any, words: tuple[str, ...], message: str) -> None:
    done = kapelle(*words)
    assert (done.code, message in done.err) == (2, True)


@pytest.mark.parametrize("share", ["-1", "1.5", "nan"])
def test_a_share_to_explore_that_is_none_is_refused(kapelle: Any, share: str) -> None:
    done = kapelle("run", COMPARE, "--data", ATLAS, "--explore", share)
    assert (done.code, "no share of tasks" in done.err) == (2, True)


def test_an_answer_is_rated_and_the_last_word_counts(kapelle: Any) -> None:
    run_id = kapelle("run", COMPARE, "--data", ATLAS, "--json").data["run_id"]
    assert "100% right" in kapelle("rate", "last", "good").out
    said = kapelle("rate", run_id, "0.25", "--json").data
    assert (said["run_id"], said["quality"], said["measured_by"]) == (run_id, 0.25, "person")
    with SqliteLedger(ledger_path(), read_only=True) as ledger:
        rated = {one.task_id: one.quality for one in ledger.outcomes() if one.quality is not None}
    assert rated == dict.fromkeys(said["tasks"], 0.25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rate", "last", "nice"], "Say good, bad, or a number from 0 to 1"),
        (["rate", "last", "7"], "Say good, bad, or a number from 0 to 1"),
        (["rate", "last", "nothing", "good"], "has no task 'nothing'. It has: "),
        (["rate", "last", "a", "b", "good"], "is too much"),
        (["rate", "20000101-nobody", "good"], "20000101-nobody"),
        (["forget", "nobody"], "There are outcomes of: "),
        (["forget", "folder-search", "--type", "dance"], "What it has done: lookup"),
        (["forget", "folder-search", "--before", "yesterday"], "is no day or time"),
    ],
)
def test_a_word_about_nothing_says_the_way_out(kapelle: Any, words: list[str], message: str) -> None:
    kapelle("run", COMPARE, "--data", ATLAS)
    done = kapelle(*words)
    assert (done.code, message in done.err) == (2, True), done.err


@pytest.mark.slow
def test_forgetting_is_counted_first_and_leaves_the_run_as_it_was(kapelle: Any) -> None:
    kapelle("run", COMPARE, "--data", ATLAS)
    before = kapelle("explain", "last").out
    assert kapelle("forget", "folder-search", "--dry-run", "--json").data["outcomes"] == 2
    assert (
        "2 outcomes of folder-search at lookup count no more"
        in kapelle("forget", "folder-search", "--type", "lookup").out
    )
    assert "No outcome of an agent 'folder-search' counts" in kapelle("forget", "folder-search").err
    assert kapelle("explain", "last").out == before
