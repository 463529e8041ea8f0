"""The providers of one app: the built-in ones, as its settings change them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from flask_llm.chat import Prompt
from flask_llm.errors import ConfigError, InvalidRequestError, nearest
from flask_llm.providers import openai
from flask_llm.providers.provider import Provider
from flask_llm.providers.table import BUILT_IN
from flask_llm.settings import Keys, ProviderSettings, Settings, url
from flask_llm.wire import Call

_BARE = {
    "openai": re.compile(r"gpt-|o\d"),
    "anthropic": re.compile(r"claude-"),
    "google": re.compile(r"gemini-"),
}


_REFUSALS = (400, 422)
_OPTIONS = re.compile(r"stream_options|include_usage|include_obfuscation")


class Providers:
    """The providers of one app: the built-in ones, changed and added to by settings.

    :param settings: for ``LLM_PROVIDERS`` and the limits that providers share.
    :param environ: where keys and base URLs are looked for.
    :raises ConfigError: where a provider of one's own lacks protocol or base URL.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        rows = {provider.name: provider for provider in BUILT_IN}
        for name, change in settings.providers.items():
            rows[name] = _changed(rows.get(name), name, change)
        self._plain: set[str] = set()
        self._rows = {
            name: _completed(provider, settings, settings.providers.get(name), environ)
            for name, provider in rows.items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> Provider:
        return self._rows[name]

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._rows.values())

    def serving(self, prompt: Prompt) -> Provider:
        """Return the provider of a prompt, with the protocol to ask it by.

        OpenAI has two, and some models or options go with one of them only. A row that
        says ``protocol``, or that leads elsewhere, is left as it is.
        """
        provider = self._rows[prompt.provider]
        if provider.name in self._plain:
            plain = replace(provider.quirks, stream_usage=False, obfuscation=False)
            provider = replace(provider, quirks=plain)
        if provider.mixed and openai.wants_responses(prompt):
            return replace(provider, protocol="responses")
        return provider

    def learns(self, prompt: Prompt, call: Call, error: InvalidRequestError) -> bool:
        """Tell whether a call was refused for the ``stream_options`` that we added.

        Then they are left out for that provider from now on, in this process: usage is
        estimated where it does not come by itself.
        """
        ours = "stream_options" in call.body and "stream_options" not in prompt.extra
        words = f"{error.param} {error.provider_message}"
        if error.status not in _REFUSALS or not ours or not _OPTIONS.search(words):
            return False
        self._plain.add(prompt.provider)
        return True

    def resolve(self, model: str) -> tuple[Provider, str]:
        """Split ``provider/model`` at the first slash; guess it for unmistakable names.

        :raises InvalidRequestError: where there is no such provider, or none at all.
        """
        if not isinstance(model, str):
            raise InvalidRequestError(
                f"model is a string such as 'openai/gpt-4.1', not {model!r}."
            )
        name, slash, rest = model.partition("/")
        if not slash:
            name, rest = self._guess(model), model
        if name not in self._rows:
            raise InvalidRequestError(
                f"Unknown provider {name!r} in model={model!r}."
                + nearest(name, self._rows)
                + " A provider of your own is a row in LLM_PROVIDERS.",
                code="unknown_provider",
            )
        if not rest.strip():
            raise InvalidRequestError(
                f"model={model!r} names no model after the slash."
            )
        return self._rows[name], rest

    def _guess(self, model: str) -> str:
        for name, pattern in _BARE.items():
            if pattern.match(model):
                return name
        raise InvalidRequestError(
            f"model={model!r} does not say whose it is; write 'provider/{model}', "
            f"with one of {', '.join(sorted(self._rows))}.",
            code="model_without_provider",
        )


def _changed(
    provider: Provider | None, name: str, change: ProviderSettings
) -> Provider:
    if provider is None:
        missing = [
            key for key in ("protocol", "base_url") if getattr(change, key) is None
        ]
        if missing:
            raise ConfigError(
                f"LLM_PROVIDERS[{name!r}] is not built in and lacks "
                f"{' and '.join(missing)}." + nearest(name, [p.name for p in BUILT_IN])
            )
        provider = Provider(name=name, base_url="", needs_key=False)
    given = {
        key: getattr(change, key)
        for key in (
            "base_url",
            "timeout",
            "proxies",
            "verify",
            "headers",
            "requests_per_minute",
            "tokens_per_minute",
        )
    }
    where = f"LLM_PROVIDERS[{name!r}]['quirks']"
    provider = replace(
        provider,
        keys=change.api_key,
        quirks=provider.quirks.changed(change.quirks, where),
        **{key: value for key, value in given.items() if value is not None},
    )
    if change.protocol is None:
        return provider
    auth = provider.auth
    if _AUTH[change.protocol] != _AUTH[provider.protocol]:
        auth = _AUTH[change.protocol]
    return replace(provider, protocol=change.protocol, mixed=False, auth=auth)


_AUTH = {
    "chat_completions": "bearer",
    "responses": "bearer",
    "anthropic_messages": "x-api-key",
    "generate_content": "x-goog-api-key",
}


def _completed(
    provider: Provider,
    settings: Settings,
    change: ProviderSettings | None,
    environ: Mapping[str, str],
) -> Provider:
    """Fill in what the row leaves to the environment and to the general settings."""
    own = change or ProviderSettings()
    base_url = own.base_url or _found(provider.url_names, environ)
    key = _found(provider.key_names, environ)
    if base_url and base_url != own.base_url:
        base_url = _checked(provider, base_url)
    if provider.keys is None and key:
        provider = replace(provider, keys=Keys(key))
    provider = replace(provider, base_url=base_url or provider.base_url)
    return replace(
        provider,
        mixed=provider.mixed and _is_openai(provider.host),
        min_interval=_first(own.min_interval, settings.min_interval),
        max_concurrent=int(_first(own.max_concurrent, settings.max_concurrent)),
    )


def _is_openai(host: str) -> bool:
    return host == "api.openai.com" or host.endswith(".api.openai.com")


_ENDINGS = {"azure": "/openai/v1", "heroku": "/v1"}
"""How base URLs end that the providers' own variables give without it."""


def _checked(provider: Provider, base_url: str) -> str:
    try:
        checked = str(url(base_url))
    except ValueError as error:
        raise ConfigError(f"{' or '.join(provider.url_names)}: {error}.") from None
    ending = _ENDINGS.get(provider.name, "")
    return checked if checked.endswith(ending) else checked + ending


def _found(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    values = (environ.get(name, "").strip() for name in names)
    return next((value for value in values if value), None)


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
