"""OpenAI's models: which of them reason, and in which of two formats each is asked.

Source: https://developers.openai.com/api/docs/models, as of November 2026.
"""

from __future__ import annotations

import re
from typing import Any

from flask_llm.chat import Prompt

_START = r"^(?:ft:|.*/|[a-z]+\.)?"
"""Fine-tuned models and other clouds put something before the name."""

_LATER = r"(?!35)\d\d"
"""Generations to come; Azure writes 35 for 3.5."""

_REASONING = re.compile(
    _START + rf"(?:o\d|gpt-(?:[5-9]|{_LATER}|daybreak|rosalind)|codex|computer-use)"
)
_ONLY_RESPONSES = re.compile(
    _START + r"(?=o\d|gpt-|codex|computer)[\w.-]*"
    r"(?:-pro\b|codex|-use\b|-research\b|-cyber\b|-law\b|daybreak|rosalind)"
)
_RATHER_RESPONSES = re.compile(_START + rf"(?:o\d|gpt-(?:5\.[4-9]|[6-9]|{_LATER}))")
_TOOLS_NEED_RESPONSES = re.compile(_START + rf"gpt-(?:5\.[4-9]|[6-9]|{_LATER})")
_SINCE_5_6 = re.compile(_START + rf"gpt-(?:5\.[6-9]|[6-9]|{_LATER})")
"""They reason unasked, and writing to their prompt cache has a price."""

ONLY_RESPONSES = frozenset(
    {
        "access_programs",
        "background",
        "background_options",
        "context_management",
        "conversation",
        "image",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "previous_response_id",
        "prompt",
        "reasoning",
        "text",
        "truncation",
    }
)
"""Fields of a request that Responses has and Chat Completions has not."""

ONLY_CHAT_COMPLETIONS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "n",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "verbosity",
        "web_search_options",
    }
)
"""Fields of a request that Chat Completions has and Responses has not."""


def is_reasoning(model: str) -> bool:
    """Tell whether a model can reason: such a one refuses sampling options."""
    return bool(_REASONING.search(model))


def prompt_cache(prompt: Prompt) -> dict[str, Any]:
    """Return the fields that tell OpenAI whether and for whom to keep a prompt.

    It does so by itself, from 1,024 tokens on: the key keeps prompts of one kind
    together. Since GPT-5.6, where writing costs a quarter more than reading afresh, it
    can be told not to: with explicit breakpoints, and none of them set. Lifetimes are
    its own.

    Source: https://developers.openai.com/api/docs/guides/prompt-caching.
    """
    if prompt.prompt_cache:
        key = prompt.prompt_cache_key
        return {"prompt_cache_key": key} if key else {}
    if prompt.prompt_cache is False and _SINCE_5_6.search(prompt.model):
        return {"prompt_cache_options": {"mode": "explicit"}}
    return {}


def wants_responses(prompt: Prompt) -> bool:
    """Tell whether OpenAI is asked by Responses, and not by Chat Completions.

    By what the model can do, then by what ``extra`` says in the words of one of them,
    then by options that only Chat Completions has. Tools go before those: where Chat
    Completions would refuse the tools, Responses is to name the option.
    """
    if _ONLY_RESPONSES.search(prompt.model):
        return True
    in_its_words = not ONLY_RESPONSES.isdisjoint(prompt.extra)
    in_the_other_s = not ONLY_CHAT_COMPLETIONS.isdisjoint(prompt.extra)
    if in_its_words != in_the_other_s:
        return in_its_words
    if prompt.stop or prompt.seed is not None:
        return _needs_it_for_tools(prompt)
    return bool(_RATHER_RESPONSES.search(prompt.model))


def _needs_it_for_tools(prompt: Prompt) -> bool:
    """Tell whether Chat Completions refuses tools: it does beside active reasoning."""
    if not prompt.tools or prompt.effort == "none":
        return False
    refusing = _SINCE_5_6 if prompt.reasoning is None else _TOOLS_NEED_RESPONSES
    return bool(refusing.search(prompt.model))
