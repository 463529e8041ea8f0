"""Which models the page offers: those of the providers that can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
}
SERVERS = {"ollama": "OLLAMA_BASE_URL", "openai": "OPENAI_BASE_URL"}
"""Servers with models of their own, which they are asked for."""

MODELS = {
    "openai": ("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-astra"),
    "anthropic": ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"),
    "google": ("gemini-3.1-flash-lite", "gemini-3.8-flash", "gemini-4-argon"),
}
"""The cheapest first."""

FAULTS = {
    "openai/slow-3": "three seconds of silence",
    "openai/cut-20": "an answer that breaks off",
    "openai/fault-429-300": "too many requests",
    "openai/quota": "no credit left",
    "openai/think": "reasoning, at an unknown price",
}
"""Names that the emulator acts upon."""

PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the model picker."""

    model: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the environment allows to be asked."""

    hosted: tuple[str, ...] = ()
    """Providers with a key."""
    servers: Mapping[str, str]
    """Base URLs of servers with models of their own."""
    keys: Mapping[str, str]
    """What the servers take as a key."""
    wish: str | None = None
    """The model that the settings name."""

    @classmethod
    def read(cls, environ: Mapping[str, str], wish: str | None = None) -> Offer:
        """Look for keys and addresses.

        :param wish: a model that is offered first, whatever else there is.
        """
        found = {
            name: next(filter(None, (environ.get(key) for key in keys)), "")
            for name, keys in KEYS.items()
        }
        servers = {
            name: environ[variable].rstrip("/")
            for name, variable in SERVERS.items()
            if environ.get(variable)
        }
        return cls(
            hosted=tuple(name for name in found if found[name] and name not in servers),
            servers=servers,
            keys={name: found.get(name) or "none" for name in servers},
            wish=wish,
        )

    @property
    def emulated(self) -> bool:
        """Whether there is nobody real to ask."""
        return not (self.hosted or self.servers or self.wish)

    @property
    def default(self) -> str:
        """The model that is asked where none is chosen."""
        if self.wish:
            return self.wish
        if self.servers and not self.hosted:
            return f"{next(iter(self.servers))}/default"
        name = self.hosted[0] if self.hosted else "openai"
        return f"{name}/{MODELS[name][0]}"

    def rows(self, emulator_url: str) -> dict[str, dict[str, Any]]:
        """Return ``LLM_PROVIDERS``, as far as the environment does not say it all."""
        if not self.emulated:
            # Servers of one's own ask for no key, the provider "openai" does.
            return {name: {"api_key": key} for name, key in self.keys.items()}
        versions = {"openai": "/v1"}
        return {
            name: {
                "api_key": "emulator",
                "base_url": emulator_url + versions.get(name, ""),
            }
            for name in KEYS
        }

    def includes(self, model: str) -> bool:
        """Tell whether a browser may choose this model."""
        name, _, rest = model.partition("/")
        known = rest in MODELS.get(name, ()) and (name in self.hosted or self.emulated)
        fault = self.emulated and model in FAULTS
        return known or fault or name in self.servers or model == self.wish

    def choices(self) -> dict[str, list[Choice]]:
        """List the models by provider, for the picker; asks the servers for theirs."""
        names = tuple(KEYS) if self.emulated else self.hosted
        found = {name: [f"{name}/{m}" for m in MODELS[name]] for name in names}
        found |= {name: self._served(name) for name in self.servers}
        lists = {
            name: [Choice(model, model.partition("/")[2]) for model in models]
            for name, models in found.items()
        }
        if self.wish:
            lists = {"default": [Choice(self.wish, self.wish)], **lists}
        if self.emulated:
            lists["what may happen"] = [Choice(*item) for item in FAULTS.items()]
        return {name: choices for name, choices in lists.items() if choices}

    def _served(self, name: str) -> list[str]:
        try:
            answer = requests.get(
                f"{self.servers[name]}/models",
                headers={"Authorization": f"Bearer {self.keys[name]}"},
                timeout=PATIENCE_SECONDS,
                allow_redirects=False,
            )
            answer.raise_for_status()
            return [f"{name}/{model['id']}" for model in answer.json()["data"]]
        except (requests.RequestException, LookupError, TypeError):
            return []
