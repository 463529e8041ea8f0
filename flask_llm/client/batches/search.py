"""Looks at a provider for a batch whose worker died, or did not hear the answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_llm.client.batches.talk import Talk
from flask_llm.protocols.batches import BatchState
from flask_llm.usage import place_of

SKEW = timedelta(minutes=10)
"""How far the provider's clock may be from ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What is known of a batch that no provider has confirmed."""

    batch_id: str
    prompts: int
    created_at: datetime
    lost_at: datetime
    is_known: Callable[[str], bool]
    """Whether a provider's batch is another one of ours."""

    def is_near(self, state: BatchState) -> bool:
        """Tell whether a batch was made when ours may have been."""
        made = state.created_at
        return made is None or self.created_at - SKEW <= made <= self.lost_at + SKEW

    def is_before(self, state: BatchState) -> bool:
        """Tell whether a batch is older than ours can be."""
        made = state.created_at
        return made is not None and made < self.created_at - SKEW


def search(talk: Talk, lost: Lost) -> tuple[BatchState | None, bool]:
    """Look for a batch in one account.

    Where the provider keeps our name of it, that decides. Anthropic does not: there a
    batch of as many prompts, from that time, that is none of our others, may be ours,
    and what its prompts are called decides once it has ended.

    :return: the batch, and whether one that is still running may be it.
    """
    undecided = False
    for page in talk.all():
        for state in page:
            if talk.form.KEEPS_NAMES:
                if state.name == lost.batch_id:
                    return state, False
            elif _may_be(state, lost):
                if not state.files:
                    undecided = True
                elif _is(talk, state, lost):
                    return state, False
        if page and all(map(lost.is_before, page)):
            break
    return None, undecided


def _may_be(state: BatchState, lost: Lost) -> bool:
    alike = state.prompts == lost.prompts and lost.is_near(state)
    return alike and not lost.is_known(state.provider_id)


def _is(talk: Talk, state: BatchState, lost: Lost) -> bool:
    with closing(talk.results(state)) as results:
        first = next(results, None)
    return first is not None and place_of(lost.batch_id, first.key) is not None
