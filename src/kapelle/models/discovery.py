"""Finds the user's model: by its name, in the environment, or not at all. Asks nobody.

The first of these that says something wins:

1. the name that was given (`--model`);
2. `KAPELLE_MODEL`: `provider:name`, or the bare name of a model on the server that `KAPELLE_BASE_URL` (or
   `OPENAI_BASE_URL`) names; `none` turns models off;
3. the first provider key that is set, with that provider's entry in `DEFAULT_MODELS`.

A key goes to its own provider only: to the server in `KAPELLE_BASE_URL` goes `KAPELLE_API_KEY`, and to the one in
`OPENAI_BASE_URL` goes `OPENAI_API_KEY`, as OpenAI's own tools do it. `KAPELLE_PRICES` names a file of prices.

`KAPELLE_MODEL_TIMEOUT` is how many seconds a call may take, or a streamed reply be silent; `KAPELLE_MODEL_RPM` and
`KAPELLE_MODEL_TPM` are the requests and the tokens a minute that the provider grants.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kapelle.errors import InvalidInput
from kapelle.redaction import hide_credentials, hide_secrets, remember_environment

from .prices import PriceTable, is_local_url
from .providers import COMPATIBLE_PROVIDERS, OPENAI_PROVIDERS, is_known_provider

if TYPE_CHECKING:
    from .client import ModelClient

DEFAULT_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "OPENAI_API_KEY": "openai:gpt-6-luna",
        "ANTHROPIC_API_KEY": "anthropic:claude-haiku-5-5",
        "GEMINI_API_KEY": "google:gemini-3.5-flash-lite",
        "GOOGLE_API_KEY": "google:gemini-3.5-flash-lite",
    }
)
"""For each key, the cheapest current model of its provider by the price table: a key alone should never be dear."""

_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(OPENAI_PROVIDERS, ("OPENAI_API_KEY",)),
        "anthropic": ("ANTHROPIC_API_KEY",),
        "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    }
)
"""The other providers' libraries know their own variables."""

