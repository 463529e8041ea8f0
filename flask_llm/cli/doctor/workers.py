"""Checks of what workers share, and of how they are run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.cli.doctor import server
from flask_llm.cli.doctor.check import BAD, HINT, OK, Check, Setup
from flask_llm.errors import ConfigError
from flask_llm.guards.limiter import borrowed
from flask_llm.guards.shared import Down


def redis(setup: Setup) -> Iterator[Check]:
    """See that Redis is there where settings name one."""
    if setup.state.shared is None:
        return
    try:
        setup.state.shared.run("return 1", [])
    except Down as error:
        reason = type(error.__cause__).__name__
        text = f"LLM_REDIS_URL cannot be reached ({reason})."
        cure = "See that Redis is up; until then each process counts by itself."
        yield Check("redis", BAD, text, cure)
    else:
        yield Check("redis", OK, "Redis is there.")


def memory(setup: Setup) -> Iterator[Check]:
    """See that several workers count together."""
    if setup.state.shared is not None:
        return
    workers = _workers(setup)
    if workers > 1:
        text = f"{workers} workers count quotas, slots and kept answers each by itself."
        yield Check("memory", BAD, text, "Set LLM_REDIS_URL.")
    else:
        text = "Each process counts quotas, slots and kept answers by itself."
        cure = "For more than one worker set LLM_REDIS_URL."
        yield Check("memory", HINT, text, cure)


def lent_storages(setup: Setup) -> Iterator[Check]:
    """See that the app's own Limiter and Cache are not one process's alone."""
    state = setup.state
    level = BAD if state.shared is not None or _workers(setup) > 1 else HINT
    try:
        limiter = borrowed(setup.app, state.settings.limiter)
    except ConfigError as error:
        yield Check("limiter", BAD, error.message, "Correct LLM_LIMITER.")
        limiter = None
    if limiter and type(limiter.storage).__name__ == "MemoryStorage":
        text = "LLM_LIMITER counts in the memory of each process."
        cure = "Give it a storage that workers share, or leave LLM_LIMITER out."
        yield Check("limiter", level, text, cure)
    if _cache_kind(setup) == "SimpleCache":
        text = "LLM_CACHE keeps answers in the memory of each process."
        cure = "Take a CACHE_TYPE that workers share, such as RedisCache."
        yield Check("cache", level, text, cure)


def _cache_kind(setup: Setup) -> str | None:
    """Return the class of what ``LLM_CACHE`` names."""
    named = setup.state.settings.cache
    if isinstance(named, dict):
        return str(named.get("CACHE_TYPE")).rpartition(".")[2]
    there: dict[Any, Any] = setup.app.extensions.get("cache", {})
    found = there.get(named) or (next(iter(there.values()), None) if named else None)
    return None if found is None else type(found).__name__


def streaming(setup: Setup) -> Iterator[Check]:
    """See that the server does not kill a stream, nor waits with a worker for it."""
    found = server.find(setup.environ, setup.folder)
    if found is None:
        text = "No settings of gunicorn are seen here; streams need threads or gevent."
        yield Check("streaming", OK, text)
    elif not found.is_sync:
        yield Check("streaming", OK, "The workers of gunicorn can stream.")
    else:
        seconds = setup.state.settings.timeout
        kills = 0 < found.timeout <= seconds
        yield Check(
            "streaming",
            BAD if kills else HINT,
            f"A sync worker of gunicorn is killed after {found.timeout} s, while a "
            f"call may take {seconds:g} s."
            if kills
            else "A sync worker of gunicorn does nothing else while it streams.",
            "Run gunicorn with --worker-class gthread --threads 8, or with gevent.",
        )


def patching(setup: Setup) -> Iterator[Check]:
    """See that gevent patches before the app is loaded, and not after."""
    found = server.find(setup.environ, setup.folder)
    if found is None or found.worker_class != "gevent":
        return
    if found.preload and not found.patches:
        text = "--preload loads the app before gevent patches: calls over TLS block."
        cure = (
            "Begin gunicorn.conf.py with: from gevent import monkey; monkey.patch_all()"
        )
        yield Check("gevent", BAD, text, cure)
    else:
        yield Check("gevent", OK, "gevent patches before the app is loaded.")


def _workers(setup: Setup) -> int:
    """Return how many workers are known of."""
    found = server.find(setup.environ, setup.folder)
    if found is not None:
        return found.workers
    said = setup.environ.get("WEB_CONCURRENCY", "")
    return int(said) if said.isdecimal() else 1
