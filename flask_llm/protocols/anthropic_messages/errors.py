"""Errors: refusals in the words of Messages."""

from __future__ import annotations

from dataclasses import replace

from flask_llm.errors import ProviderError
from flask_llm.protocols.base import dig, word
from flask_llm.protocols.problems import failed, provider_error, read_problem
from flask_llm.wire import Reply


def error(reply: Reply) -> ProviderError | None:
    """Tell what went wrong, or None where the reply is an answer."""
    if not failed(reply):
        return None
    problem = read_problem(reply)
    code = word(dig(problem.details, "error_code"))
    found = provider_error(reply, replace(problem, code=code or problem.code))
    if found.provider_request_id is None:
        found.provider_request_id = word(dig(reply.json, "request_id"))
    return found
