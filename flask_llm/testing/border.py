"""The border below requests, where nothing gets past without a word."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from responses import BaseResponse, CallbackResponse, PassthroughResponse, RequestsMock
from responses.registries import FirstMatchRegistry

from flask_llm.transport.connection import current

Respond = Callable[[requests.PreparedRequest], Any]
"""Returns what a callback of ``responses`` returns, or None to let a request out."""


class Border:
    """Takes the place of the network for ``requests`` in all threads.

    :param model: answers the requests of this package, or lets one out.
    :param stranger: answers what else the app sends and nobody has mocked.
    :param back: told the answer to one that was let out.
    """

    def __init__(
        self,
        model: Respond,
        stranger: Respond,
        back: Callable[[requests.Response], object],
    ) -> None:
        self._model = model
        self._stranger = stranger
        self._back = back
        self.http: RequestsMock | None = None
        self._let_out: set[int] = set()

    def __enter__(self) -> None:
        # A mock that is active already gets what is not ours.
        self.http = RequestsMock(
            assert_all_requests_are_fired=False,
            response_callback=self._came_back,
            registry=_Registry,
            real_adapter_send=HTTPAdapter.send,
        )
        registry = cast("_Registry", self.http.get_registry())
        registry.model, registry.stranger = self._ours, self._stranger
        registry.outer = HTTPAdapter.send.__qualname__ != "HTTPAdapter.send"
        self.http.start()

    def __exit__(self, *exception: object) -> None:
        if self.http is not None:
            self.http.stop()

    def _ours(self, request: requests.PreparedRequest) -> Any:
        answer = self._model(request)
        if answer is None:
            self._let_out.add(id(request))
        return answer

    def _came_back(self, response: requests.Response) -> requests.Response:
        if id(response.request) in self._let_out:
            self._let_out.remove(id(response.request))
            self._back(response)
        return response


class _Registry(FirstMatchRegistry):
    """Sorts requests: ours, those that the test has mocked, and all others."""

    model: Respond
    stranger: Respond
    outer: bool
    """Whether another mock stands behind this one."""

    def find(
        self, request: requests.PreparedRequest
    ) -> tuple[BaseResponse | None, list[str]]:
        """Return what answers a request."""
        if current.retry is not None:
            return _answered(request, self.model), []
        found, reasons = super().find(request)
        if found is None and not self.outer and not _stays_here(request):
            found = _answered(request, self.stranger)
        return found or PassthroughResponse(request.method, request.url), reasons


def _answered(request: requests.PreparedRequest, respond: Respond) -> BaseResponse:
    method, url = str(request.method), str(request.url)
    try:
        answer = respond(request)
    except Exception as error:  # noqa: BLE001 - raised where the request was sent
        answer = error
    if answer is None:
        return PassthroughResponse(method, url)
    return CallbackResponse(method, url, lambda _: answer, content_type=None)


def _stays_here(request: requests.PreparedRequest) -> bool:
    """Tell whether a request goes to this very machine."""
    host = urlsplit(str(request.url)).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
