"""The keys and passwords that this process knows: found wherever they stand, also encoded or cut.

What only looks like a secret is found by its form: see secrets."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
"""Stands where a secret stood."""
_MIN_KNOWN = 4
"""Characters. What is shorter stands in every text by chance."""
_LONGEST_KNOWN = 10_000
"""Of more than that, the lines are known, as those of a bundle of certificates."""
_MIN_EVERYWHERE = 8
_LONGEST_WORD = 12
"""A value of fewer letters, or digits, and nothing else, may be a word or a number of the user's data."""
_CANNOT_BE_CHANCE = 16
"""So long a value is found inside of other words too."""
_MIN_CUT = 8
"""So many characters of a secret that was cut off are hidden in messages."""
_COMMON = frozenset(
    {"none", "null", "true", "false", "test", "empty", "nokey", "no-key", "dummy", "example", "placeholder", "changeme",
     "change-me", "password", "passwd", "secret", "token", "user", "admin", "root", "postgres", "kapelle", "localhost",
     "default", "disabled", "enabled", "basic", "bearer", "local", "unused", "fake", "not-needed", "ollama", "vllm",
     "lm-studio", "llama.cpp", "openai", "anthropic", "google"}
)  # fmt: skip
"""Written in place of a secret, or known to everybody: hiding these words would hide nothing and spoil much."""
_SECRET_NAME = re.compile(
    r"API_?KEY|ACCESS_?KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|PRIVATE_?KEY|AUTH_?TOKEN|CREDENTIALS?$"
    r"|(?:^|_)(?:TOKEN|KEY|PASS|PAT|AUTH|COOKIE|BEARER|JWT)S?(?:_?\d+)?$|_PWD$",
    re.IGNORECASE,
)

_NO_SECRET_NAME = re.compile(
    r"(?:_(?:FILE|PATH|DIR|NAME|URL|URI|HOST|COUNT|LIMIT|TTL|TIMEOUT|TYPE|HEADER|ENABLED|LENGTH|MIN|MAX|POLICY|SOCK)"
    r"|MAX_TOKENS)$",
    re.IGNORECASE,
)

IS_URL = re.compile(r"['\"]?[A-Za-z][\w+.-]*://")

_IS_CONNECTION = re.compile(r"\s*\w+\s*=")

KEYWORD_PASSWORD = re.compile(
    r"\w{0,40}(?:password|passwd|pwd|secret)\s*=\s*(?:'((?:[^'\\]|\\.)*)'?|(\S+))\s*", re.IGNORECASE
)


def hide_known(text: str) -> str:
    """Return a text of any kind without the secrets that this process knows."""
    known = current()
    return known.hide(text) if known.is_in(text) else text


def hide_known_in(value: Any) -> Any:
    """Return plain values (mappings, lists, texts) with `hide_known` applied to every text in them."""
    return map_texts(value, hide_known) if current().is_any else value


def mentions_known(*texts: str) -> bool:
    """Whether a known secret may stand in one of these texts: a quick look, before anything is taken apart."""
    known = current()
    return known.is_any and any(map(known.is_in, texts))


def is_any_known() -> bool:
    """Whether there is any known secret: where there is none, nothing has to be looked for."""
    return current().is_any


def remember(secret: str | None, *, owner: object) -> None:
    """Take a key or a password for known as long as its owner lives: a client, a ledger."""
    found = tuple(_worth_hiding(secret)) if secret else ()
    if not found:
        return
    with _lock:
        _given.update(found)
        _refresh()
    weakref.finalize(owner, _forget, found).atexit = False


def remember_location(location: str, *, owner: object) -> None:
    """Take the passwords in a URL, or in a libpq connection string, for known as long as the owner lives."""
    for secret in _credentials_in(location):
        remember(secret, owner=owner)


def remember_model(model: object, *, owner: object) -> None:
    """Take the key that a pydantic-ai model was made with for known as long as the owner lives."""
    with suppress(Exception):  # models of other libraries: one without a client may say so in its own way
        key = getattr(getattr(model, "client", None), "api_key", None)
        remember(key if isinstance(key, str) else None, owner=owner)
        remember_location(str(getattr(model, "base_url", None) or ""), owner=owner)


