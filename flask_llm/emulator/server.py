"""Serve an app on a real socket for the length of a ``with`` block."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.types import WSGIApplication

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

_JOIN_SECONDS = 5.0


@contextlib.contextmanager
def serve(
    app: WSGIApplication, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve an app from a thread of its own; yields its base URL, without a slash.

    Connections stay alive between requests as HTTP/1.1 has it, requests are not
    logged, and at the end every connection is closed and every thread joined.

    :param port: 0 takes a free one.
    """
    server = _Server(host, port, app, _Handler)
    loop = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    loop.start()
    try:
        yield f"http://{host}:{server.port}"
    finally:
        server.shutdown()
        loop.join()
        server.close_connections()


class _Server(ThreadedWSGIServer):
    """Knows its connections, so that it can close those that hang on purpose."""

    def __init__(self, *args: Any) -> None:
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread that can be found again."""
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            daemon=True,
        )
        with self._lock:
            self._open[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection until it is closed, and forget it."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def close_connections(self) -> None:
        """Close what is open and wait for the threads to see it."""
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in left:
            thread.join(_JOIN_SECONDS)


class _Handler(WSGIRequestHandler):
    """Werkzeug's handler closes after each response; this one keeps the connection."""

    protocol_version = "HTTP/1.1"
    # Head and body go out in separate writes, and with Nagle's algorithm the second
    # would wait for the acknowledgement of the first on a connection that is reused.
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: tests and demonstrations make requests by the thousand."""

    def run_wsgi(self) -> None:
        """Run the app once on this connection."""
        self.environ = environ = self.make_environ()
        self._read_body(environ)
        exchange = _Exchange(self)
        try:
            result = self.server.app(environ, exchange.start_response)
            try:
                for data in result:
                    exchange.write(data)
                exchange.finish()
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _read_body(self, environ: dict[str, Any]) -> None:
        """Read the whole request, so that the next one begins where this one ends."""
        if environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
        else:
            body = self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["wsgi.input_terminated"] = True


class _Exchange:
    """One response: its head goes out with the first bytes, chunked if unsized."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._started = False
        self._length: int | None = None
        self._sent = 0

    def start_response(
        self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """Take status and headers, as WSGI has it."""
        self._head = (status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body, after the head if that has not gone yet."""
        if not self._started:
            self._send_head()
        if not data:
            return
        self._sent += len(data)
        if self._length is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._handler.wfile.write(data)

    def finish(self) -> None:
        """End the body; a connection whose body was not as announced is closed."""
        self.write(b"")
        if self._length is None:
            self._handler.wfile.write(b"0\r\n\r\n")
        elif self._sent != self._length:
            self._handler.close_connection = True

    def _send_head(self) -> None:
        if self._head is None:
            raise RuntimeError("the app wrote before it called start_response")
        self._started = True
        status, headers = self._head
        code, _, reason = status.partition(" ")
        self._handler.send_response(int(code), reason)
        for name, value in headers:
            self._handler.send_header(name, value)
            if name.lower() == "content-length":
                self._length = int(value)
        bodiless = self._handler.command == "HEAD" or code in {"204", "304"}
        if bodiless:
            self._length = 0  # whatever length the answer to a GET would have
        elif self._length is None:
            self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()
