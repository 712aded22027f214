r"""Keeps keys and passwords out of everything that kapelle writes, prints, logs or raises.

Two rules, because data and messages are not alike:

- **A secret that this process knows is hidden everywhere**, in the outputs of agents too: a key in an output is a leak.
  Known are the values of environment variables whose names say so (`*_API_KEY`, `*_TOKEN`, `*_SECRET`, `*PASSWORD*`),
  passwords in URLs in any variable, and what was handed to a client or a ledger, while it lives. They are found as they
  are, percent-encoded, in base64 (Basic authentication), and escaped for JSON, Python or HTML.
- **What only looks like a secret is hidden in messages alone**: errors and reasons, URLs, settings, logs. In data it
  stays, for a text about `password=...` is not ours to change.

A known value that might as well be a word or a number (`mountain`, `12345`) counts as known in messages only, and one
that everybody knows (`postgres`, `none`), or of fewer than four characters, not at all.

The edges, where this is called: errors when they are made (`kapelle.errors`), what providers say (`models.failures`),
what the ledger takes in (`ledger.kept`), what is printed (`ledger.printable`, `cli`), and loggers (`get_logger`).

Not covered: a secret in pieces, encoded otherwise, or in the name of a file that a user asked for; and what agents
write to files and services themselves.
"""

from __future__ import annotations

import base64
import html
import json
import logging
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

from .tracebacks import format_traceback

MASK = "***"
"""Stands where a secret stood."""

_LEAST_KNOWN = 4
"""Characters. What is shorter stands in every text by chance."""
_LONGEST_KNOWN = 10_000
"""Of more than that, the lines are known, as those of a bundle of certificates."""
_LEAST_EVERYWHERE = 8
_LONGEST_WORD = 12
"""A value of fewer letters, or digits, and nothing else, may be a word or a number of the user's data."""
_CANNOT_BE_CHANCE = 16
"""So long a value is found inside of other words too."""
_LEAST_CUT = 8
"""So many characters of a secret that was cut off are hidden in messages."""

_PROVIDERS = frozenset(
    {"local", "ollama", "vllm", "lm-studio", "lmstudio", "llama.cpp", "openai", "openai-chat", "openai-responses",
     "openai-compatible", "azure", "anthropic", "google", "google-gla", "google-vertex", "vertex", "gemini", "groq",
     "mistral", "cohere", "bedrock", "deepseek", "xai", "grok", "openrouter", "together", "fireworks", "huggingface",
     "litellm", "cerebras", "moonshotai"}
)  # fmt: skip
"""Where models come from, in the names of models."""
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

