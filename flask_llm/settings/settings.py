"""Every ``LLM_`` key of ``app.config``: its default, its check, what it means."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, NamedTuple, Self

from flask_llm.errors import ConfigError, nearest
from flask_llm.settings.readers import (
    Read,
    anything,
    boolean,
    choice,
    fallbacks,
    number,
    read_key,
    redis,
    text,
    whole,
    zone,
)
from flask_llm.settings.rows import ProviderSettings, providers
from flask_llm.settings.rules import Budget, Quota, budgets, quotas


def setting(default: Any, read: Read, doc: str, *, secret: bool = False) -> Any:
    """Declare a key; its name is that of the field, in capitals, after ``LLM_``.

    :param default: the value, or the type that makes an empty one.
    :param secret: shown by no repr.
    """
    metadata = {"read": read, "doc": doc}
    if isinstance(default, type):
        return field(default_factory=default, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


class Described(NamedTuple):
    """A key as the documentation shows it."""

    key: str
    default: Any
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one app, read and checked once."""

    model: str = setting(
        "openai/gpt-4o-mini", text, "The model that is asked when the call names none."
    )
    embed_model: str = setting(
        "openai/text-embedding-3-small",
        text,
        "The model that embed() asks when the call names none.",
    )
    temperature: float = setting(
        0.7, number(0, 2), "Sampling temperature, left out for models that refuse it."
    )
    max_tokens: int = setting(
        500, whole(1), "Tokens that an answer may have, reasoning included."
    )
    timeout: float = setting(
        30.0,
        number(0.001, 86_400),
        "Seconds for a whole call: queueing, retries, body and stream.",
    )
    connect_timeout: float = setting(
        5.0, number(0.001, 3_600), "Seconds for one connect."
    )
    max_retries: int = setting(2, whole(0), "Tries beside the first one.")
    backoff: float = setting(
        1.0,
        number(0, 600),
        "Seconds before the second try, doubled for each further one, less some jitter."
        " A provider's Retry-After wins when it fits the deadline.",
    )
    providers: Mapping[str, ProviderSettings] = setting(
        dict,
        providers,
        "Providers of your own, and changes to the built-in ones: name to a dict of"
        " api_key, base_url, protocol, quirks, headers, requests_per_minute,"
        " tokens_per_minute, min_interval, max_concurrent, timeout, proxies, verify.",
    )
    min_interval: float = setting(
        0.1, number(0, 3_600), "Seconds between two calls to one provider."
    )
    max_concurrent: int = setting(
        5, whole(1), "Requests that one provider works on at a time."
    )
    fallbacks: Mapping[str, tuple[str, ...]] = setting(
        dict,
        fallbacks,
        "Models to go on to when one cannot answer: a model to a list of models.",
    )
    schema_retries: int = setting(
        0,
        whole(0),
        "Times that a model is told what is wrong with an answer that does not fit its"
        " schema.",
    )
    breaker_failures: int = setting(
        5,
        whole(0),
        "Failed calls in a row after which a provider is left alone; 0 never does.",
    )
    breaker_seconds: float = setting(
        30.0,
        number(0.001, 86_400),
        "Seconds that such a provider is left alone before one call tries it again.",
    )
    quotas: tuple[Quota, ...] = setting(
        list,
        quotas,
        'Calls that are allowed: "20/minute per user", "1000/day per tenant",'
        ' "100/minute".',
    )
    limiter: Any = setting(
        None,
        anything,
        "Count quotas in the storage of the app's own Flask-Limiter: the Limiter, or"
        " True for the only one.",
    )
    storage_down: str = setting(
        "local",
        choice("local", "allow", "deny"),
        "What quotas do while their storage cannot be reached: count in this process,"
        " allow all calls or deny them.",
    )
    budgets: tuple[Budget, ...] = setting(
        list,
        budgets,
        'Money that may be spent: "$1/day per user", "$50/month per feature",'
        ' "$200/month".',
    )
    timezone: str = setting(
        "UTC",
        zone,
        "Where the hours, days, weeks and months of budgets begin, and the days of the"
        " dashboard.",
    )
    unknown_price: str = setting(
        "block",
        choice("block", "allow"),
        "Whether a model without a price may be asked where a budget applies.",
    )
    cache: Any = setting(
        None,
        anything,
        "Where kept answers live: the app's own Flask-Caching Cache, or CACHE_ settings"
        " for one of ours. If unset, in Redis where LLM_REDIS_URL is set, else in this"
        " process.",
    )
    cache_ttl: int = setting(
        86_400,
        whole(1),
        "Seconds that an answer is kept when the call says cache=True.",
    )
    cache_scope: str = setting(
        "user",
        choice("user", "tenant", "app"),
        "Who shares kept answers: user, tenant or app.",
    )
    redis_url: str | None = setting(
        None,
        redis,
        "Redis, for all that workers share: quotas, pacing, kept answers, the breaker."
        " Without it each process counts by itself.",
        secret=True,
    )
    database_uri: str | None = setting(
        None,
        text,
        "SQLAlchemy URL of the tables; SQLite in the instance folder if unset.",
        secret=True,
    )
    bind_key: str | None = setting(
        None,
        text,
        "Use the database of the app's own Flask-SQLAlchemy with this bind key"
        ' ("default" for its main one).',
    )
    auto_migrate: bool | None = setting(
        None,
        boolean,
        "Create and upgrade the tables by itself; if unset, for the default SQLite file"
        " only.",
    )
    prices: Any = setting(
        None,
        anything,
        "Prices of your own, a dict or the path of a JSON file; they win over the"
        " built-in table.",
    )
    reports_token: str | None = setting(
        None,
        text,
        "Opens the reports, as Bearer token or Basic password.",
        secret=True,
    )
    error_handler: bool = setting(
        True, boolean, "Answer uncaught errors of this package as problem JSON."
    )
    log_content: bool = setting(
        False,
        boolean,
        "Show providers' own words in tracebacks; they may quote prompts.",
    )
    max_response_bytes: int = setting(
        32 * 1024 * 1024,
        whole(1024),
        "Bytes at which an answer is cut off as an error.",
    )
    heartbeat: float = setting(
        5.0,
        number(0.05, 3_600),
        "Seconds of silence after which stream_response() sends a comment.",
    )
    journal: str | None = setting(
        None,
        text,
        "File that keeps usage rows while the database is down; in the instance folder"
        " if unset.",
    )

    @classmethod
    def read(cls, config: MutableMapping[str, Any]) -> Self:
        """Read and check ``app.config``, and write the defaults back to be seen.

        An unknown ``LLM_`` key warns with the nearest name.

        :raises ConfigError: naming the key and the cure.
        """
        declared = {_key(entry): entry for entry in fields(cls)}
        for key in sorted(config):
            if key.startswith("LLM_") and key not in declared:
                warnings.warn(
                    f"Unknown setting {key}.{nearest(key, declared)}", stacklevel=2
                )
        values = {}
        for key, entry in declared.items():
            default = _default(entry)
            value = config.setdefault(key, default)
            if value is None and default is not None:
                raise ConfigError(f"{key} is None; leave it out for {default!r}.")
            if value is not None:
                value = read_key(key, entry.metadata["read"], value)
            values[entry.name] = value
        return cls(**values)

    @property
    def models(self) -> Mapping[str, str]:
        """Each model that settings name, and the key that names it first."""
        stand_ins = (model for models in self.fallbacks.values() for model in models)
        named = {self.model: "LLM_MODEL"}
        named.setdefault(self.embed_model, "LLM_EMBED_MODEL")
        for model in (*self.fallbacks, *stand_ins):
            named.setdefault(model, "LLM_FALLBACKS")
        return named

    @classmethod
    def describe(cls) -> Iterator[Described]:
        """Return every key with its default and meaning."""
        for entry in fields(cls):
            yield Described(_key(entry), _default(entry), entry.metadata["doc"])


def _key(entry: Field[Any]) -> str:
    return f"LLM_{entry.name.upper()}"


def _default(entry: Field[Any]) -> Any:
    made = entry.default_factory
    return entry.default if made is MISSING else made()
