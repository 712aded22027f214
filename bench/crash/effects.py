"""The side effects of agents: lines in a file that outlive the process, in the order in which they happened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Effects:
    """A file of lines, to which several processes may append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = -1
        """The last event that was in the ledger when a line is left, as far as this process has seen."""
        path.touch()

    def leave(self, what: str, **more: Any) -> None:
        """Append a line in one write, which nothing tears apart."""
        line = json.dumps({"what": what, "pid": os.getpid(), "seq": self.seq, **more}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """Return the lines."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]
