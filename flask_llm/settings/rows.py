"""The rows of ``LLM_PROVIDERS``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from flask_llm.errors import ConfigError, nearest
from flask_llm.settings.keys import Keys
from flask_llm.settings.readers import (
    PROTOCOLS,
    choice,
    keys,
    number,
    options,
    read_key,
    strings,
    url,
    verify,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One row of ``LLM_PROVIDERS``; None leaves the built-in value."""

    api_key: Keys | None = field(default=None, metadata={"read": keys})
    base_url: str | None = field(default=None, metadata={"read": url})
    protocol: str | None = field(default=None, metadata={"read": choice(*PROTOCOLS)})
    quirks: Mapping[str, Any] = field(default_factory=dict, metadata={"read": options})
    """How the server differs; the names are those of ``providers.Quirks``."""
    headers: Mapping[str, str] = field(
        default_factory=dict, repr=False, metadata={"read": strings}
    )
    requests_per_minute: int | None = field(default=None, metadata={"read": whole(1)})
    tokens_per_minute: int | None = field(default=None, metadata={"read": whole(1)})
    min_interval: float | None = field(default=None, metadata={"read": number(0)})
    max_concurrent: int | None = field(default=None, metadata={"read": whole(1)})
    timeout: float | None = field(default=None, metadata={"read": number(0.001)})
    proxies: Mapping[str, str] = field(
        default_factory=dict, repr=False, metadata={"read": strings}
    )
    verify: bool | str = field(default=True, metadata={"read": verify})

    @classmethod
    def read(cls, name: str, row: Any) -> Self:
        """Check one row.

        :raises ConfigError: naming the key and the cure.
        """
        where = f"LLM_PROVIDERS[{name!r}]"
        if not isinstance(row, Mapping):
            raise ConfigError(f"{where} is a dict, not {type(row).__name__}.")
        known = {entry.name: entry for entry in fields(cls)}
        values = {}
        for key, value in row.items():
            if key not in known:
                raise ConfigError(
                    f"{where} has an unknown key {key!r}." + nearest(key, known)
                )
            values[key] = read_key(
                f"{where}[{key!r}]", known[key].metadata["read"], value
            )
        return cls(**values)


def providers(value: Any) -> dict[str, ProviderSettings]:
    """Read the rows of ``LLM_PROVIDERS``."""
    if not isinstance(value, Mapping):
        raise ValueError("a dict of provider names to dicts is needed")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
            raise ValueError(
                f"provider name {name!r}: small letters and digits, please"
            )
    return {name: ProviderSettings.read(name, row) for name, row in value.items()}
