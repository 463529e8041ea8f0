"""What the package tells whoever listens. Sender is the app.

A receiver that fails is logged and costs nobody an answer. Each signal has these facts,
and those that it names itself:

- ``prompt``: what is asked; ``request_id``, ``attempts``.
- ``queued_ms``: how long the call has waited for one of the provider's slots.
- ``row``: the row of the ledger as it stands, a read-only mapping with the columns of
  ``llm_usage``. It is whole when the call has ended.
- ``base_url``: where the provider is asked.
- ``notes``: a dict of this call's own, in which a receiver may keep what it wants to
  have again at the end.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace

_signals = Namespace()

completion_started = _signals.signal("llm-completion-started")
"""A call was accepted, and its row is open."""

provider_called = _signals.signal("llm-provider-called")
"""A provider answered, or did not. ``error``."""

completion_finished = _signals.signal("llm-completion-finished")
"""A call ended. ``status``, ``completion`` or ``error``.

``prompt.operation`` is ``complete`` or ``embed``; for the latter ``completion`` is
:class:`flask_llm.Embeddings`, and each batch tells of itself."""

budget_warning = _signals.signal("llm-budget-warning")
"""A call took a budget past 80 % of its limit. ``budget``.

``prompt`` is None where that was a batch whose results were fetched: ``request_id`` is
the batch's id then."""

budget_exceeded = _signals.signal("llm-budget-exceeded")
"""A budget had no room for a call. ``error``."""

price_unknown = _signals.signal("llm-price-unknown")
"""Tokens were used whose price is not known. ``model``.

``prompt`` is None for a batch, as above."""

batch_submitted = _signals.signal("llm-batch-submitted")
"""A batch was handed over, or may have been. ``batch``."""

batch_settled = _signals.signal("llm-batch-settled")
"""The results of a batch were fetched, and what it cost is written down. ``batch``.

Its prompts send no signals of their own: they are known to the submitter only."""

logger = logging.getLogger("flask_llm")


def send(signal: NamedSignal, sender: object, **facts: Any) -> None:
    """Tell every receiver, whatever the others do."""
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **facts)
        except Exception:
            logger.exception("A receiver of %s failed.", signal.name)
