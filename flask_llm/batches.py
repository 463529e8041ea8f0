"""The verbs for batches: prompts that may wait for a day, at half the price.

Each works wherever there is an app context, in whatever process: a batch is in the
table ``llm_batches``, and the provider does the rest.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Unpack, cast

from flask_llm.api import read_prompt
from flask_llm.chat import Batch, Completion, Message, Prompt, read_messages
from flask_llm.client.batches import Terms
from flask_llm.errors import InvalidRequestError, LLMError
from flask_llm.options import BatchOptions, Options, PromptLike, known
from flask_llm.schema import read_schema
from flask_llm.state import State, current_state

__all__ = ["Batch", "cancel", "list", "results", "status", "submit"]

_NEVER = {
    "cache": "what a batch answers is fetched with results(), as often as you like",
    "fallbacks": "a batch stays with one model",
    "schema_retries": "there is nobody to mend an answer: submit those that do not "
    "fit again",
    "service_tier": "a batch is a tier of its own",
}
"""Options of a call that a batch cannot have, and why."""

_LISTED_MAX = 10_000


def submit(prompts: Iterable[PromptLike], **options: Unpack[BatchOptions]) -> Batch:
    """Hand prompts over to be answered within a day, mostly at half the price.

    What all of them may cost is reserved in budgets at once. Quotas count one call.

    :param prompts: as :func:`flask_llm.complete` takes them.
    :param timeout: seconds to hand them over, upload and retries included.
    :param options: the others of :func:`flask_llm.complete` hold for every prompt;
        there is no ``cache``, ``fallbacks``, ``schema_retries`` or ``service_tier``.
    :return: the batch; keep its ``id``. One that is still ``preparing`` may or may not
        have reached the provider: :func:`status` finds out, and you need not.
    :raises ConfigError: where a key, a table or a setting is missing.
    :raises LimitError: where a limit of ours has no room for all of it; then none of it
        is sent.
    :raises ProviderError: where the provider refuses it.
    """
    state = current_state()
    return state.batches.submit(_read(state, prompts, options))


def status(
    batch_id: str, *, timeout: float | None = None, retries: int | None = None
) -> Batch:
    """Ask how a batch stands.

    :param timeout: seconds; ``LLM_TIMEOUT`` by default, as for the verbs below.
    :raises InvalidRequestError: where there is no such batch.
    :raises ProviderError: where the provider cannot be asked.
    """
    state = current_state()
    return state.batches.status(_ident(batch_id), _terms(state, timeout, retries))


def results(
    batch_id: str,
    *,
    schema: type[Any] | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    retries: int | None = None,
) -> builtins.list[Completion | LLMError]:
    """Fetch what became of each prompt, and write down what it cost.

    It may be called again, and by several at once: nothing is counted twice.

    :param schema: that of :func:`submit`, to have ``parsed`` filled in; an answer that
        does not fit becomes its :class:`SchemaError`.
    :param timeout: seconds for all of it: give large batches more.
    :return: a :class:`Completion` or an :class:`LLMError` for each prompt, in their
        order.
    :raises LLMError: with the code ``batch_not_over`` while there are none.
    """
    state = current_state()
    shape = None if schema is None else read_schema(schema)
    terms = _terms(state, timeout, retries)
    return state.batches.results(_ident(batch_id), terms, schema=shape)


def cancel(
    batch_id: str, *, timeout: float | None = None, retries: int | None = None
) -> Batch:
    """Give a batch up. What was answered by then is paid for, and can be fetched."""
    state = current_state()
    return state.batches.cancel(_ident(batch_id), _terms(state, timeout, retries))


def list(*, limit: int = 100, unsettled: bool = False) -> builtins.list[Batch]:  # noqa: A001 - read as batches.list()
    """Return the newest batches, as they stood when they were last looked at.

    :param unsettled: those alone whose results nobody has fetched.
    """
    if not isinstance(limit, int) or not 1 <= limit <= _LISTED_MAX:
        raise InvalidRequestError(
            f"limit={limit!r}: a whole number from 1 to {_LISTED_MAX:,} is needed.",
            param="limit",
        )
    return current_state().batches.listed(limit, unsettled=unsettled)


def _read(
    state: State, prompts: Iterable[PromptLike], options: Mapping[str, Any]
) -> builtins.list[Prompt]:
    """Return the prompts of a batch, alike in all but what they say."""
    one = isinstance(prompts, (str, bytes, Mapping, Message))
    if one or not isinstance(prompts, Iterable):
        raise InvalidRequestError(
            f"submit() takes a list of prompts, not a {type(prompts).__name__}.",
            param="prompts",
        )
    for name, reason in _NEVER.items():
        if options.get(name) is not None:
            raise InvalidRequestError(
                f"A batch takes no {name}: {reason}.",
                code="invalid_option",
                param=name,
            )
    given = known(options, BatchOptions)
    read: builtins.list[Prompt] = []
    for place, said in enumerate(prompts):
        try:
            messages = read_messages(_alone(said))
        except InvalidRequestError as error:
            error.add_note(f"It is prompt {place} of the batch.")
            raise
        if read:
            prompt = replace(read[0], messages=messages)
        else:
            prompt = _first(state, builtins.list(messages), given)
        read.append(prompt)
    if not read:
        raise InvalidRequestError("A batch needs a prompt.", param="prompts")
    return read


def _alone(said: PromptLike) -> PromptLike:
    """Return a prompt that brings no options of its own."""
    if isinstance(said, Mapping) and _REQUEST & said.keys():
        raise InvalidRequestError(
            "A prompt of a batch is what complete() takes, and model and options hold "
            "for all of them: submit(prompts, model=...), and a batch for each model.",
            param="prompts",
        )
    return said


_REQUEST = {"body", "custom_id", "messages", "model", "params", "prompt", "request"}
"""Keys of requests, as providers take them in batches."""


def _first(state: State, said: PromptLike, given: Mapping[str, Any]) -> Prompt:
    return read_prompt(state, said, cast("Options", {**given, "fallbacks": ()}))


def _ident(batch_id: str) -> str:
    if isinstance(batch_id, str):
        return batch_id
    cure = "pass its id" if isinstance(batch_id, Batch) else "keep that of submit()"
    raise InvalidRequestError(
        f"The id of a batch is a string, not {type(batch_id).__name__}: {cure}.",
        code="invalid_option",
        param="batch_id",
    )


def _terms(state: State, timeout: float | None, retries: int | None) -> Terms:
    settings = state.settings
    return Terms(
        timeout=settings.timeout if timeout is None else timeout,
        retries=settings.max_retries if retries is None else retries,
    )
