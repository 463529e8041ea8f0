"""Files that are given by URL to providers that do not fetch them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flask_llm.chat import File, Image, Message, Part, Prompt, ToolResult
from flask_llm.client.job import Job
from flask_llm.errors import InvalidRequestError
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import Provider
from flask_llm.transport import BYTES_MAX, Fetcher
from flask_llm.wire import Call


def rendered(
    prompt: Prompt, provider: Provider, *, streamed: bool
) -> tuple[Call, Call | None]:
    """Return a prompt's request, and it without streaming where the answer is kept.

    Files that are yet to be fetched are left empty: whatever else is wrong with the
    prompt shows before anything is fetched.
    """
    protocol = PROTOCOLS[provider.protocol]
    urls = _wanted(prompt, provider)
    if urls:
        prompt = _changed(
            prompt, lambda media: _empty(media) if media.url in urls else media
        )
    call = protocol.render(prompt, provider, stream=streamed)
    if not prompt.cache:
        return call, None
    if not streamed:
        return call, call
    return call, protocol.render(prompt, provider, stream=False)


def fetch(job: Job, fetcher: Fetcher) -> None:
    """Fetch what the provider does not, and write the job's request with it.

    The bytes are part of the request from then on: of the key that its answer is kept
    under, and of what it may cost. Each URL is fetched once in a call; a call that has
    fetched anything counts against quotas, however it ends, since failing ones would
    else be free.

    :raises InvalidRequestError: where a file may not be fetched or cannot be used.
    :raises DeadlineExceeded: where there is no time left for it.
    """
    prompt = job.prompt
    if not isinstance(prompt, Prompt):
        return
    urls = _wanted(prompt, job.provider)
    if not urls:
        return
    job.taken.clear()
    for url in urls - job.files.keys():
        left = BYTES_MAX - sum(map(len, job.files.values()))
        job.files[url] = fetcher.fetch(url, job.deadline, max_bytes=left)
    job.prompt = _changed(
        prompt,
        lambda media: (
            _filled(media, job.files[media.url]) if media.url in urls else media
        ),
    )
    job.call, job.cached_call = rendered(
        job.prompt, job.provider, streamed=job.streamed
    )


def check_given(prompt: Prompt, provider: Provider, where: str) -> None:
    """See that nothing would have to be fetched, where nothing is.

    :param where: what does not fetch.
    :raises InvalidRequestError: naming the cure.
    """
    if _wanted(prompt, provider):
        raise InvalidRequestError(
            f"{where} fetches no URLs: give the bytes of the file (data=…).",
            code="not_fetched",
        )


def _wanted(prompt: Prompt, provider: Provider) -> set[str]:
    """Return the URLs that are to be fetched here."""
    protocol = PROTOCOLS[provider.protocol]
    return {
        media.url
        for message in prompt.messages
        for media in message.media
        if media.url is not None
        and (media.fetch or prompt.fetch)
        and not protocol.takes_url(media, provider)
    }


Change = Callable[[Image | File], Image | File]


def _changed(prompt: Prompt, change: Change) -> Prompt:
    """Return a prompt with other images and files."""
    messages = [
        Message(
            message.role,
            [_part(part, change) for part in message.content],
            message.provider_state,
        )
        if message.media
        else message
        for message in prompt.messages
    ]
    return replace(prompt, messages=tuple(messages))


def _part(part: Part, change: Change) -> Part:
    match part:
        case Image() | File():
            return change(part)
        case ToolResult():
            return replace(part, media=tuple(map(change, part.media)))
    return part


def _empty(media: Image | File) -> Image | File:
    return replace(media, url=None, data=b"", media_type="image/png", fetch=False)


def _filled(media: Image | File, data: bytes) -> Image | File:
    found = media.fetched(data)
    if isinstance(media, Image) and not (found.media_type or "").startswith("image/"):
        raise InvalidRequestError(
            f"What the URL of an Image led to is {found.media_type}: give it as a "
            "File(url=…).",
            code="not_fetched",
        )
    return found
