"""A batch that is about to be handed over: rendered, and checked against the caps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask_llm.chat import Prompt
from flask_llm.client.files import check_given
from flask_llm.errors import RequestTooLarge
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.batches import BATCHES, BatchCaps, BatchFormat
from flask_llm.providers import Provider
from flask_llm.usage import key_of
from flask_llm.wire import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is handed over."""

    batch_id: str
    prompts: Sequence[Prompt]
    calls: Sequence[Call]
    """What each prompt would be by itself."""
    provider: Provider
    """With one of its keys, since upload and batch belong to one account."""
    upload: Call | None

    @property
    def prompt(self) -> Prompt:
        """Any of the prompts: they differ in what they say alone."""
        return self.prompts[0]

    @property
    def form(self) -> BatchFormat:
        """The wire format that it is handed over in."""
        return BATCHES[self.provider.protocol]

    @property
    def requests(self) -> dict[str, Call]:
        """The calls by the names that their results come back with."""
        return {
            key_of(self.batch_id, place): call for place, call in enumerate(self.calls)
        }


def ordered(batch_id: str, prompts: Sequence[Prompt], provider: Provider) -> Order:
    """Render prompts, and see that the provider takes so many and so large ones.

    :param provider: with the protocol that serves them.
    :raises InvalidRequestError: where a prompt cannot be rendered.
    :raises RequestTooLarge: where they are too many or too large.
    """
    form = BATCHES[provider.protocol]
    if len(prompts) > form.CAPS.prompts:
        raise _too_many(provider, form.CAPS, len(prompts))
    protocol = PROTOCOLS[provider.protocol]
    for prompt in prompts:
        check_given(prompt, provider, "A batch")
    calls = [protocol.render(prompt, provider, stream=False) for prompt in prompts]
    if provider.keys is not None:
        provider = replace(provider, keys=provider.keys.pinned())
    order = Order(
        batch_id=batch_id, prompts=prompts, calls=calls, provider=provider, upload=None
    )
    order = replace(order, upload=form.upload(batch_id, order.requests))
    size = _size_bytes(order)
    if size > form.CAPS.size_bytes:
        raise _too_large(provider, form.CAPS, size)
    return order


def _size_bytes(order: Order) -> int:
    if order.upload and order.upload.upload:
        return len(order.upload.upload.content)
    call = order.form.create(order.batch_id, order.requests, None)
    return len(json.dumps(call.body, ensure_ascii=False).encode(errors="replace"))


def _too_many(provider: Provider, caps: BatchCaps, count: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"{provider.name} takes {caps.prompts:,} prompts in a batch, and these are "
        f"{count:,}: submit them in several batches.",
        code="batch_too_large",
        param="prompts",
    )


def _too_large(provider: Provider, caps: BatchCaps, size: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"{provider.name} takes {caps.size_bytes // 10**6} MB in a batch, and these "
        f"prompts have {size / 10**6:.1f} MB: submit them in several batches.",
        code="batch_too_large",
        param="prompts",
    )
