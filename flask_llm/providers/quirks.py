"""How servers that speak Chat Completions differ from each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from flask_llm.errors import ConfigError, nearest
from flask_llm.settings.readers import Read, boolean, read_key, text, whole

ECHOED = ("reasoning_content", "reasoning_details")
"""Fields of an assistant message that are kept, for servers that want them back."""


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string is needed, which may be empty")
    return value


def _echo(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, (list, tuple)) else [value]
    if not all(name in ECHOED for name in names):
        raise ValueError(f"a list is needed, of {' and '.join(ECHOED)}")
    return tuple(names)


_READERS: dict[str, Read] = {"required": _word, "echo": _echo, "embed_tokens": whole(1)}
_BY_TYPE: dict[type, Read] = {bool: boolean, int: whole(1), str: text}


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
    json_schema: bool = True
    """Whether an answer can be held to a schema, and not only to JSON."""
    parallel_tool_calls: bool = True
    """Whether ``parallel_tool_calls`` is understood."""
    stream_usage: bool = True
    """Whether ``stream_options.include_usage`` is understood and needed."""
    required: str = "required"
    """The word that makes the model call some tool; empty where there is none."""
    seed: str = "seed"
    """What the seed is called."""
    image_urls: bool = True
    """Whether the server fetches images that are given by their URL."""
    short_tool_ids: bool = False
    """Whether tool call ids are nine letters and digits (Mistral)."""
    obfuscation: bool = False
    """Whether streams are padded unless asked not to be."""
    echo: tuple[str, ...] = ()
    """Fields of an assistant message that the server wants back: ``reasoning_content``
    or ``reasoning_details``."""
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

    def changed(self, changes: Mapping[str, Any], where: str) -> Self:
        """Return the quirks with some of them as a row of settings says.

        :param where: the key of the settings, for messages.
        :raises ConfigError: naming the quirk and the cure.
        """
        known = {entry.name: entry.default for entry in fields(self)}
        values = {}
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(
                    f"{where} has an unknown quirk {name!r}." + nearest(name, known)
                )
            read = _READERS.get(name) or _BY_TYPE[type(known[name])]
            values[name] = read_key(f"{where}[{name!r}]", read, value)
        return replace(self, **values)
