"""Two lookup agents of our own, as plain functions. They read the same CSV files, but one is priced, and surer.

Named in agents.yaml beside this file; `kapelle run ... --agents examples/atlas/agents.yaml` lets them take part.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
FACT = re.compile(r"(?:the )?(?P<attribute>[a-z ]+?) of (?:the )?(?P<name>.+)", re.IGNORECASE)


def look_up(task: Any) -> dict[str, Any]:
    """Return the cell that a query such as `population of Peru` names."""
    found = FACT.fullmatch(task.inputs["query"].strip())
    if found is None:
        raise ValueError(f"a gazetteer knows 'ATTRIBUTE of PLACE', not {task.inputs['query']!r}")
    for path in sorted(DATA.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                key, *columns = row
                if row[key].lower() == found["name"].strip().lower():
                    for column in columns:
                        if column.split("_")[0] == found["attribute"].strip().lower():
                            return {
                                "text": f"{found['attribute'].strip().capitalize()} of {row[key]}: {row[column]}",
                                "answer": row[column],
                                "sources": [f"{path.name}:{line}"],
                            }
    raise LookupError(f"no table has {task.inputs['query']!r}")
