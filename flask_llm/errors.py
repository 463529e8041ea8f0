"""Everything that can go wrong, as one tree sorted by what to do next.

::

    LLMError
    ├── ConfigError               wrong or missing set-up: fix it
    ├── LimitError                ours; no provider was called
    │   ├── QuotaExceeded         too many calls; ``retry_after`` says how long
    │   ├── BudgetExceeded        too much money; says limit, spent and ``resets_at``
    │   ├── UnknownPriceError     a budget is in force and the model has no price
    │   ├── DeadlineExceeded      no slot or no time left
    │   └── RoundsExceeded        the model asks for tools again and again
    └── ProviderError             theirs
        ├── AuthenticationError
        ├── PermissionDeniedError
        ├── NotFoundError
        ├── InvalidRequestError   also ours, when we see it before sending
        │   ├── ContextLengthExceeded
        │   ├── UnsupportedParameter
        │   └── RequestTooLarge
        ├── ContentFilteredError
        ├── RateLimitError        wait, then try again
        ├── QuotaExhaustedError   waiting does not help: pay or change the plan
        ├── OverloadedError
        ├── ServerError
        ├── ConnectionFailed
        ├── ReadTimeout
        ├── StreamInterrupted     carries what had arrived
        ├── ResponseError         the answer could not be read
        └── SchemaError           the answer does not fit the schema; carries it

Facts travel as attributes, so nobody has to parse a message. No message holds a
key, a header, a prompt or the provider's own words; those words, cut short and
with the key struck out, are in ``provider_message``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any


class LLMError(Exception):
    """The root: catch this to catch everything that the package raises.

    :param message: says what is wrong and what to do about it.
    :param original_error: the exception of a lower layer, where there was one.
    :param facts: any of the attributes below.
    """

    title = "The language model call failed"
    """What a stranger may read: the title of the problem JSON."""
    http_status = 500
    """The status that the blueprint answers with."""
    is_retryable = False
    """Whether the very same call may succeed a little later."""
    code: str | None = None
    """A short machine-readable word; the provider's own where it gave one."""
    provider: str | None = None
    model: str | None = None
    request_id: str | None = None
    """Ours: the one in the ledger and in ``Completion.request_id``."""
    retry_after: float | None = None
    """Seconds to wait, where somebody said so."""
    attempts: int = 0
    """Requests that were sent, retries included."""
    usage: Any = None
    """A :class:`flask_llm.Usage` where tokens were spent all the same."""
    cost_usd: Decimal | None = None
    messages: tuple[Any, ...] = ()
    """From run_tools(): the history with what tools have answered, to go on with."""

    def __init__(
        self, message: str, original_error: BaseException | None = None, **facts: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.original_error = original_error
        for name, value in facts.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)


class ConfigError(LLMError):
    """The set-up is wrong or incomplete; the message names the setting and the cure."""

    title = "The language model is not set up"
    code = "config"


class LimitError(LLMError):
    """A limit of ours stopped the call; no provider was asked."""

    title = "A limit was reached"
    http_status = 429


class QuotaExceeded(LimitError):
    """A quota of calls is used up for now; ``retry_after`` says how long."""

    title = "Too many calls"
    code = "quota_exceeded"
    is_retryable = True


class BudgetExceeded(LimitError):
    """A budget has no room for this call."""

    title = "The budget is used up"
    http_status = 402
    code = "budget_exceeded"
    limit_usd: Decimal | None = None
    spent_usd: Decimal | None = None
    reserved_usd: Decimal | None = None
    """Held for calls that are under way."""
    resets_at: datetime | None = None
    """When the budget's next period begins."""


class UnknownPriceError(LimitError):
    """A budget is in force, and what the model costs is not known."""

    title = "The price of the language model is not known"
    http_status = 402
    code = "unknown_price"


class DeadlineExceeded(LimitError):
    """No slot came free, or no time was left, within the call's deadline."""

    title = "The language model could not be asked in time"
    http_status = 504
    code = "deadline_exceeded"
    is_retryable = True


