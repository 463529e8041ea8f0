"""What a caller may say beside the prompt, and how it is read."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from flask import current_app, has_request_context, request

from flask_llm.chat import Message, ToolLike
from flask_llm.errors import InvalidRequestError, nearest
from flask_llm.settings import Settings
from flask_llm.state import State

PromptLike = str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
"""A text, a message, or the messages of a conversation."""


class PromptOptions(TypedDict, total=False):
    """What every verb takes beside prompt and tools; all of it may be left out."""

    model: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: str | Sequence[str] | None
    seed: int | None
    tool_choice: str | None
    parallel_tool_calls: bool | None
    schema: type[Any] | Mapping[str, Any] | None
    reasoning: str | int | None
    prompt_cache: bool | Literal["5m", "1h"] | None
    timeout: float | None
    retries: int | None
    user: str | None
    tenant: str | None
    feature: str | None
    tags: Mapping[str, str] | None
    extra: Mapping[str, Any] | None


class BatchOptions(PromptOptions, total=False):
    """What a batch takes beside its prompts."""

    tools: Sequence[ToolLike] | None


class ToolOptions(PromptOptions, total=False):
    """What those verbs take that wait for the answer."""

    schema_retries: int | None
    fetch: bool | None
    service_tier: str | None
    cache: bool | int | None
    fallbacks: Sequence[str] | None


class Options(ToolOptions, total=False):
    """What the verbs take beside the prompt that leave tools to the caller."""

    tools: Sequence[ToolLike] | None


def known(options: Mapping[str, Any], kind: type = Options) -> dict[str, Any]:
    """Return the options that were given; None means the default.

    :param kind: lists those that a verb takes.
    :raises InvalidRequestError: where it takes no such option.
    """
    for name in options:
        if name not in kind.__annotations__:
            raise InvalidRequestError(
                f"Unknown option {name!r}.{nearest(name, kind.__annotations__)}",
                code="unknown_option",
                param=name,
            )
    return {name: value for name, value in options.items() if value is not None}


def several(name: str, value: object) -> Sequence[Any]:
    """Insist on a list of values."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return value
    raise InvalidRequestError(
        f"{name} is a list, not {type(value).__name__}.",
        code="invalid_option",
        param=name,
    )


def stops(value: object) -> tuple[str, ...]:
    """Read one text or several that end an answer."""
    return (value,) if isinstance(value, str) else tuple(several("stop", value))


def cache_seconds(value: object, settings: Settings) -> int:
    """Read for how long an answer may be kept."""
    if isinstance(value, bool):
        return settings.cache_ttl if value else 0
    if isinstance(value, int):
        return value
    raise InvalidRequestError(
        f"cache is True, False or whole seconds, not {value!r}.", param="cache"
    )


def attribution(state: State, given: dict[str, Any]) -> dict[str, Any]:
    """Take out of the options whom a call is written down to, or ask the loaders."""
    return {
        "user": _label(given.pop("user", None), state.hooks.user or _logged_in),
        "tenant": _label(given.pop("tenant", None), state.hooks.tenant),
        "feature": _label(given.pop("feature", None), _endpoint),
    }


def prompt_cache_key(owner: Mapping[str, Any], settings: Settings) -> str:
    """Return what stands for those who may share what a provider keeps of prompts.

    They are those who share answers. It is the same on each call and in each process,
    and tells nobody who they are.
    """
    shared = {"user": ("tenant", "user"), "tenant": ("tenant",), "app": ()}
    names = [owner[name] for name in shared[settings.cache_scope]]
    secret = current_app.secret_key or b""
    key = secret if isinstance(secret, bytes) else secret.encode()
    text = json.dumps(["prompt_cache_key", *names])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]


def _label(given: str | None, load: Callable[[], object] | None) -> str | None:
    """Return a label without spaces at its end, which some databases do not see."""
    if given is None and load is not None and has_request_context():
        loaded = load()
        given = None if loaded is None else str(loaded)
    return given.rstrip(" ") if isinstance(given, str) else given


def _endpoint() -> str | None:
    return request.endpoint


def _logged_in() -> object:
    """Ask Flask-Login who it is, where the app uses it."""
    module = sys.modules.get("flask_login")
    if module is None or not hasattr(current_app, "login_manager"):
        return None
    user = module.current_user
    return user.get_id() if user.is_authenticated else None
