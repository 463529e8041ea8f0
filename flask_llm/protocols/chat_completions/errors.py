"""Errors: refusals in the words of Chat Completions."""

from __future__ import annotations

from flask_llm.errors import ProviderError, RequestTooLarge
from flask_llm.protocols.problems import Problem, failed, provider_error, read_problem
from flask_llm.wire import Reply


def error(reply: Reply) -> ProviderError | None:
    """Tell what went wrong, or None where the reply is an answer."""
    if not failed(reply):
        return None
    problem = read_problem(reply)
    return provider_error(reply, problem, _never_fits(reply, problem))


def _never_fits(reply: Reply, problem: Problem) -> type[ProviderError] | None:
    """Tell a request beyond the tokens per minute from one that only has to wait."""
    too_large = problem.message.startswith("Request too large")
    waits = "retry-after" in reply.headers or "retry-after-ms" in reply.headers
    return RequestTooLarge if too_large and not waits else None
