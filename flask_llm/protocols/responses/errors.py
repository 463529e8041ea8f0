"""Errors: refusals and failures in the words of Responses."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flask_llm.errors import (
    InvalidRequestError,
    ProviderError,
    ResponseError,
    ServerError,
)
from flask_llm.protocols.base import dig
from flask_llm.protocols.problems import (
    Problem,
    failed,
    never_fits,
    problem_in,
    provider_error,
    read_problem,
)
from flask_llm.protocols.responses.response import parse
from flask_llm.wire import Reply


def error(reply: Reply) -> ProviderError | None:
    """Tell what went wrong, or None where the reply is an answer."""
    if reply.status >= 400:  # noqa: PLR2004
        problem = read_problem(reply)
        return provider_error(reply, problem, never_fits(reply, problem))
    answer = failed_answer(reply.json)
    if answer is not None:
        return _failure(reply, answer)
    if not failed(reply):
        return None
    problem = read_problem(reply)
    if problem.type == "error":
        problem = replace(problem, type=None)  # the event's name, and no kind of error
    return provider_error(reply, problem, _kind(problem))


def failed_answer(body: object) -> Mapping[str, Any] | None:
    """Return the answer in a body, or in a stream's last event, where it failed."""
    is_event = dig(body, "type") == "response.failed"
    answer = dig(body, "response") if is_event else body
    is_failed = is_event or dig(answer, "status") == "failed"
    return answer if is_failed and isinstance(answer, Mapping) else None


def _failure(reply: Reply, answer: Mapping[str, Any]) -> ProviderError:
    """Build the error of an answer that failed, with the tokens that it used."""
    words = answer.get("error")
    problem = problem_in(words if isinstance(words, Mapping) else {}, reply.status)
    found = provider_error(reply, problem, _kind(problem))
    if answer.get("usage"):
        with suppress(ResponseError):
            found.completion = parse(answer)
    return found


def _kind(problem: Problem) -> type[ProviderError] | None:
    """Tell the class where neither a status nor a word known to all does."""
    if not (problem.code or problem.type):
        return ServerError
    about_images = "image" in (problem.code or "")
    refused = about_images and "policy" not in (problem.code or "")
    return InvalidRequestError if refused else None
