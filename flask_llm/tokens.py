"""Token counts where the provider tells none."""

from __future__ import annotations

from dataclasses import replace

from flask_llm.chat import Completion, Prompt, Text, ToolCall, ToolResult, Usage

BYTES_PER_TOKEN = 4
"""UTF-8 bytes in a token, roughly: English 4, Cyrillic and Chinese about as many."""

IMAGE_TOKENS = 1_000
"""What an image or a page takes, roughly."""

_TURN_TOKENS = 4


def estimate(text: str) -> int:
    """Estimate the tokens of a text; at least 1 where there is any."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def input_estimate(prompt: Prompt) -> int:
    """Estimate the tokens that a prompt has."""
    total = estimate(prompt.system or "")
    for tool in prompt.tools:
        total += estimate(f"{tool.name}{tool.description}{dict(tool.parameters)}")
    for message in prompt.messages:
        total += _TURN_TOKENS
        for part in message.content:
            match part:
                case Text():
                    total += estimate(part.text)
                case ToolCall():
                    total += estimate(part.name + part.raw_arguments)
                case ToolResult():
                    total += estimate(part.content)
                case _:
                    total += IMAGE_TOKENS
    return total


def output_estimate(completion: Completion) -> int:
    """Estimate the tokens of an answer, or of as much of it as has come."""
    calls = (call.name + call.raw_arguments for call in completion.tool_calls)
    texts = (completion.text, completion.reasoning or "", completion.refusal or "")
    return sum(estimate(text) for text in (*texts, *calls))


def usage_of(prompt: Prompt, completion: Completion, *, partial: bool) -> Usage:
    """Return what an answer used, estimated where the provider did not say.

    :param partial: the answer broke off, and what was counted may not be all.
    """
    told = completion.usage
    if told.source == "provider" and not partial:
        return told
    return replace(
        told,
        input_tokens=told.input_tokens or input_estimate(prompt),
        output_tokens=told.output_tokens or output_estimate(completion),
        source="estimated",
    )
