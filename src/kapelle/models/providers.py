"""Builds pydantic-ai's model for a name: which provider, which of its APIs, and what the server is known to accept.

Reads no environment for endpoints, so that what is asked is what the name and the base URL say. Only a provider's key
is left to the provider's own library, where neither key nor base URL is given: a key never goes to another server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kapelle.errors import InvalidInput

from .prices import is_local_url

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers import Provider

COMPATIBLE_PROVIDERS = frozenset({"local", "openai-compatible"})
"""Our words for "some server that speaks the OpenAI protocol": on the user's own network, and elsewhere."""

OPENAI_PROVIDERS = frozenset({"openai", "openai-chat", "openai-responses"})

_OPENAI_URL = "https://api.openai.com/v1"

_EXTRAS = frozenset({"anthropic", "google"})
"""Providers that are an extra of kapelle; the others are extras of pydantic-ai."""

# Many servers refuse an empty key, and those on one's own machine ask for none.
_NO_KEY = "no-key"


def build_model(model: str, *, base_url: str | None = None, api_key: str | None = None) -> Model[Any]:
    """Return pydantic-ai's model for `provider:name`. Opens no connection.

    OpenAI itself is asked through its Responses API, and every other server that speaks its protocol through Chat
    Completions, which is what they all have in common; `openai-chat:` and `openai-responses:` choose one.

    Raises:
        InvalidInput: the provider is unknown, its library is not installed, its key is missing, or it takes no base
            URL. The message gives the way out.
    """
    provider, _, name = model.partition(":")
    if not provider or not name:
        raise InvalidInput(f"{model!r} is no model. Write provider:name, such as openai:gpt-6-luna.")
    try:
        if provider in COMPATIBLE_PROVIDERS:
            return _build_compatible(provider, name, base_url, api_key)
        if provider in OPENAI_PROVIDERS:
            return _build_openai(provider, name, base_url, api_key)
        return _build_other(model, provider, base_url, api_key)
    except ImportError as error:
        package = f"kapelle[{provider}]" if provider in _EXTRAS else f"pydantic-ai-slim[{provider}]"
        raise InvalidInput(
            f"The model {model!r} needs a package that is not installed. Run: pip install '{package}'"
        ) from error


def is_known_provider(provider: str) -> bool:
    """Whether this is a provider's name, rather than the first part of a name such as `llama3:8b`."""
    from pydantic_ai.providers import infer_provider_class

    if provider in COMPATIBLE_PROVIDERS:
        return True
    try:
        infer_provider_class(provider)
    except ImportError:
        return True  # known, and not installed
    except ValueError:
        return False
    return True


def _build_compatible(provider: str, name: str, base_url: str | None, api_key: str | None) -> Model[Any]:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    if base_url is None:
        raise InvalidInput(f"The model '{provider}:{name}' needs a server. Name it in KAPELLE_BASE_URL.")
    server = OpenAICompatibleProvider(provider, base_url=base_url, api_key=api_key or _NO_KEY)
    return OpenAIChatModel(name, provider=server, profile=_compatible_profile(local=is_local_url(base_url)))


def _build_openai(provider: str, name: str, base_url: str | None, api_key: str | None) -> Model[Any]:
    from openai import OpenAIError
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    try:
        if base_url is None:
            server = OpenAIProvider(base_url=_OPENAI_URL, api_key=api_key or _read_openai_key())
        else:
            server = OpenAIProvider(base_url=base_url, api_key=api_key or _NO_KEY)
    except (UserError, OpenAIError) as error:
        raise _missing_key(f"{provider}:{name}", error) from error
    if provider == "openai-responses" or (provider == "openai" and base_url is None):
        return OpenAIResponsesModel(name, provider=server)
    if base_url is not None and is_local_url(base_url):
        return OpenAIChatModel(name, provider=server, profile=_compatible_profile(local=True))
    return OpenAIChatModel(name, provider=server, profile=_foreign_profile())


def _read_openai_key() -> str:
    # OpenAIProvider would take a missing key for a keyless server once it is given a base URL, and ours always is.
    import os

    from pydantic_ai.exceptions import UserError

    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise UserError("OPENAI_API_KEY is not set")
    return key


def _build_other(model: str, provider: str, base_url: str | None, api_key: str | None) -> Model[Any]:
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.models import infer_model
    from pydantic_ai.providers import infer_provider_class

    try:
        provider_class = infer_provider_class(provider)
    except ValueError as error:
        raise InvalidInput(
            f"The model {model!r} names the provider {provider!r}, which is unknown. "
            "Use one such as openai, anthropic, google or ollama, or name an OpenAI-compatible server "
            "in KAPELLE_BASE_URL."
        ) from error
    given = {"base_url": base_url, "api_key": api_key}

    def make_provider(_: str) -> Provider[Any]:
        return provider_class(**{name: value for name, value in given.items() if value is not None})

    try:
        return infer_model(model, provider_factory=make_provider)
    except UserError as error:
        raise _missing_key(model, error) from error
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The model {model!r} cannot be set up: {error}") from error


def _missing_key(model: str, error: Exception) -> InvalidInput:
    first_sentence = str(error).split(". ")[0]
    return InvalidInput(f"The model {model!r} cannot be set up: {first_sentence}.")


def _compatible_profile(*, local: bool) -> OpenAIModelProfile:
    profile: OpenAIModelProfile = {
        **_foreign_profile(),
        # vLLM, Ollama and many gateways refuse `strict` in tools and schemas.
        "openai_supports_strict_tool_definition": False,
        # The older name of the limit is the one that they all read. One that is not read bounds no cost.
        "openai_chat_supports_max_completion_tokens": False,
    }
    if local:
        profile |= {
            "supports_json_schema_output": True,
            "supports_json_object_output": True,
            # Guided decoding only masks tokens: the model sees the schema where it is in the prompt as well.
            "native_output_requires_schema_in_instructions": True,
            # Chat templates of some local models take one system message, at the beginning.
            "openai_chat_supports_multiple_system_messages": False,
        }
    return profile


def _foreign_profile() -> OpenAIModelProfile:
    return {
        # Without this a stream that breaks off reads as a whole reply.
        "openai_chat_streaming_requires_finish_reason": True,
        # OpenAI's own; others refuse it, or do not read it.
        "openai_chat_supports_allowed_tools": False,
    }


def read_profile(model: Model[Any]) -> Mapping[str, Any]:
    """Return what is known about a model; empty for one that is put together from several."""
    try:
        return model.profile
    except NotImplementedError:
        return {}
