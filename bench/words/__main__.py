"""Reads the options of `python -m bench.words`, and prints the counts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import __doc__ as description
from .measuring import BadQuestions, Judged, ask_all, count, read_questions

HERE = Path(__file__).parent
SPLITS = ("dev", "held")


def main() -> None:
    """Print the counts, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, help="a file of questions; needs --data")
    parser.add_argument("--data", type=Path, help="the folder that the questions are about")
    parser.add_argument("--split", choices=SPLITS, help="one half of the questions that are here")
    parser.add_argument("--misses", type=int, default=0, help="show as many that are not right, the wrong ones first")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.questions is None) != (options.data is None):
        parser.error("--questions and --data go together")
    if options.questions is not None and options.split is not None:
        parser.error("--split is about the questions that are here, not about those of --questions")
    if options.misses and options.questions is None and options.split != "dev":
        parser.error("--misses needs --split dev: what is held out is not looked at")
    try:
        if options.questions is not None:
            parts = {"questions": ask_all(read_questions(options.questions, options.data))}
        else:
            names = SPLITS if options.split is None else (options.split,)
            parts = {name: ask_all(read_questions(HERE / f"{name}.jsonl", HERE / "data")) for name in names}
    except BadQuestions as error:
        sys.exit(f"error: {error}")
    judged = [one for part in parts.values() for one in part]
    folders = {one.asked.folder.name: None for one in judged}
    result = {
        **count(judged),
        "parts": {name: count(part) for name, part in parts.items()},
        "folders": {name: count([one for one in judged if one.asked.folder.name == name]) for name in folders},
    }
    misses = sorted((one for one in judged if _is_miss(one)), key=lambda one: one.outcome != "wrong")[: options.misses]
    if options.json:
        print(json.dumps({**result, "misses": [_as_json(one) for one in misses]} if options.misses else result))
        return
    for name, part in {**result["parts"], **result["folders"], "all": result}.items():
        shown = "  ".join(f"{key} {value}" for key, value in part.items() if not isinstance(value, dict))
        print(f"{name:<10}{shown}")
    for one in misses:
        print(f"\n{one.outcome}: {one.asked.question} ({one.asked.folder.name})")
        print(f"  truth: {one.truth}\n  said:  {' '.join(one.said.split())[:300]}")


def _is_miss(one: Judged) -> bool:
    return one.outcome == "wrong" or (one.outcome == "unanswered" and one.asked.is_answerable)


def _as_json(one: Judged) -> dict[str, str]:
    return {
        "question": one.asked.question,
        "folder": one.asked.folder.name,
        "outcome": one.outcome,
        "truth": one.truth,
        "said": one.said,
    }


main()