# Every pattern here takes time linear in the text: what repeats is bounded, or ends at the first sign it cannot take.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_QUOTE = r"\\{0,6}['\"]"
_OPENING = re.compile(_QUOTE)
_HEADER = re.compile(
    r"((?:proxy-)?authorization|x-[a-z0-9-]{0,40}(?:key|token|auth|secret|password)|\bapi-key)"
    rf"((?:{_QUOTE})?\s{{0,8}}[:=]\s{{0,8}}(?:b?{_QUOTE})?|{_QUOTE}\s{{0,8}},\s{{0,8}}b?{_QUOTE})"
    r"((?:bearer|basic|token|apikey|negotiate)\s{1,8})?"
    r"(?:(?:digest|aws4-hmac-sha256)\s[^\r\n'\"]*|[^\s'\"\\,;}\])<]+)",
    re.IGNORECASE,
)
_COOKIE = re.compile(
    rf"\b((?:set-)?cookie)((?:{_QUOTE})?\s{{0,8}}:\s{{0,8}}(?:b?{_QUOTE})?|{_QUOTE}\s{{0,8}},\s{{0,8}}b?{_QUOTE})"
    r"[^\r\n'\"]+",
    re.IGNORECASE,
)
_SCHEME = re.compile(
    # A lone word after it is prose: "Basic authentication", "bearer token".
    r"\b((?i:bearer|basic))(\s{1,8}|%20|\+)(?![A-Za-z]?[a-z]{1,20}(?:[.,;:]?(?:\s|$)|[^A-Za-z0-9._~+/=-]))[A-Za-z0-9._~+/=*-]{6,}"
)
_TOKEN = re.compile(
    # sk-learn is how scikit-learn is spelt for short.
    r"(?<![A-Za-z0-9])(?:sk-(?!learn)[A-Za-z0-9_*-]{6,}|[spr]k_(?:live|test)_[A-Za-z0-9]{6,}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}|gh[pousr]_[A-Za-z0-9]{8,}|github_pat_[A-Za-z0-9_]{8,}"
    r"|glpat-[A-Za-z0-9_-]{8,}|xox[a-z]-[A-Za-z0-9-]{6,}|xapp-[A-Za-z0-9-]{6,}|AIza[A-Za-z0-9_-]{8,}"
    r"|ya29\.[A-Za-z0-9_.-]{8,}|(?:hf|gsk|npm|tgp_v1|r8)_[A-Za-z0-9_]{12,}|(?:xai|nvapi|pplx)-[A-Za-z0-9_-]{12,})"
    r"|(?<![A-Za-z0-9_.-])(?:eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"
    r"|SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})"
)
_USER_INFO = re.compile(
    # A password with / or @ in it ends at the last @, unless what follows the colon is a port. In paths one / stands
    # for two; our own messages say USER:PASSWORD.
    r"(:/{1,2})(?!USER:PASSWORD@)[^\s/?#@'\"<>:]{0,200}:(?!\d{1,5}(?:[/?#\s'\"]|$))[^\s'\"<>]{0,500}@"
)
_WEB_USER = re.compile(
    # Web addresses take a token in place of the user; in a database's, a user alone is no secret.
    r"((?:https?|ftp|wss?|git):/{1,2})[^\s/?#@'\"<>:]{1,500}@",
    re.IGNORECASE,
)
_BARE_USER_INFO = re.compile(
    # A date after the @ is a model's version, as providers write it: claude-3@20240229.
    r"(?<![\w/.@:%+-])([\w.+%-]{1,64}):[^\s@/'\"<>:,;(){}]{1,200}@(?=[\w\[])(?!20\d{6}(?![\w.:/-]))(https?:/)?",
    re.IGNORECASE,
)
_VALUE = r"(?:'(?:[^'\\]|\\.){0,2000}'?|\"(?:[^\"\\]|\\.){0,2000}\"?|\\{1,6}['\"][^'\"\\]{0,2000}|[^\s'\"&,;)}\]\\<]+)"
_NAMED = re.compile(
    r"(password|passwd|passphrase|\bpwd|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?key|private[_-]?key"
    r"|client[_-]?secret|(?:access|refresh|id|auth|session|security)[_-]?token|(?<![a-z])secret)"
    rf"((?:{_QUOTE})?\s{{0,8}}(?:=>|[:=])\s{{0,8}}(?:b(?=['\"]))?){_VALUE}",
    re.IGNORECASE,
)
_IN_QUERY = re.compile(
    r"([?&;](?:[\w.-]{1,40}[_.-])?(?:key|token|auth|authorization|sig|signature|credential|secret|code|pass)=)"
    r"[^\s&'\"<>]+",
    re.IGNORECASE,
)
_IN_JSON = re.compile(
    rf"({_QUOTE}(?:token|key|auth|credential|signature|jwt|bearer){_QUOTE}\s{{0,8}}:\s{{0,8}}){_VALUE}", re.IGNORECASE
)
_TOLD = re.compile(
    # "Incorrect API key provided: abc123"; one word in small letters is prose.
    r"((?i:api[ _-]?key|token|password|secret|credential)s?(?: \w{1,12}){0,3}: {1,8}['\"(]?)"
    r"(?![a-z]{1,20}(?![\w./+-]))[^\s'\",;)]{6,}"
)
_NAMING = ("auth", "key", "pass", "pwd", "secret", "token", "cookie", "credential", "sig", "code", "jwt", "bearer")
"""A text without any of these words, as most are, is not searched for what they name."""
_IS_URL = re.compile(r"['\"]?[A-Za-z][\w+.-]*://")
_IS_CONNECTION = re.compile(r"\s*\w+\s*=")
# Of what is a location as a whole, everything before the last @ are credentials, however it is written.
_CREDENTIALS = re.compile(r"\A(\s*+['\"]?\s*+(?:[A-Za-z][\w+.-]*:)?[/\\]{1,2}|)(.*)@", re.DOTALL)
_ANY_CREDENTIALS = re.compile(r"(?<![^\s:@/\\])[^\s:@/\\]*+:[^\s@]{0,500}+@")
_KEYWORD_PASSWORD = re.compile(
    r"\w{0,40}(?:password|passwd|pwd|secret)\s*=\s*(?:'((?:[^'\\]|\\.)*)'?|(\S+))\s*", re.IGNORECASE
)
_QUERY_PASSWORD = re.compile(r"([?&][a-z_]*(?:password|secret|key)=)[^&]*", re.IGNORECASE)


