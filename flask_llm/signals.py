"""What the package tells whoever listens. Sender is the app.

A receiver that fails is logged and costs nobody an answer.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace

_signals = Namespace()

completion_started = _signals.signal("llm-completion-started")
"""A call was accepted. ``prompt, request_id``."""

provider_called = _signals.signal("llm-provider-called")
"""A provider answered, or did not. ``prompt, request_id, attempts, error``."""

completion_finished = _signals.signal("llm-completion-finished")
"""A call ended. ``prompt, request_id, status``, ``completion`` or ``error``.

``prompt.operation`` is ``complete`` or ``embed``; for the latter ``completion`` is
:class:`flask_llm.Embeddings`, and each batch tells of itself."""

budget_warning = _signals.signal("llm-budget-warning")
"""A call took a budget past 80 % of its limit. ``prompt, request_id, budget``."""

budget_exceeded = _signals.signal("llm-budget-exceeded")
"""A budget had no room for a call. ``prompt, request_id, error``."""

price_unknown = _signals.signal("llm-price-unknown")
"""Tokens were used whose price is not known. ``model, request_id``."""

batch_submitted = _signals.signal("llm-batch-submitted")
"""A batch was handed over, or may have been. ``batch``."""

batch_settled = _signals.signal("llm-batch-settled")
"""The results of a batch were fetched, and what it cost is written down. ``batch``.

Its prompts send no signals of their own: they are known to one process only."""

logger = logging.getLogger("flask_llm")


def send(signal: NamedSignal, sender: object, **facts: Any) -> None:
    """Tell every receiver, whatever the others do."""
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **facts)
        except Exception:
            logger.exception("A receiver of %s failed.", signal.name)