# Where these servers listen unless told otherwise, and the variable that tells.
_SERVERS = MappingProxyType(
    {
        "ollama": ("OLLAMA_BASE_URL", "http://localhost:11434/v1"),
        "vllm": ("VLLM_BASE_URL", "http://localhost:8000/v1"),
    }
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://.*")
_MODEL = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")
_OFF = "none"


def find_model(
    name: str | None = None, environ: Mapping[str, str] | None = None, *, timeout_s: float | None = None
) -> ModelClient | None:
    """Return a client for the user's model, or None when there is none.

    `timeout_s` goes before `KAPELLE_MODEL_TIMEOUT`: see `PydanticAIClient`.

    Raises:
        InvalidInput: a name or a variable is malformed, or the model cannot be used as it is: its package or key is
            missing, or (`UnknownPrice`) its price. The message names the variable and the way out.
    """
    environ = os.environ if environ is None else environ
    found = _find(name, environ)
    if found is None:
        return None
    from .pydantic_ai_client import PydanticAIClient  # who has no model needs none of what talks to one
    from .rate_limits import RateLimits

    client = PydanticAIClient(
        found.model,
        base_url=found.base_url,
        api_key=found.api_key,
        prices=PriceTable.from_environment(environ),
        timeout_s=_read_timeout_s(environ) if timeout_s is None else timeout_s,
        rate_limits=RateLimits(
            requests_per_minute=_read_limit(environ, "KAPELLE_MODEL_RPM"),
            tokens_per_minute=_read_limit(environ, "KAPELLE_MODEL_TPM"),
        ),
    )
    remember_environment(environ, owner=client)
    return client


def describe_model(name: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return one line that says which model `find_model` finds, from where, and how it is priced. Shows no key.

    Raises:
        InvalidInput: as `find_model`, except that packages and keys are not looked for.
    """
    environ = os.environ if environ is None else environ
    found = _find(name, environ)
    if found is None:
        return "no model: set KAPELLE_MODEL to provider:name, or a provider's key such as OPENAI_API_KEY"
    price = PriceTable.from_environment(environ).find_source(found.model, base_url=found.base_url)
    _read_timeout_s(environ), _read_limit(environ, "KAPELLE_MODEL_RPM"), _read_limit(environ, "KAPELLE_MODEL_TPM")
    server = f" at {hide_credentials(found.base_url)}" if found.base_url else ""
    return hide_secrets(f"model {found.model}{server} from {found.source}; {price}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    model: str
    source: str
    """What said so, in words."""
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)


def _find(name: str | None, environ: Mapping[str, str]) -> _Found | None:
    if name is not None:
        return _resolve(name.strip(), "--model", environ)
    if wanted := _read(environ, "KAPELLE_MODEL"):
        return _resolve(wanted, "KAPELLE_MODEL", environ)
    if _read(environ, "KAPELLE_BASE_URL"):
        raise InvalidInput("KAPELLE_BASE_URL names a server, but no model on it. Name one in KAPELLE_MODEL.")
    for variable, model in DEFAULT_MODELS.items():
        if _read(environ, variable):
            found = _resolve(model, variable, environ)
            assert found is not None
            return replace(found, source=f"{variable} (its default; KAPELLE_MODEL chooses another)")
    return None


def _resolve(wanted: str, source: str, environ: Mapping[str, str]) -> _Found | None:
    if wanted.lower() == _OFF:
        return None
    if not _MODEL.fullmatch(wanted):
        raise InvalidInput(f"{source}={wanted[:200]!r} is no model. Write provider:name, such as openai:gpt-6-luna.")
    if (url := _URL.search(wanted)) is not None:
        shown = f"{wanted[: url.start()]}{hide_credentials(url[0])}"[:200]
        raise InvalidInput(f"{source}={shown!r} holds a URL. Name the model only, and its server in KAPELLE_BASE_URL.")
    provider, _, name = wanted.partition(":")
    own_server = _read_url(environ, "KAPELLE_BASE_URL")
    openai_server = _read_url(environ, "OPENAI_BASE_URL")
    server = own_server or openai_server
    # `llama3:8b` has a colon, too.
    is_bare = not name or not provider or not is_known_provider(provider)
    if is_bare and server is None:
        raise InvalidInput(
            f"{source}={wanted!r} names no provider that is known. Write provider:name, such as openai:{wanted}, "
            "or name the OpenAI-compatible server that has it in KAPELLE_BASE_URL."
        )
    if is_bare:
        wanted = f"{'local' if is_local_url(server or '') else 'openai-compatible'}:{wanted}"
    if not is_bare and server is None and provider in COMPATIBLE_PROVIDERS:
        raise InvalidInput(f"{source}={wanted!r} needs a server. Name it in KAPELLE_BASE_URL.")
    if is_bare or own_server is not None or provider in COMPATIBLE_PROVIDERS | OPENAI_PROVIDERS:
        key = _read_key(environ, "KAPELLE_API_KEY" if own_server else "OPENAI_API_KEY")
        if key is None and server is None:
            raise InvalidInput(f"{source}={wanted!r} needs a key. Set OPENAI_API_KEY.")
        return _Found(model=wanted, source=source, base_url=server, api_key=key)
    if provider in _SERVERS:
        variable, default = _SERVERS[provider]
        return _Found(model=wanted, source=source, base_url=_read_url(environ, variable) or default)
    variables = _KEYS.get(provider, ())
    keys = [key for variable in variables if (key := _read_key(environ, variable)) is not None]
    if variables and not keys:
        raise InvalidInput(f"{source}={wanted!r} needs a key. Set {' or '.join(variables)}.")
    return _Found(model=wanted, source=source, api_key=keys[0] if keys else None)


def _read(environ: Mapping[str, str], variable: str) -> str:
    return environ.get(variable, "").strip()


def _read_timeout_s(environ: Mapping[str, str]) -> float | None:
    text = _read(environ, "KAPELLE_MODEL_TIMEOUT")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    from .pydantic_ai_client import LONGEST_TIMEOUT_S  # see find_model

    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise InvalidInput(
            f"KAPELLE_MODEL_TIMEOUT={text[:40]!r} is no time. Write seconds, more than zero and at most a day: 120."
        )
    return seconds


def _read_limit(environ: Mapping[str, str], variable: str) -> int | None:
    text = _read(environ, variable)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) > 0):
        raise InvalidInput(f"{variable}={text[:40]!r} is no limit. Write a whole number of one or more, such as 500.")
    return int(text)


def _read_key(environ: Mapping[str, str], variable: str) -> str | None:
    key = _read(environ, variable)
    if not key:
        return None
    if not _KEY.fullmatch(key):
        # Never shown: messages end up in logs.
        raise InvalidInput(f"{variable} holds spaces or characters that no key has. Copy it again.")
    return key


def _read_url(environ: Mapping[str, str], variable: str) -> str | None:
    url = _read(environ, variable)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # Names that no resolver takes, such as one with an empty label, would only fail at the first call.
        (parts.hostname or "").encode("idna")
    except ValueError:
        usable = False
    if not usable or not _KEY.fullmatch(url):
        raise InvalidInput(
            f"{variable}={hide_credentials(url)[:200]!r} is no URL. Write one such as http://localhost:8000/v1."
        )
    return url