def hide_known(text: str) -> str:
    """Return a text of any kind without the secrets that this process knows."""
    known = _current()
    return known.hide(text) if known.is_in(text) else text


def hide_secrets(text: str) -> str:
    """Return a message (an error, a reason, a URL, a setting, a line of a log) without what is or looks like a secret.

    >>> hide_secrets("401: no such key: sk-proj-1234567890, sent as Authorization: Bearer abcdef")
    '401: no such key: ***, sent as Authorization: Bearer ***'
    """
    if not text:
        return text
    text = _current().hide_in_message(text)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "@" in text:
        text = _WEB_USER.sub(rf"\1{MASK}@", _USER_INFO.sub(rf"\1{MASK}@", text))
        text = _BARE_USER_INFO.sub(_mask_user, text)
    lower = text.lower()
    if any(word in lower for word in _NAMING):
        text = _COOKIE.sub(rf"\1\2{MASK}", _HEADER.sub(_mask_header, text))
        text = _IN_JSON.sub(_mask_value, _NAMED.sub(_mask_value, text))
        text = _TOLD.sub(rf"\1{MASK}", _IN_QUERY.sub(rf"\1{MASK}", text))
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME.sub(rf"\1\2{MASK}", text)
    return _TOKEN.sub(MASK, text)


def hide_known_in(value: Any) -> Any:
    """Return plain values (mappings, lists, texts) with `hide_known` applied to every text in them."""
    return _map_texts(value, hide_known) if _current().is_any else value


def hide_secrets_in(value: Any) -> Any:
    """Return plain values with `hide_secrets` applied to every text in them."""
    return _map_texts(value, hide_secrets)


def mentions_known(*texts: str) -> bool:
    """Whether a known secret may stand in one of these texts: a quick look, before anything is taken apart."""
    known = _current()
    return known.is_any and known.is_in("\n".join(texts))


def hide_credentials(url: str) -> str:
    """Return a server's URL as it may be shown: no user, no password, no query; whether or not it is well formed.

    >>> hide_credentials("http://ann:s3cret@db.example/v1?key=1")
    'http://db.example/v1'
    """
    shown = url.partition("?")[0] if "@" not in url.partition("?")[2] else url
    shown = _CREDENTIALS.sub(lambda found: found[1], shown)
    return hide_secrets(shown.partition("?")[0].partition("#")[0])


def hide_password(location: str) -> str:
    """Return the location of a database's server as it may be shown: without a password, and good for another command.

    >>> hide_password("postgresql://ann:secret@db.example/work")
    'postgresql://ann@db.example/work'
    >>> hide_password("host=db.example user=ann password='se cret'")
    'host=db.example user=ann'
    """
    if not _IS_URL.match(location.lstrip()):
        return hide_secrets(hide_keyword_passwords(location)).strip()
    # Up to the last @: a password in which somebody forgot to write @ or / as %40 or %2F is hidden all the same.
    url = _QUERY_PASSWORD.sub(rf"\1{MASK}", location)
    return _CREDENTIALS.sub(lambda found: f"{found[1]}{found[2].partition(':')[0]}@", url)


def hide_keyword_passwords(text: str) -> str:
    """Return a connection string without its `password=...` and the like."""
    return _KEYWORD_PASSWORD.sub("", text)


def holds_credentials(location: str) -> bool:
    """Whether a password may stand in a location of any kind: `user:password@`, or `password=...`."""
    return (_ANY_CREDENTIALS.search(location) or _KEYWORD_PASSWORD.search(location)) is not None


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


def scrub(error: BaseException) -> None:
    """Hide secrets in an error of another library, and in those that it came from: a traceback prints them all.

    What an error says after that must be clean; one that puts its text together in its own way loses its causes' place
    in the traceback, not its own.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        for name in ("__cause__", "__context__"):
            under = getattr(one, name)
            if under is not None and not _scrub_one(under):
                standing_in = Exception(f"{type(under).__name__}: {hide_secrets(_say(under))}")
                setattr(one, name, standing_in.with_traceback(under.__traceback__))
            waiting.append(getattr(one, name))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        _scrub_one(one)


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module of kapelle's: its records, tracebacks too, hold no secret whoever handles them."""
    logger = logging.getLogger(name)
    if not any(isinstance(one, _HideInRecords) for one in logger.filters):
        logger.addFilter(_HideInRecords())
    return logger


