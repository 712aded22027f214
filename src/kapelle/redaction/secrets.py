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

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from .known import IS_URL, KEYWORD_PASSWORD, MASK, current, map_texts
from .tracebacks import format_traceback

_PROVIDERS = frozenset(
    {"local", "ollama", "vllm", "lm-studio", "lmstudio", "llama.cpp", "openai", "openai-chat", "openai-responses",
     "openai-compatible", "azure", "anthropic", "google", "google-gla", "google-vertex", "vertex", "gemini", "groq",
     "mistral", "cohere", "bedrock", "deepseek", "xai", "grok", "openrouter", "together", "fireworks", "huggingface",
     "litellm", "cerebras", "moonshotai"}
)  # fmt: skip
"""Where models come from, in the names of models."""

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
# Of what is a location as a whole, everything before the last @ are credentials, however it is written.
_CREDENTIALS = re.compile(r"\A(\s*+['\"]?\s*+(?:[A-Za-z][\w+.-]*:)?[/\\]{1,2}|)(.*)@", re.DOTALL)
_ANY_CREDENTIALS = re.compile(r"(?<![^\s:@/\\])[^\s:@/\\]*+:[^\s@]{0,500}+@")
_QUERY_PASSWORD = re.compile(r"([?&][a-z_]*(?:password|secret|key)=)[^&]*", re.IGNORECASE)


def hide_secrets(text: str) -> str:
    """Return a message (an error, a reason, a URL, a setting, a line of a log) without what is or looks like a secret.

    >>> hide_secrets("401: no such key: sk-proj-1234567890, sent as Authorization: Bearer abcdef")
    '401: no such key: ***, sent as Authorization: Bearer ***'
    """
    if not text:
        return text
    text = current().hide_in_message(text)
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


def hide_secrets_in(value: Any) -> Any:
    """Return plain values with `hide_secrets` applied to every text in them."""
    return map_texts(value, hide_secrets)


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
    if not IS_URL.match(location.lstrip()):
        return hide_secrets(hide_keyword_passwords(location)).strip()
    # Up to the last @: a password in which somebody forgot to write @ or / as %40 or %2F is hidden all the same.
    url = _QUERY_PASSWORD.sub(rf"\1{MASK}", location)
    return _CREDENTIALS.sub(lambda found: f"{found[1]}{found[2].partition(':')[0]}@", url)


def hide_keyword_passwords(text: str) -> str:
    """Return a connection string without its `password=...` and the like."""
    return KEYWORD_PASSWORD.sub("", text)


def holds_credentials(location: str) -> bool:
    """Whether a password may stand in a location of any kind: `user:password@`, or `password=...`."""
    return (_ANY_CREDENTIALS.search(location) or KEYWORD_PASSWORD.search(location)) is not None


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
