"""Writes the recorded stories anew, on purpose: `python -m tests.golden.record [worlds] [requests] [commands]`.

    python -m tests.golden.record                       all of them; then read the difference: `git diff tests/golden`
    python -m tests.golden.record worlds --show 'seed 3'    print one story as it is now, and write nothing

A recorded file has one JSON object a line: the story's name, and the line of the story.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from .commands import tell_commands
from .requests import tell_requests
from .story import Story
from .worlds import tell_worlds

FOLDER = Path(__file__).parent
TELLERS: Mapping[str, Callable[[], dict[str, Story]]] = {
    "worlds": tell_worlds,
    "requests": tell_requests,
    "commands": tell_commands,
}


def main() -> None:
    """Tell stories, and write or print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(TELLERS)}; by default all")
    parser.add_argument("--show", metavar="NAME", help="print this story")
    options = parser.parse_args()
    for part in options.parts or TELLERS:
        if part not in TELLERS:
            parser.error(f"there is no part {part!r}: use {', '.join(TELLERS)}")
        stories = TELLERS[part]()
        if options.show is None:
            write_stories(part, stories)
            print(f"{path_of(part)}: {len(stories)} stories, {path_of(part).stat().st_size:,} bytes")
        elif options.show in stories:
            print("\n".join(stories[options.show]))


def path_of(part: str) -> Path:
    """Return where a part is recorded."""
    return FOLDER / f"{part}.jsonl"


def write_stories(part: str, stories: Mapping[str, Story]) -> None:
    """Record the stories of a part."""
    lines = [json.dumps({name: line}, ensure_ascii=False) for name, story in stories.items() for line in story]
    path_of(part).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_stories(part: str) -> dict[str, Story]:
    """Return the recorded stories of a part."""
    stories: dict[str, Story] = {}
    for row in path_of(part).read_text(encoding="utf-8").splitlines():
        ((name, line),) = json.loads(row).items()
        stories.setdefault(name, []).append(line)
    return stories


if __name__ == "__main__":
    main()
