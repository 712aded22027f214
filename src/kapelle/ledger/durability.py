"""What survives when the power goes: as much as the ledger's writes wait for the disk.

    full     a write returns once it is on the disk: an event is there before its effect, whatever happens
    normal   a write returns once the operating system has it: nothing is lost when the process dies, and the last
             moments may be when the power goes; the ledger stays whole

A disk, or a virtual one, that says it has written what it has not is not covered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from kapelle.errors import InvalidInput

Durability = Literal["full", "normal"]
VARIABLE = "KAPELLE_DURABILITY"


def read_durability(given: str | None, environ: Mapping[str, str]) -> Durability:
    """Return what was given, else what `KAPELLE_DURABILITY` says, else `full`.

    Raises:
        InvalidInput: there is no such durability.
    """
    place, said = ("durability", given) if given is not None else (VARIABLE, environ.get(VARIABLE) or "full")
    for known in get_args(Durability):
        if said == known:
            return "full" if known == "full" else "normal"
    raise InvalidInput(
        f"{place}={said!r:.40} is not known. Give 'full' (what is confirmed survives a power cut) or 'normal' (it "
        "survives the end of the process, and writes wait for no disk)."
    )
