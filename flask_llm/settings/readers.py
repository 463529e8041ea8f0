"""Readers: each turns a raw value into the one that is kept, or says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask_llm.errors import ConfigError, nearest
from flask_llm.settings.keys import Keys

PROTOCOLS = (
    "chat_completions",
    "responses",
    "anthropic_messages",
    "generate_content",
)

Read = Callable[[Any], Any]
"""Turns a raw value into the one that is kept, or raises ValueError with the cure."""


def number(low: float, high: float = 1e9) -> Read:
    """Read a number between two bounds, from a string too."""

    def read(value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError(f"a number between {low:g} and {high:g} is needed")
        try:
            result = float(value)
        except (TypeError, ValueError, OverflowError):
            result = float("nan")
        if not low <= result <= high:
            raise ValueError(f"a number between {low:g} and {high:g} is needed")
        return result

    return read


def whole(low: int) -> Read:
    """Read a whole number that is at least ``low``, from a string too."""

    def read(value: Any) -> int:
        if isinstance(value, (bool, float)) or not re.fullmatch(r"-?\d+", str(value)):
            raise ValueError(f"a whole number from {low} up is needed")
        if int(value) < low:
            raise ValueError(f"a whole number from {low} up is needed")
        return int(value)

    return read


def boolean(value: Any) -> bool:
    """Read True or False, or the words that stand for them in an environment."""
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("True or False is needed") from None


def text(value: Any) -> str:
    """Read a string with something in it."""
    if isinstance(value, (int, float)):
        raise ValueError(
            "a string is needed, not a number; in a FLASK_ variable, quote it: '\"12\"'"
        )
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a string is needed")
    return value.strip()


def choice(*options: str) -> Read:
    """Read one of a few words."""

    def read(value: Any) -> str:
        if value not in options:
            raise ValueError(
                f"it is one of {', '.join(options)}{nearest(value, options)}"
            )
        return str(value)

    return read


def url(value: Any) -> str:
    """Read the base URL of a server; it carries no credentials and no query."""
    parts = urlsplit(text(value).rstrip("/"))
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _port(parts):
        raise ValueError("a URL such as https://api.example.com/v1 is needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a URL without user name, password and query is needed")
    return parts.geturl()


def _port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def redis(value: Any) -> str:
    """Read the URL of a Redis server."""
    parts = urlsplit(text(value))
    if parts.scheme not in {"redis", "rediss", "unix"} or not _port(parts):
        raise ValueError("a URL such as redis://localhost:6379/0 is needed")
    # What is kept there is read as bytes, whatever others like to have.
    query = [pair for pair in parse_qsl(parts.query) if pair[0] != "decode_responses"]
    return parts._replace(query=urlencode(query)).geturl()


def zone(value: Any) -> str:
    """Read the name of a time zone."""
    try:
        return ZoneInfo(text(value)).key
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(
            "the name of a time zone is needed, such as Europe/Berlin; where the "
            "system has none of them: pip install tzdata"
        ) from None


def fallbacks(value: Any) -> dict[str, tuple[str, ...]]:
    """Read a dict of models to lists of models."""
    if not isinstance(value, Mapping):
        raise ValueError("a dict of a model to a list of models is needed")
    for model, others in value.items():
        if not isinstance(others, (list, tuple)) or not all(
            isinstance(name, str) for name in (model, *others)
        ):
            raise ValueError("a dict of a model to a list of models is needed")
    return {model: tuple(others) for model, others in value.items()}


def keys(value: Any) -> Keys:
    """Read one API key, several, or a function that returns one."""
    several = [value] if isinstance(value, str) else value
    if callable(value):
        return Keys(value)
    if (
        isinstance(several, (list, tuple))
        and several
        and all(isinstance(key, str) and key.strip() for key in several)
    ):
        return Keys([key.strip() for key in several])
    raise ValueError("a key, a list of keys or a function that returns one is needed")


def strings(value: Any) -> dict[str, str]:
    """Read a dict of strings."""
    if not isinstance(value, Mapping) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        raise ValueError("a dict of strings is needed")
    return dict(value)


def options(value: Any) -> dict[str, Any]:
    """Read a dict whose keys are words; its values are checked where they are known."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("a dict of names to values is needed")
    return dict(value)


def verify(value: Any) -> bool | str:
    """Read True, False, or the path of a bundle of certificates."""
    return value if isinstance(value, bool) else text(value)


def anything(value: Any) -> Any:
    """Leave the check to the module that uses the value."""
    return value


_SECRETS = re.compile(
    r"^LLM_PROVIDERS$|api_key|base_url|headers|proxies|TOKEN|URL|URI", re.IGNORECASE
)
"""Keys whose values may hold a password, and so are in no complaint."""


def read_key(key: str, read: Read, value: Any) -> Any:
    """Read the value of a key.

    :raises ConfigError: naming the key, its value unless that may be a secret, and the
        cure.
    """
    shown = "" if _SECRETS.search(key) else f"={value!r}"
    try:
        return read(value)
    except ValueError as error:
        raise ConfigError(f"{key}{shown}: {error}.") from None
