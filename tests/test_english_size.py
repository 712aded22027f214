"""English read by rules may be rewritten, and does not grow: what words cannot say safely is a model's work."""

from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "kapelle"
ROOMS = (
    "planning/language.py",
    "planning/request_shapes.py",
    "planning/rule_planner.py",
    "planning/pronouns.py",
    "planning/for_each.py",
    "planning/dependencies/*.py",
    "tools/table_questions.py",
    "tools/question_words.py",
    "tools/schema_links.py",
    "knowledge/words.py",
    "knowledge/answer.py",
    "planning/coverage/*.py",
)
MAX_LINES = 6_072


def test_english_by_rules_does_not_grow() -> None:
    files = [file for room in ROOMS for file in SOURCE.glob(room)]
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= MAX_LINES
