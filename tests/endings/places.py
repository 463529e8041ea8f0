"""Addresses where there is something else than a provider. Each is a context manager
that takes what it needs by name and yields a base URL."""

import contextlib

import sockets


@contextlib.contextmanager
def nobody(**_):
    """Nobody listens."""
    yield f"http://127.0.0.1:{sockets.free_port()}"


@contextlib.contextmanager
def nameless(**_):
    """A name that nobody knows, nor ever will (RFC 2606)."""
    yield "http://nobody.invalid"


@contextlib.contextmanager
def unheard_of(**_):
    """A name of which the resolver says nothing."""
    with sockets.silent_names():
        yield "http://provider.test"


@contextlib.contextmanager
def unvouched(*, tls, **_):
    """A certificate that nobody vouches for."""
    with sockets.serving(sockets.answering(b""), tls=tls) as server:
        yield server.url


@contextlib.contextmanager
def mute(**_):
    """Connections are taken, and no TLS is ever spoken."""
    with sockets.serving(lambda server, _: server.closing.wait(60)) as server:
        yield server.url.replace("http:", "https:")


@contextlib.contextmanager
def deaf(**_):
    """Connections are not taken."""
    with sockets.deaf() as url:
        yield url


@contextlib.contextmanager
def curt(**_):
    """Connections are reset within the handshake of TLS."""
    with sockets.serving(sockets.interrupt) as server:
        yield server.url.replace("http:", "https:")