def remember_environment(environ: Mapping[str, str], *, owner: object) -> None:
    """Take the secrets among these variables for known as long as the owner lives; the process's own always are."""
    if environ is not os.environ:
        for secret in _secrets_of(environ):
            remember(secret, owner=owner)


@dataclass(frozen=True, slots=True)
class _Known:
    """The secrets that are known at one time, and how they are found."""

    needles: tuple[str, ...] = ()
    """In all their forms: those that are hidden everywhere."""
    pattern: re.Pattern[str] | None = None
    in_messages: re.Pattern[str] | None = None
    """Finds these and those that are hidden in messages only."""
    long: tuple[str, ...] = ()
    """Long enough to be told by a part, where a message was cut."""

    @property
    def is_any(self) -> bool:
        return bool(self.needles)

    def is_in(self, text: str) -> bool:
        for needle in self.needles:  # noqa: SIM110 - half the time of any(), for every event is asked
            if needle in text:
                return True
        return False

    def hide(self, text: str) -> str:
        return text if self.pattern is None else self.pattern.sub(MASK, text)

    def hide_in_message(self, text: str) -> str:
        if self.in_messages is not None:
            text = self.in_messages.sub(MASK, text)
        for secret in self.long:
            text = _hide_cut(text, secret)
        return text


_lock = threading.RLock()

_given: Counter[str] = Counter()
"""What was handed over by `remember`, and how often."""

_is_stale = False
"""Whether something of it was forgotten since."""
_environment: dict[Any, Any] = {}
"""The process's variables as they were read last."""
_known = _Known()


def current() -> _Known:
    global _environment
    # The mapping behind os.environ: comparing it takes a microsecond, for its values are the same objects, and reading
    # the variables anew thirty times that. Where there is none, they are read anew.
    behind = getattr(os.environ, "_data", None)
    if behind is None or behind != _environment or _is_stale:
        with _lock:
            _environment = dict(behind or {})
            _refresh()
    return _known


def _refresh() -> None:
    global _known
    secrets = set(_given) | {one for found in _secrets_of(os.environ) for one in _worth_hiding(found)}
    everywhere = sorted((one for one in secrets if _is_distinct(one)), key=len, reverse=True)
    words = sorted((one for one in secrets if not _is_distinct(one)), key=len, reverse=True)
    _known = _Known(
        needles=tuple(dict.fromkeys(form for one in everywhere for form in _forms(one))),
        pattern=_alternatives(everywhere),
        in_messages=_alternatives([*everywhere, *words]),
        long=tuple(one for one in everywhere if len(one) >= 2 * _MIN_CUT),
    )


def _forget(secrets: tuple[str, ...]) -> None:
    # Called wherever Python finds an owner gone, in the midst of anything: so it only takes notes.
    global _is_stale
    with _lock:
        _given.subtract(secrets)
        for secret in secrets:
            if _given[secret] <= 0:
                del _given[secret]
        _is_stale = True


