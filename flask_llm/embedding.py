"""The verb for embeddings: texts, options and settings become one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from flask_llm.chat import Embeddings, Inputs, read_texts
from flask_llm.options import attribution, cache_seconds, known
from flask_llm.protocols import embedding_format
from flask_llm.state import current_state


class EmbedOptions(TypedDict, total=False):
    """What embed() takes beside the texts; all of it may be left out."""

    model: str | None
    dimensions: int | None
    cache: bool | int | None
    timeout: float | None
    retries: int | None
    user: str | None
    tenant: str | None
    feature: str | None
    tags: Mapping[str, str] | None
    extra: Mapping[str, Any] | None


def embed(texts: str | Iterable[str], **options: Unpack[EmbedOptions]) -> Embeddings:
    """Turn texts into vectors.

    More texts than a provider takes at a time are sent one batch after the other.
    Vectors of different models do not compare, so no other model stands in.

    :param texts: a text or several.
    :param model: ``provider/model``; ``LLM_EMBED_MODEL`` by default.
    :param dimensions: numbers in a vector, where the model can make fewer.
    :param cache: True, or seconds, to be given earlier vectors of the same batch.
    :param timeout: seconds for the whole call, all batches and retries included.
    :param retries: tries of each batch beside the first one.
    :param user, tenant, feature, tags: whom and what the cost is written down to; by
        default as for :func:`complete`.
    :param extra: merged into the provider's JSON body as it is; at Google into the
        part of each text, as ``{"taskType": "RETRIEVAL_QUERY"}``.
    :raises ConfigError: where a key, a table or a setting is missing.
    :raises LimitError: where a limit of ours stops the call.
    :raises ProviderError: where the provider refuses, fails or cannot be reached.
        ``usage`` and ``cost_usd`` of any error count the batches before it.
    """
    state = current_state()
    given = known(options, EmbedOptions)
    settings = state.settings
    name = given.pop("model", settings.embed_model)
    provider, model = state.client.providers.resolve(name)
    embedding_format(provider)  # before a key is asked for that would not help
    provider.check_ready()
    inputs = Inputs(
        **attribution(state, given),
        provider=provider.name,
        model=model,
        texts=read_texts(texts),
        cache=cache_seconds(given.pop("cache", False), settings),
        timeout=given.pop("timeout", provider.timeout or settings.timeout),
        retries=given.pop("retries", settings.max_retries),
        **given,
    )
    return state.client.embed(inputs)
