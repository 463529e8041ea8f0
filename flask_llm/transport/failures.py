"""The errors of requests and urllib3 in our own words, stripped of the request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import requests
from urllib3 import exceptions as urllib3_errors

from flask_llm.errors import (
    ConnectionFailed,
    ProviderError,
    ReadTimeout,
    ResponseError,
)
from flask_llm.transport.connection import current


def too_late() -> NoReturn:
    """Say that the deadline has passed."""
    raise ReadTimeout("No whole answer came within the deadline.")


@contextmanager
def named_errors(*, began: bool = False) -> Iterator[None]:
    """Turn the errors of requests and urllib3 into ours, stripped of the request.

    :param began: the answer had begun, so that the call may have been billed and is
        not to be sent again by itself.
    """
    try:
        yield
    except (requests.ConnectionError, urllib3_errors.ProtocolError) as error:
        failure = connection_failed(error, began=began)
    except (requests.Timeout, urllib3_errors.ReadTimeoutError) as error:
        failure = _timed_out(error)
    except urllib3_errors.DecodeError as error:
        failure = ResponseError("The answer is wrongly compressed.", _stripped(error))
    except (requests.RequestException, urllib3_errors.HTTPError) as error:
        failure = ConnectionFailed(
            f"The request could not be sent: {type(error).__name__}.", _stripped(error)
        )
    else:
        return
    raise failure


_CAUSES = (
    (urllib3_errors.NameResolutionError, "dns_failed", "its name is not known"),
    (urllib3_errors.NewConnectionError, "connect_refused", "it refused the connection"),
    (urllib3_errors.ConnectTimeoutError, "connect_timeout", "it did not pick up"),
    (urllib3_errors.SSLError, "tls_failed", "its certificate or TLS is not accepted"),
    (urllib3_errors.ProxyError, "proxy_failed", "the proxy failed"),
)


def _timed_out(error: Exception) -> ProviderError:
    return ReadTimeout(
        "No answer came within the deadline; the provider may bill it anyway.",
        _stripped(error),
    )


def connection_failed(error: Exception, *, began: bool) -> ProviderError:
    """Say how a connection failed.

    :param began: the answer had begun.
    """
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", inner)
    if isinstance(reason, urllib3_errors.ProtocolError) and isinstance(
        reason.args[-1], TimeoutError
    ):
        return _timed_out(error)  # while the request was sent
    code, words = "connection_reset", "it hung up"
    for kind, its_code, its_words in _CAUSES:
        if isinstance(reason, kind):
            code, words = its_code, its_words
            break
    if began:
        code, words = "answer_cut", "it hung up in the middle of the answer"
    failure = ConnectionFailed(
        f"The provider could not be reached: {words}.", _stripped(error), code=code
    )
    # A line that was kept may have been closed before the request came; on a new one
    # the provider has read it, and may be at work.
    sent = code == "connection_reset" and current.fresh
    if began or sent or code == "tls_failed":
        failure.should_retry = False
    return failure


def _stripped(error: Exception) -> Exception:
    """Take away what leads to the request and the line, whose headers hold the key.

    A line through a proxy has credentials of its own.
    """
    for inner in (*error.args, *vars(error).values()):
        if isinstance(inner, Exception):
            _stripped(inner)
    for name in {"request", "response", "pool", "conn"} & vars(error).keys():
        setattr(error, name, None)
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
