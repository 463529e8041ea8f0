"""Where the batch endpoints are found, and whose a path is that two providers have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask import Blueprint, Response, request

from flask_llm.emulator.dialect import Call
from flask_llm.emulator.door import Door
from flask_llm.emulator.steps import Plan

from .anthropic import MessageBatches
from .desk import Desk, House
from .google import InlineBatches
from .openai import FileBatches

Handler = Callable[..., Plan]


class Batches:
    """The batch endpoints of all three providers."""

    def __init__(self, house: House, door: Door) -> None:
        self._door = door
        self._openai = FileBatches(house)
        self._anthropic = MessageBatches(house)
        self._google = InlineBatches(house)

    def reset(self) -> None:
        """Forget all batches and files."""
        for desk in (self._openai, self._anthropic, self._google):
            desk.reset()

    def create_google(self, call: Call) -> Plan:
        """Make a batch of Google's, whose path is one of the model's."""
        return self._google.serve(self._google.create, call)

    def add_routes(self, blueprint: Blueprint) -> None:
        """Make the endpoints part of a blueprint."""
        self._add_openai(blueprint)
        self._add_anthropic(blueprint)
        self._add_shared(blueprint)

    def _add_openai(self, blueprint: Blueprint) -> None:
        desk = self._openai
        for path, handle, method in (
            ("/v1/files", desk.upload, "POST"),
            ("/v1/files/<ident>", desk.file, "GET"),
            ("/v1/files/<ident>", desk.delete_file, "DELETE"),
            ("/v1/files/<ident>/content", desk.content, "GET"),
            ("/v1/batches", desk.create, "POST"),
            ("/v1/batches/<ident>/cancel", desk.cancel, "POST"),
        ):
            self._add(blueprint, "openai", path, method, desk, handle)

    def _add_anthropic(self, blueprint: Blueprint) -> None:
        desk = self._anthropic
        root = "/v1/messages/batches"
        for path, handle, method in (
            (root, desk.create, "POST"),
            (root, desk.page, "GET"),
            (f"{root}/<ident>", desk.retrieve, "GET"),
            (f"{root}/<ident>", desk.delete, "DELETE"),
            (f"{root}/<ident>/results", desk.results, "GET"),
            (f"{root}/<ident>/cancel", desk.cancel, "POST"),
        ):
            self._add(blueprint, "anthropic", path, method, desk, handle)

    def _add_shared(self, blueprint: Blueprint) -> None:
        """Add Google's paths; two of them are OpenAI's as well."""
        google, openai = self._google, self._openai
        for version in ("v1", "v1beta"):
            root = f"/{version}/batches"
            one, name = f"{root}/<ident>", f"google_{version}"
            cancel = f"{one}:cancel"
            self._add(blueprint, name, cancel, "POST", google, google.cancel)
            self._add(blueprint, name, one, "DELETE", google, google.delete)
        rule = blueprint.add_url_rule
        rule("/v1beta/batches", "google_page", self._view(google, google.page))
        one = "/v1beta/batches/<ident>"
        rule(one, "google_one", self._view(google, google.retrieve))
        view = _either(self._view(google, google.page), self._view(openai, openai.page))
        rule("/v1/batches", "shared_page", view)
        view = _either(
            self._view(google, google.retrieve), self._view(openai, openai.retrieve)
        )
        rule("/v1/batches/<ident>", "shared_one", view)

    def _add(
        self,
        blueprint: Blueprint,
        provider: str,
        path: str,
        method: str,
        desk: Desk,
        handle: Handler,
    ) -> None:
        endpoint = f"{provider}_{handle.__name__}"
        view = self._view(desk, handle)
        blueprint.add_url_rule(path, endpoint, view, methods=[method])

    def _view(self, desk: Desk, handle: Handler) -> Callable[..., Response]:
        def view(**names: str) -> Response:
            bound = partial(handle, **names)
            return self._door.serve(partial(desk.serve, bound))

        return view


def _either(
    google: Callable[..., Response], openai: Callable[..., Response]
) -> Callable[..., Response]:
    """Ask whose key it is that a request brought."""

    def view(**names: str) -> Response:
        is_google = "x-goog-api-key" in request.headers or "key" in request.args
        return (google if is_google else openai)(**names)

    return view
