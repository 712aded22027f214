"""The side effects of agents: lines in a file that outlive the process, in the order in which they happened."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Effects:
    """A file of lines, to which several processes may append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = -1
        """The last event that was in the ledger when a line is left, as far as this process has seen."""
        path.write_text("")

    def leave(self, what: str, **more: Any) -> None:
        """Append a line in one write."""
        values = {"what": what, "pid": os.getpid(), "at": time.time(), "seq": self.seq, **more}
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            # Between two lines, so that one that was torn by a kill (that happens at a page's end) spoils no other.
            os.write(handle, f"\n{json.dumps(values)}\n".encode())
        finally:
            os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """Return the lines; one that is not whole was never left."""
        return list(self._whole())

    def _whole(self) -> Iterator[dict[str, Any]]:
        for line in filter(None, self.path.read_text().splitlines()):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue
