"""One provider: where it lives, how it is asked, what it does its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask_llm.errors import ConfigError
from flask_llm.settings import Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How a server that speaks Chat Completions differs from OpenAI's own.

    The defaults are those of most compatible servers: they take less than OpenAI does.
    """

    max_tokens: str = "max_tokens"
    """What the cap on output tokens is called."""
    developer_role: bool = False
    """Whether reasoning models take the system text as ``developer``."""
    strict: bool = False
    """Whether a tool's ``strict`` is understood."""
    parallel_tool_calls: bool = True
    """Whether ``parallel_tool_calls`` is understood."""
    stream_usage: bool = True
    """Whether ``stream_options.include_usage`` is understood and needed."""
    required: str = "required"
    """The word that makes the model call some tool."""
    seed: str = "seed"
    """What the seed is called."""
    short_tool_ids: bool = False
    """Whether tool call ids are nine letters and digits (Mistral)."""
    obfuscation: bool = False
    """Whether streams are padded unless asked not to be."""
    echo: tuple[str, ...] = ()
    """Fields of an assistant message that the server wants back with its tool calls."""
    loose_arguments: bool = False
    """Whether arguments of a tool that are no JSON may go back as the model wrote
    them; where they may not, the server reads them again."""
    counts_tokens: bool = False
    """Whether there is an endpoint that counts tokens, in the words of Responses."""
    prompt_cache: bool = False
    """Whether ``prompt_cache_key`` and ``prompt_cache_options`` are understood."""
    dimensions: str = "dimensions"
    """What the length of an embedding is called."""
    embed_base64: bool = False
    """Whether embeddings come in base64 where they are asked for so."""
    embed_texts: int = 100
    """Texts that one request for embeddings may hold."""
    embed_tokens: int | None = None
    """Tokens of all of them, where there is a cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, ready to be called."""

    name: str
    protocol: str = "chat_completions"
    mixed: bool = False
    """Whether it is OpenAI itself, some of whose models need ``responses`` instead."""
    base_url: str
    auth: str = "bearer"
    """``bearer``, or the name of the header that carries the bare key."""
    key_names: tuple[str, ...] = ()
    """Variables that may hold the key, the first one found wins."""
    url_names: tuple[str, ...] = ()
    """Variables that may hold the base URL."""
    needs_key: bool = True
    keys: Keys | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    quirks: Quirks = Quirks()
    min_interval: float = 0.1
    max_concurrent: int = 5
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True

    @property
    def host(self) -> str:
        """The host that the key belongs to."""
        return urlsplit(self.base_url).hostname or ""

    def check_ready(self) -> None:
        """See that there is an address and, where one is needed, a key.

        :raises ConfigError: naming the variable that is missing.
        """
        row = f"LLM_PROVIDERS[{self.name!r}]"
        if not self.base_url:
            names = " or ".join(self.url_names)
            raise ConfigError(
                f"{self.name} has no address: set {names} in the environment, "
                f"or {row}['base_url']."
            )
        if self.needs_key and self.keys is None:
            names = " or ".join(self.key_names)
            raise ConfigError(
                f"{self.name} has no key: set {names} in the environment, "
                f"or {row}['api_key'].",
                code="missing_key",
            )
