"""One provider: where it lives, how it is asked, what it does its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask_llm.errors import ConfigError
from flask_llm.providers.quirks import Quirks
from flask_llm.settings import Keys


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
