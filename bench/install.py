"""What a user pays before the first request: import time, start of the command line, size of the base install.

    python -m bench.install [--rounds N] [--json]

Times are of fresh processes, less that of an empty one. The size is that of the packages that `pip install kapelle`
brings, without extras and without what develops kapelle.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import time
from typing import Any


def base_packages() -> dict[str, int]:
    """Return the bytes of every package that a base install brings, by name, largest first."""
    sizes: dict[str, int] = {}
    waiting = ["kapelle"]
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in sizes:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another platform, or behind an extra
            continue
        files = [package.locate_file(file) for file in package.files or ()]
        sizes[key] = sum(size(path) for path in files)
        waiting += [required for line in package.requires or () if (required := wanted(line, name)) is not None]
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def wanted(requirement: str, of: str) -> str | None:
    """The package that a requirement names, unless it belongs to an extra that kapelle does not ask for."""
    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    extras = {"pydantic-ai-slim": ["openai"]}.get(of, [])
    if parsed.marker is not None and not any(parsed.marker.evaluate({"extra": extra}) for extra in ["", *extras]):
        return None
    return parsed.name


def size(path: Any) -> int:
    try:
        return int(path.stat().st_size)
    except OSError:
        return 0


def seconds(code: str, rounds: int) -> float:
    """Median wall time of a fresh process that runs this code."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(rounds: int) -> dict[str, Any]:
    seconds("import kapelle.cli", 1)  # warm file caches, for all alike
    empty = seconds("pass", rounds)
    packages = base_packages()
    return {
        "import_s": round(seconds("import kapelle", rounds) - empty, 3),
        "import_engine_s": round(seconds("from kapelle import Engine, agent", rounds) - empty, 3),
        "command_line_s": round(seconds("import kapelle.cli", rounds) - empty, 3),
        "wanted_import_s": 0.3,
        "wanted_import_engine_s": 0.2,
        "install_mb": round(sum(packages.values()) / 1e6, 1),
        "packages": len(packages),
        "largest_mb": {name: round(size / 1e6, 1) for name, size in list(packages.items())[:6]},
    }


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"import kapelle          {found['import_s']:.3f} s (wanted: under {found['wanted_import_s']} s)")
    wanted = found["wanted_import_engine_s"]
    print(f"from kapelle import Engine, agent  {found['import_engine_s']:.3f} s (wanted: at most {wanted} s)")
    print(f"import kapelle.cli      {found['command_line_s']:.3f} s")
    largest = ", ".join(f"{name} {mb} MB" for name, mb in found["largest_mb"].items())
    print(f"base install            {found['install_mb']} MB in {found['packages']} packages ({largest})")


if __name__ == "__main__":
    main()