class RoundsExceeded(LimitError):
    """The model still asks for tools after all its rounds; they were not run."""

    title = "The language model did not come to an end"
    http_status = 502
    code = "rounds_exceeded"
    completion: Any = None


class ProviderError(LLMError):
    """The provider refused, failed or could not be reached."""

    title = "The language model provider failed"
    http_status = 502

    status: int | None = None
    """The HTTP status that the provider answered with."""
    type: str | None = None
    """The provider's own word for the kind of error."""
    param: str | None = None
    """The request parameter that the provider complains of."""
    provider_message: str | None = None
    """The provider's own words, cut to 2,000 characters, the key struck out."""
    provider_request_id: str | None = None
    """The id to give to the provider's support."""
    should_retry: bool | None = None
    """The provider's explicit wish (``x-should-retry``), where it has one."""
    completion: Any = None
    """The :class:`flask_llm.Completion` as far as it came, with its tokens and cost."""

    @property
    def text(self) -> str:
        """The text of the answer as far as it came."""
        return self.completion.text if self.completion else ""


class AuthenticationError(ProviderError):
    """The key is missing, wrong or revoked."""

    title = "The language model provider refused our credentials"


class PermissionDeniedError(ProviderError):
    """The key is good but not for this: region, model, access programme."""

    title = "The language model provider denied access"


class NotFoundError(ProviderError):
    """No such model or no such path."""

    title = "The language model was not found"


class InvalidRequestError(ProviderError):
    """The request is wrong: seen here before sending, or by the provider."""

    title = "The language model request is invalid"
    http_status = 400


class ContextLengthExceeded(InvalidRequestError):
    """Prompt and answer together do not fit the model."""

    title = "The text is too long for the language model"


class UnsupportedParameter(InvalidRequestError):
    """The model does not take this option; ``param`` names it."""

    title = "The language model does not take this option"


class RequestTooLarge(InvalidRequestError):
    """The request has more bytes than the provider takes."""

    title = "The request is too large for the language model"
    http_status = 413


class ContentFilteredError(ProviderError):
    """The provider's safety rules refused the prompt, or the model to fit a schema."""

    title = "The language model provider refused the content"
    http_status = 422


class RateLimitError(ProviderError):
    """Too many requests or tokens for now; ``retry_after`` says how long."""

    title = "The language model provider is rate limiting us"
    http_status = 429
    is_retryable = True


class QuotaExhaustedError(ProviderError):
    """The account's credit or plan is used up; trying again does not help."""

    title = "The language model account is used up"
    http_status = 503


class OverloadedError(ProviderError):
    """The provider has no capacity at the moment."""

    title = "The language model provider is overloaded"
    http_status = 503
    is_retryable = True


class ServerError(ProviderError):
    """The provider broke."""

    is_retryable = True


class ConnectionFailed(ProviderError):
    """The provider could not be reached, or hung up in the middle."""

    title = "The language model provider could not be reached"
    code = "connection_failed"
    is_retryable = True


class ReadTimeout(ProviderError):
    """No answer within the deadline; the provider may do the work and bill it."""

    title = "The language model provider did not answer in time"
    http_status = 504
    code = "read_timeout"
    is_retryable = True


class StreamInterrupted(ProviderError):
    """The stream broke off after its first event."""

    title = "The language model's answer broke off"
    code = "stream_interrupted"


class ResponseError(ProviderError):
    """The provider answered with something that is no answer."""

    title = "The language model's answer could not be read"
    code = "unreadable_answer"


class SchemaError(ProviderError):
    """The answer does not fit the schema that was asked for."""

    title = "The language model's answer has the wrong shape"
    code = "schema_mismatch"
    problems: tuple[str, ...] = ()
    """What does not fit, place by place; a model class may quote the answer."""


def nearest(word: object, words: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the word most like this one, or nothing."""
    found = difflib.get_close_matches(str(word), list(words), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""
