"""The fixture ``llm``, for all who have pytest and flask-llm installed.

pytest loads this module in every project, so that it imports nothing of the package
before a test asks for the fixture. It is shipped as ``pytest_flask_llm.fixtures``:
``flask_llm.anything`` would import ``flask_llm`` first.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest

_running: pytest.StashKey[Any] = pytest.StashKey()
_keys: pytest.StashKey[ExitStack] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch for recordings, and the setting for leftovers."""
    parser.getgroup("flask-llm").addoption(
        "--llm-record",
        action="store_true",
        help="make recordings that are missing, by really asking the provider",
    )
    parser.addini(
        "llm_strict",
        "fail tests that script more than the app asks for",
        type="bool",
        default=False,
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Give providers a key before any app is made, where a test asks for ``llm``.

    An app reads its keys when it is set up, which may be a fixture of the session.
    """
    asking = any(
        "_flask_llm_is_used" in getattr(item, "fixturenames", ())
        for item in session.items
    )
    if asking and not session.config.option.collectonly:
        stack = session.config.stash.setdefault(_keys, ExitStack())
        stack.enter_context(_testing().fake_keys())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take those keys away again."""
    if _keys in config.stash:
        config.stash[_keys].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that has passed only because its app swallows every exception."""
    outcome = yield
    fake = item.stash.get(_running, None)
    if fake is not None:
        fake.check()
    return outcome


@pytest.fixture
def _flask_llm_is_used() -> None:
    """Tell our ``llm`` from one of the project's own of the same name."""


@pytest.fixture
def llm(request: pytest.FixtureRequest, _flask_llm_is_used: None) -> Iterator[Any]:
    """Script what models answer, and see what they were asked; no network is reached.

    It is a :class:`flask_llm.testing.FakeLLM`.
    """
    config = request.config
    fake = _testing().FakeLLM(
        strict=config.getini("llm_strict"), live=config.option.llm_record
    )
    with fake.running():
        request.node.stash[_running] = fake
        yield fake


def _testing() -> ModuleType:
    try:
        return importlib.import_module("flask_llm.testing")
    except ModuleNotFoundError as error:
        if error.name != "responses":
            raise
    raise pytest.UsageError(
        "The fixture llm needs an extra: pip install 'flask-llm[testing]'"
    )
