"""Counting endpoints: how many tokens a prompt has, told by its provider, for nothing.

Sources: https://developers.openai.com/api/docs/guides/token-counting,
https://platform.claude.com/docs/en/build-with-claude/token-counting,
https://ai.google.dev/api/tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask_llm.chat import Prompt
from flask_llm.errors import InvalidRequestError
from flask_llm.protocols import anthropic_messages, generate_content, responses
from flask_llm.protocols.base import readable
from flask_llm.providers import Provider
from flask_llm.wire import Call

_RESPONSES = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "personality",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""The fields that OpenAI's endpoint takes; all others change no count."""

_MESSAGES = frozenset(
    {
        "cache_control",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
        "workspace_id",
    }
)
"""The same of Anthropic's."""


def counting(provider: Provider) -> Provider:
    """Return the provider with the protocol that its tokens are counted by.

    OpenAI counts in the words of Responses, whichever of its formats a prompt is for.

    :raises InvalidRequestError: where it has no endpoint for that.
    """
    if provider.quirks.counts_tokens:
        return replace(provider, protocol="responses")
    if provider.protocol in _RENDER:
        return provider
    raise InvalidRequestError(
        f"{provider.name} counts no tokens: leave count=True out for an upper bound. "
        "openai, anthropic and google count.",
        param="count",
        code="no_counting",
    )


def render_count(prompt: Prompt, provider: Provider) -> Call:
    """Turn a prompt into the request that has its tokens counted.

    :param provider: as :func:`counting` returned it.
    """
    return _RENDER[provider.protocol](prompt, provider)


@readable
def parse_count(raw: Mapping[str, Any]) -> int:
    """Read the number of tokens.

    :raises ResponseError: where there is none.
    """
    number = raw["totalTokens"] if "totalTokens" in raw else raw["input_tokens"]
    if type(number) is not int or number < 0:
        raise TypeError
    return number


def _responses(prompt: Prompt, provider: Provider) -> Call:
    call = responses.render(prompt, provider, stream=False)
    return replace(call, path=f"{call.path}/input_tokens", body=_only(_RESPONSES, call))


def _messages(prompt: Prompt, provider: Provider) -> Call:
    """Ask for the count under the newer version: sampling is no part of it."""
    call = anthropic_messages.render(prompt, provider, stream=False)
    headers = {**call.headers, "anthropic-version": anthropic_messages.VERSION}
    path = f"{call.path}/count_tokens"
    return replace(call, path=path, body=_only(_MESSAGES, call), headers=headers)


def _generate_content(prompt: Prompt, provider: Provider) -> Call:
    call = generate_content.render(prompt, provider, stream=False)
    path = call.path.removesuffix(":generateContent")
    name = prompt.model.removeprefix("models/")
    request = {"model": f"models/{name}", **call.body}
    body = {"generateContentRequest": request}
    return replace(call, path=f"{path}:countTokens", body=body)


def _only(names: frozenset[str], call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.body.items() if name in names}


_RENDER: Mapping[str, Callable[[Prompt, Provider], Call]] = {
    "responses": _responses,
    "anthropic_messages": _messages,
    "generate_content": _generate_content,
}