def _alternatives(secrets: Iterable[str]) -> re.Pattern[str] | None:
    parts: dict[str, None] = {}
    for secret in secrets:
        for form in _forms(secret):
            word = re.escape(form)
            if len(form) < _CANNOT_BE_CHANCE:
                if form == secret and form[0].isalnum():
                    word = rf"(?<![A-Za-z0-9]){word}"
                if form == secret and form[-1].isalnum():
                    word = rf"{word}(?![A-Za-z0-9])"
            parts[word] = None
    return re.compile("|".join(sorted(parts, key=len, reverse=True))) if parts else None


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as it stands in URLs, in JSON and the like, and in base64."""
    code = secret.encode("utf-8", "surrogatepass")
    import html  # its table of names, for who has a secret

    found = dict.fromkeys(
        [
            secret,
            quote(code, safe=""),
            quote(code, safe="/"),
            quote_plus(code),
            re.sub("%..", lambda sign: sign[0].lower(), quote(code, safe="")),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            json.dumps(json.dumps(secret))[3:-3],
            secret.replace("/", "\\/"),
            repr(secret)[1:-1],
            html.escape(secret),
            html.escape(secret, quote=False),
            " ".join(secret.split()),
        ]
    )
    # Basic authentication encodes "user:password", so the secret begins at any of three places in a group of four.
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + code).decode()
        core = encoded[(0, 2, 3)[before] :].rstrip("=")
        core = core[:-1] if (before + len(code)) % 3 else core
        if len(core) >= _MIN_EVERYWHERE - 1:
            found |= {core: None, core.replace("+", "-").replace("/", "_"): None}
    yield from (form for form in found if len(form) >= _MIN_KNOWN)


def _worth_hiding(value: str) -> Iterator[str]:
    """Yield what of a value is to be hidden: itself, its lines if it has several, its scheme left out."""
    value = re.sub(r"(?i)^(bearer|basic)\s+", "", value.strip().strip("'\"").strip())
    if len(value) < _MIN_KNOWN or value.lower() in _COMMON:
        return
    if len(value) <= _LONGEST_KNOWN:
        yield value
    if "\n" in value or "\\n" in value:
        lines = [line.strip() for line in value.replace("\\n", "\n").splitlines()]
        yield from (line for line in lines if len(line) >= _CANNOT_BE_CHANCE and not line.startswith("-----"))


def _is_distinct(secret: str) -> bool:
    """Whether a value is nothing but this secret wherever it stands, so that it is hidden in data too."""
    mixed = any(map(str.isalpha, secret)) and any(map(str.isdigit, secret))
    if len(secret) < _MIN_EVERYWHERE:
        return len(secret) >= _MIN_EVERYWHERE - 2 and mixed
    plain = (secret.isalpha() and secret[1:].islower()) or secret.replace(".", "").isdigit()
    return not (plain and len(secret) < _LONGEST_WORD)


def _secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if "://" in value:  # one or several of them, and nothing else
            for url in value.split():
                yield from _credentials_in(url) if IS_URL.match(url) else ()
        if "=" in value and _IS_CONNECTION.match(value):
            yield from _credentials_in(value)
        if name.upper() in ("PWD", "OLDPWD") or _NO_SECRET_NAME.search(name) or not _SECRET_NAME.search(name):
            continue
        if value.startswith(("/", "~", ".")) and os.path.exists(os.path.expanduser(value)):
            continue  # the place of a key
        if value.lstrip().startswith("{"):
            yield from _secrets_in_json(value)
        elif "://" not in value:
            yield value


def _secrets_in_json(text: str) -> Iterator[str]:
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        for name, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, str) and _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name):
                yield value


def _credentials_in(location: str) -> Iterator[str]:
    """Yield the passwords in a URL or a connection string of a database, as they are written and as they are meant."""
    _, is_url, rest = location.partition("://")
    if is_url and "@" in rest:
        user, colon, password = rest.rpartition("@")[0].partition(":")
        # Up to the last @: somebody may have forgotten to write it as %40.
        secret = password if colon else user if location.lower().startswith("http") else ""
        secret = "" if re.match(r"\d{1,5}/", secret) else secret  # a port, and a path with an @ in it
        yield from (secret, unquote(secret))
    for found in re.finditer(r"(?i)[?&][\w.-]*(?:key|token|secret|password|sig|signature|auth)=([^&#\s]+)", location):
        yield from (found[1], unquote(found[1]))
    for found in KEYWORD_PASSWORD.finditer(location):
        yield re.sub(r"\\(.)", r"\1", found[1] or found[2] or "")


def _hide_cut(text: str, secret: str) -> str:
    """Hide the beginning of a secret whose end was cut off, and the end of one whose beginning was."""
    part = max(_MIN_CUT, len(secret) // 4)
    head, tail = secret[:part], secret[-part:]
    if not (head.isalpha() and head.islower()) and head in text:
        text = _hide_from(text, head, secret)
    if not (tail.isalpha() and tail.islower()) and tail in text:
        text = _hide_from(text[::-1], tail[::-1], secret[::-1])[::-1]
    return text


def _hide_from(text: str, head: str, secret: str) -> str:
    pieces, start = [], 0
    while (at := text.find(head, start)) >= 0:
        end = at + len(head)
        while end < len(text) and end - at < len(secret) and text[end] == secret[end - at]:
            end += 1
        pieces += [text[start:at], MASK]
        start = end
    return "".join([*pieces, text[start:]])


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {map_texts(name, change): map_texts(item, change) for name, item in value.items()}
    if isinstance(value, tuple) and type(value) is not tuple:
        return value  # a named tuple; no plain value
    if isinstance(value, (list, tuple)):
        return type(value)(map_texts(item, change) for item in value)
    return value
