"""What an app needs in a test: keys that open nothing, and a database that is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from unittest import mock

from flask_llm.providers import BUILT_IN

FAKE_KEY = "test-key-of-flask-llm"

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "TESTING": True,
        "LLM_DATABASE_URI": "sqlite:///:memory:",
        "LLM_AUTO_MIGRATE": True,
        "LLM_MIN_INTERVAL": 0,
        "LLM_BACKOFF": 0,
        "LLM_BREAKER_FAILURES": 0,
    }
)
"""For the app of a test: rows in memory, for each app its own, and no waiting."""


@contextmanager
def fake_keys() -> Iterator[None]:
    """Give every provider a key that has none, for apps that are made meanwhile."""
    missing = {
        provider.key_names[0]: FAKE_KEY
        for provider in BUILT_IN
        if provider.needs_key and not any(map(os.environ.get, provider.key_names))
    }
    with mock.patch.dict(os.environ):
        os.environ.update(missing)
        yield
