"""The turns that a provider wrote itself: a browser may have had them in its hands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from flask_llm.chat import Prompt
from flask_llm.errors import InvalidRequestError
from flask_llm.protocols.base import MISSHAPEN
from flask_llm.providers import Provider
from flask_llm.wire import Call

Render = Callable[..., Call]


def trusting(render: Render) -> Render:
    """Let ``render`` be written for states as the provider made them.

    What one of another shape sets off becomes an InvalidRequestError.
    """

    @wraps(render)
    def guarded(prompt: Prompt, provider: Provider, *, stream: bool) -> Call:
        try:
            return render(prompt, provider, stream=stream)
        except InvalidRequestError:
            raise
        except MISSHAPEN as error:
            if not any(message.provider_state for message in prompt.messages):
                raise
            raise InvalidRequestError(
                "The provider_state of a message is not what Message.to_dict() wrote: "
                "hand it back untouched, or leave it out.",
                error,
                code="provider_state",
            ) from error

    return guarded
