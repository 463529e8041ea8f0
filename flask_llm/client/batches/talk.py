"""What is said to a provider about batches, within one deadline."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flask_llm.chat.prompt import check_options
from flask_llm.client.gate import Gate
from flask_llm.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ResponseError,
)
from flask_llm.protocols.base import unreadable
from flask_llm.protocols.batches import BATCHES, BatchState, Result
from flask_llm.providers import Provider
from flask_llm.retry import Deadline, Retry
from flask_llm.transport import Transport
from flask_llm.wire import Call

PAGES_MAX = 50
"""How many pages of an account's batches are looked through for one of ours."""

Found = TypeVar("Found")

logger = logging.getLogger("flask_llm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a provider is asked for."""

    timeout: float
    """Seconds for the whole conversation."""
    retries: int

    def __post_init__(self) -> None:
        check_options(self)

    def begin(self, clock: Callable[[], float]) -> Until:
        """Let the time run: one deadline for all that a verb has to ask."""
        return Until(Deadline(self.timeout, clock=clock), self.retries)


@dataclass(frozen=True, slots=True)
class Until:
    """How long there is left to ask, and how often one question may be asked again."""

    deadline: Deadline
    retries: int


class Talk:
    """One conversation with a provider, by one of its keys."""

    def __init__(
        self,
        provider: Provider,
        transport: Transport,
        gate: Gate,
        until: Until,
    ) -> None:
        self.provider = provider
        self.form = BATCHES[provider.protocol]
        self._transport = transport
        self._gate = gate
        self._until = until

    def ask(self, call: Call) -> Mapping[str, Any]:
        """Send a request and return the object that it is answered with.

        :raises ProviderError: where it fails.
        :raises DeadlineExceeded: where the provider has no slot in time.
        """
        with self._gate.slot(self.provider, self._until.deadline):
            reply = self._transport.send(call, self.provider, self._retry())
        if not isinstance(reply.json, Mapping):
            raise unreadable(reply.json, "it is no object")
        return reply.json

    def state(self, provider_id: str) -> BatchState:
        """Ask how a batch stands."""
        return self.form.state(self.ask(self.form.look(provider_id)))

    def all(self) -> Iterator[list[BatchState]]:
        """Yield the account's batches, page by page, the newest first."""
        after: str | None = None
        for _ in range(PAGES_MAX):
            page, after = self.form.listed(self.ask(self.form.listing(after)))
            yield page
            if after is None:
                return

    def results(self, state: BatchState) -> Generator[Result, None, None]:
        """Yield the results of a batch that is over, in any order.

        One that cannot be read is left out, so that it keeps nobody from the others.
        """
        unreadable = 0
        with closing(self._items(state)) as items:
            for item in items:
                try:
                    yield self.form.result(item)
                except ResponseError:
                    unreadable += 1
        if unreadable:
            logger.warning(
                "%s results of %s's batch %s could not be read.",
                unreadable,
                self.provider.name,
                state.provider_id,
            )

    def _items(self, state: BatchState) -> Generator[Mapping[str, Any], None, None]:
        yield from state.inlined
        for call in self.form.answers(state):
            sent = self._transport.lines(call, self.provider, self._retry())
            with closing(sent) as lines:
                yield from map(_object, lines)

    def _retry(self) -> Retry:
        return self._transport.retry(self._until.retries, self._until.deadline)


def accounts(provider: Provider) -> list[Provider]:
    """Return the provider with each of its keys: a batch belongs to one's account."""
    if provider.keys is None:
        return [provider]
    return [replace(provider, keys=key) for key in provider.keys.each()]


def with_any_key(provider: Provider, talk: Callable[[Provider], Found]) -> Found:
    """Talk by the key whose account knows of a batch, trying one after the other.

    :raises LLMError: where none of them does.
    """
    *others, last = accounts(provider)
    for account in others:
        try:
            return talk(account)
        except NOT_OURS:
            continue
    return talk(last)


NOT_OURS = (AuthenticationError, NotFoundError, PermissionDeniedError)
"""How a provider answers to a key of another account, and to one that is revoked."""


def _object(line: bytes) -> Mapping[str, Any]:
    """Read a line; what is no object is one that says nothing."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, Mapping) else {}
