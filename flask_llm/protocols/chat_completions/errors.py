"""Errors: refusals in the words of Chat Completions."""

from __future__ import annotations

from flask_llm.errors import ProviderError
from flask_llm.protocols.problems import (
    failed,
    never_fits,
    provider_error,
    read_problem,
)
from flask_llm.wire import Reply


def error(reply: Reply) -> ProviderError | None:
    """Tell what went wrong, or None where the reply is an answer."""
    if not failed(reply):
        return None
    problem = read_problem(reply)
    return provider_error(reply, problem, never_fits(reply, problem))