class _HideInRecords(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(Exception):  # what cannot be put together is for logging itself to complain of
            said = record.getMessage()
            if (hidden := hide_secrets(said)) != said:
                record.msg, record.args = hidden, ()
        if record.exc_info and record.exc_info[1] is not None:
            told = format_traceback(record.exc_info[1]).rstrip("\n")
            if (hidden := hide_secrets(told)) != told:
                record.exc_text, record.exc_info = hidden, None
        return True


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


def _current() -> _Known:
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
        long=tuple(one for one in everywhere if len(one) >= 2 * _LEAST_CUT),
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
        if len(core) >= _LEAST_EVERYWHERE - 1:
            found |= {core: None, core.replace("+", "-").replace("/", "_"): None}
    yield from (form for form in found if len(form) >= _LEAST_KNOWN)


def _worth_hiding(value: str) -> Iterator[str]:
    """Yield what of a value is to be hidden: itself, its lines if it has several, its scheme left out."""
    value = re.sub(r"(?i)^(bearer|basic)\s+", "", value.strip().strip("'\"").strip())
    if len(value) < _LEAST_KNOWN or value.lower() in _COMMON:
        return
    if len(value) <= _LONGEST_KNOWN:
        yield value
    if "\n" in value or "\\n" in value:
        lines = [line.strip() for line in value.replace("\\n", "\n").splitlines()]
        yield from (line for line in lines if len(line) >= _CANNOT_BE_CHANCE and not line.startswith("-----"))


def _is_distinct(secret: str) -> bool:
    """Whether a value is nothing but this secret wherever it stands, so that it is hidden in data too."""
    mixed = any(map(str.isalpha, secret)) and any(map(str.isdigit, secret))
    if len(secret) < _LEAST_EVERYWHERE:
        return len(secret) >= _LEAST_EVERYWHERE - 2 and mixed
    plain = (secret.isalpha() and secret[1:].islower()) or secret.replace(".", "").isdigit()
    return not (plain and len(secret) < _LONGEST_WORD)


def _secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if "://" in value:  # one or several of them, and nothing else
            for url in value.split():
                yield from _credentials_in(url) if _IS_URL.match(url) else ()
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
    for found in _KEYWORD_PASSWORD.finditer(location):
        yield re.sub(r"\\(.)", r"\1", found[1] or found[2] or "")


def _hide_cut(text: str, secret: str) -> str:
    """Hide the beginning of a secret whose end was cut off, and the end of one whose beginning was."""
    part = max(_LEAST_CUT, len(secret) // 4)
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


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map_texts(name, change): _map_texts(item, change) for name, item in value.items()}
    if isinstance(value, tuple) and type(value) is not tuple:
        return value  # a named tuple; no plain value
    if isinstance(value, (list, tuple)):
        return type(value)(_map_texts(item, change) for item in value)
    return value


def _mask_user(found: re.Match[str]) -> str:
    server = found[2] or ""
    if server and found[1].lower() in _PROVIDERS:  # provider:model@URL, somebody's wrong way to name a model's server
        return found[0]
    return f"{MASK}@{server}"


def _mask_header(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{found[3] or ''}{MASK}"


def _mask_value(found: re.Match[str]) -> str:
    """Mask a value and keep its quotes, so that what is left reads as before."""
    before = "".join(filter(None, found.groups()))
    value = found[0][len(before) :]
    quoted = _OPENING.match(value)
    if quoted is None:
        return before + MASK
    is_closed = len(value) > 1 and value[0] in "'\"" and value.endswith(value[0])
    return before + quoted[0] + MASK + (value[0] if is_closed else "")


def _scrub_one(error: BaseException) -> bool:
    """Hide secrets in what an error holds, and return whether what it says is clean now."""
    said = _say(error)
    if hide_secrets(said) == said:
        return True
    with suppress(Exception):  # classes of other libraries may forbid this
        error.args = tuple(hide_secrets_in(item) for item in error.args)
    for name, value in list(getattr(error, "__dict__", {}).items()):
        if isinstance(value, (str, Mapping, list, tuple)):
            with suppress(Exception):
                setattr(error, name, hide_secrets_in(value))
    said = _say(error)
    return hide_secrets(said) == said


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""
