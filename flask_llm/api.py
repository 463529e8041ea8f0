"""The verbs: what a caller gave and what settings say become one Prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack, cast

from flask import Flask, current_app

from flask_llm.chat import (
    Completion,
    Estimate,
    Message,
    Prompt,
    ToolLike,
    read_messages,
    read_tools,
)
from flask_llm.client import Approve, Result, Stream, ToolLoop
from flask_llm.client import complete_many as run_many
from flask_llm.errors import InvalidRequestError, LLMError
from flask_llm.options import (
    Options,
    PromptLike,
    ToolOptions,
    attribution,
    cache_seconds,
    known,
    prompt_cache_key,
    several,
    stops,
)
from flask_llm.providers import Provider
from flask_llm.schema import read_schema
from flask_llm.settings import Settings
from flask_llm.state import State, current_state


def complete(prompt: PromptLike, **options: Unpack[Options]) -> Completion:
    """Ask a model and wait for its answer.

    :param prompt: a text, a :class:`Message`, or a conversation as a list of messages
        or of ``{"role", "content"}`` dicts.
    :param model: ``provider/model``; ``LLM_MODEL`` by default.
    :param system: instructions that stand above the conversation.
    :param max_tokens: tokens of the answer, reasoning included.
    :param temperature: 0 to 2.
    :param top_p: 0 to 1.
    :param stop: one text or several that end the answer.
    :param tools: functions that the model may ask for; ``tool_choice`` is ``auto``,
        ``none``, ``required`` or a tool's name.
    :param schema: what the answer has to look like: a JSON schema as a dict, a
        dataclass, or a pydantic model. ``parsed`` of the answer then holds it.
    :param schema_retries: times that the model is told what is wrong with an answer
        that does not fit, which costs another call; ``LLM_SCHEMA_RETRIES`` by default.
        A stream cannot be mended.
    :param reasoning: effort: ``none minimal low medium high xhigh max``; or the tokens
        that reasoning may take, put as an effort where the model knows no number.
    :param cache: True, or seconds, to be given an earlier answer to the same question.
    :param prompt_cache: True, ``5m`` or ``1h`` to have the provider keep the beginning
        of the prompt, which makes it cheaper to read again; False not to, where that
        saves what writing costs.
    :param timeout: seconds for the whole call, retries included.
    :param retries: tries beside the first one.
    :param fallbacks: models to go on to, in this order, where the model is overloaded,
        rate limited, broken, out of reach or too slow; ``LLM_FALLBACKS`` by default,
        and ``[]`` for none. They share one deadline: a model that others stand in for
        has half of what is left of it.
    :param user, tenant, feature, tags: whom and what the cost is written down to; by
        default the loaders on :class:`LLM` and the endpoint of the request.
    :param extra: merged into the provider's JSON body as it is.
    :raises ConfigError: where a key, a table or a setting is missing.
    :raises LimitError: where a limit of ours stops the call.
    :raises ProviderError: where the provider refuses, fails or cannot be reached.
    :raises SchemaError: where the answer does not fit the schema.
    """
    state = current_state()
    return state.client.complete(read_prompt(state, prompt, options))


def stream(prompt: PromptLike, **options: Unpack[Options]) -> Stream:
    """Ask a model and return once it has begun to answer.

    Takes and raises what :func:`complete` does; a refusal is raised here, and what
    goes wrong later by the iteration.

    :return: a context manager and iterator of :class:`Chunk`.
    """
    return open_stream(prompt, options)


def complete_many(
    prompts: Iterable[PromptLike],
    *,
    max_workers: int | None = None,
    on_result: Callable[[int, Result], object] | None = None,
    **options: Unpack[Options],
) -> list[Result]:
    """Ask several prompts side by side.

    A prompt that fails does not stop the others: its :class:`LLMError` stands in its
    place. ``timeout`` counts for each prompt, from when its turn comes.

    :param max_workers: threads; never more than the provider's ``max_concurrent``.
    :param on_result: called with the index and result of each prompt as it comes.
    :return: a :class:`Completion` or an :class:`LLMError` for each prompt, in order.
    :raises InvalidRequestError: where an option is unknown.
    """
    state = current_state()
    known(options)
    _check_many(prompts, max_workers)
    read = [_prompt_or_error(state, prompt, options) for prompt in prompts]
    slots = max(
        (
            state.client.providers[prompt.provider].max_concurrent
            for prompt in read
            if isinstance(prompt, Prompt)
        ),
        default=1,
    )
    return run_many(
        state.client,
        read,
        workers=min(max_workers or slots, slots, max(1, len(read))),
        context=_app().app_context,
        on_result=on_result,
    )


def estimate(
    prompt: PromptLike, *, count: bool = False, **options: Unpack[Options]
) -> Estimate:
    """Say how many tokens a call would take and what it can cost, without making it.

    Takes what :func:`complete` does, and speaks of one request to the first model:
    retries that are billed, mended answers, rounds of tools and fallbacks come on top.
    Nothing is sent, no key is needed, and no quota or budget is drawn on.

    :param count: have the provider count the input, which is a request, though a free
        one that leaves no row. OpenAI, Anthropic and Google can. Otherwise tiktoken
        counts where it is installed, has its files and knows the model, and what stands
        there instead is an upper bound.
    :raises InvalidRequestError: where an option is wrong, or nobody can count.
    :raises LLMError: with ``count``, where the provider cannot be reached or refuses.
    """
    state = current_state()
    return state.client.estimator.estimate(
        read_prompt(state, prompt, options, is_sent=count), count=count
    )


def run_tools(
    prompt: PromptLike,
    *,
    tools: Sequence[ToolLike],
    max_rounds: int = 10,
    approve: Approve | None = None,
    max_workers: int | None = None,
    **options: Unpack[ToolOptions],
) -> Completion:
    """Ask a model, run the tools that it asks for, and go on until it has an answer.

    Takes and raises what :func:`complete` does. ``timeout`` counts for all of it, the
    tools included, and other models stand in before the first tool has run only.

    :param tools: functions, or :class:`Tool` values that have one.
    :param max_rounds: requests to the model, at most.
    :param approve: called with each :class:`ToolCall` before any of its round is run;
        whatever is not True refuses the call, and a string tells the model why.
    :param max_workers: threads for the calls of one round, 8 by default, each with an
        app context of its own; with 1 they run one by one in this very thread.
    :return: the last answer; ``usage`` and ``cost_usd`` are those of all rounds, and
        ``messages`` is the whole history, to go on with.
    :raises RoundsExceeded: where the model still asks for tools at the end.
    """
    state = current_state()
    _check_whole("max_rounds", max_rounds)
    _check_whole("max_workers", max_workers)
    loop = ToolLoop(
        state.client,
        read_prompt(state, prompt, {**options, "tools": tools}),
        approve=approve,
        workers=max_workers,
        context=_app().app_context,
    )
    return loop.run(max_rounds)


def open_stream(
    prompt: PromptLike, options: Options, *, heartbeat: float | None = None
) -> Stream:
    """Open a stream that may tell of silence; see :meth:`Stream.piece`."""
    state = current_state()
    return state.client.stream(read_prompt(state, prompt, options), heartbeat=heartbeat)


def read_prompt(
    state: State, prompt: PromptLike, options: Options, *, is_sent: bool = True
) -> Prompt:
    """Return a prompt with all its options, those that settings fill in included.

    :param is_sent: see that its providers have their keys.
    :raises InvalidRequestError: where something in it cannot be.
    :raises ConfigError: where the provider lacks something.
    """
    given = known(options)
    settings = state.settings
    provider, model = state.client.providers.resolve(given.pop("model", settings.model))
    if is_sent:
        provider.check_ready()
    filled = {
        name: getattr(settings, name)
        for name in ("max_tokens", "temperature")
        if name not in given
    }
    fallbacks = _fallbacks(state, f"{provider.name}/{model}", given, is_sent=is_sent)
    owner = attribution(state, given)
    keeps = given.get("prompt_cache")
    return Prompt(
        **owner,
        provider=provider.name,
        model=model,
        messages=read_messages(prompt),
        defaulted=frozenset(filled),
        stop=stops(given.pop("stop", ())),
        tools=read_tools(several("tools", given.pop("tools", ()))),
        schema=read_schema(given.pop("schema")) if "schema" in given else None,
        schema_retries=given.pop("schema_retries", settings.schema_retries),
        cache=cache_seconds(given.pop("cache", False), settings),
        prompt_cache_key=prompt_cache_key(owner, settings) if keeps else None,
        timeout=given.pop("timeout", _seconds(settings, provider, fallbacks)),
        retries=given.pop("retries", settings.max_retries),
        fallbacks=fallbacks,
        **filled,
        **given,
    )


def _fallbacks(
    state: State, model: str, given: dict[str, Any], *, is_sent: bool
) -> tuple[str, ...]:
    """Return the models that stand in for one, each of them ready to be asked."""
    names = given.pop("fallbacks", state.settings.fallbacks.get(model, ()))
    found = []
    for name in several("fallbacks", names):
        provider, rest = state.client.providers.resolve(name)
        if is_sent:
            provider.check_ready()
        found.append(f"{provider.name}/{rest}")
    return tuple(found)


def _seconds(
    settings: Settings, provider: Provider, fallbacks: tuple[str, ...]
) -> float:
    """Return the time for a call; a provider's own leaves some for its stand-ins."""
    own = provider.timeout or settings.timeout
    return max(own, settings.timeout) if fallbacks else own


def _check_many(prompts: object, max_workers: object) -> None:
    if isinstance(prompts, (str, bytes, Mapping, Message)):
        raise InvalidRequestError(
            f"complete_many() takes a list of prompts, not a {type(prompts).__name__}."
        )
    _check_whole("max_workers", max_workers)


def _check_whole(name: str, value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and cast("int", value) > 0):
        raise InvalidRequestError(
            f"{name}={value!r}: a whole number from 1 up is needed.", param=name
        )


def _app() -> Flask:
    """Return the app itself, as threads need it."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's documented way to hand an app to a thread
    return app


def _prompt_or_error(
    state: State, prompt: PromptLike, options: Options
) -> Prompt | LLMError:
    try:
        return read_prompt(state, prompt, options)
    except LLMError as error:
        return error
