"""Small servers of the tests' own, for what the emulator does not do."""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from urllib.parse import urlsplit

import pytest


class Server:
    """Hands each connection to a function, in a thread of its own."""

    def __init__(self, handle, tls, host, port):
        self.handle = handle
        self.tls = tls
        self.accepted = 0
        self.requests = []
        self.closing = threading.Event()
        self._listener = socket.create_server((host, port))
        self._connections = []
        scheme = "http" if tls is None else "https"
        self.port = self._listener.getsockname()[1]
        self.url = f"{scheme}://{host}:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection, thread in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)
        self._thread.join(5)

    def _accept(self):
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection = self.tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            thread = threading.Thread(
                target=self._serve, args=(connection,), daemon=True
            )
            self._connections.append((connection, thread))
            thread.start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), contextlib.closing(connection):
            if self.tls:
                connection.do_handshake()
            self.handle(self, connection)

    def read_request(self, connection):
        """Read one request, keep it, and return it; nothing where the client left."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65_536)
            if not piece:
                return b""
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += connection.recv(65_536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]


@contextlib.contextmanager
def serving(handle, *, tls=None, host="127.0.0.1", port=0):
    """Serve with ``handle(server, connection)``; yields the server.

    :param port: 0 takes a free one.
    """
    server = Server(handle, tls, host, port)
    try:
        yield server
    finally:
        server.close()


def answering(*answers):
    """Make a handler that gives each request the next answer, the last one for ever.

    An answer is bytes, or pieces: bytes to send and seconds to wait.
    """
    left = list(answers)

    def handle(server, connection):
        while server.read_request(connection):
            answer = left.pop(0) if len(left) > 1 else left[0]
            for piece in [answer] if isinstance(answer, bytes) else answer:
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                elif server.closing.wait(piece):
                    return

    return handle


def interrupt(server, connection):
    """Reset a connection as soon as the client has said something."""
    connection.recv(1)
    reset(server, connection)


def reset(server, connection):
    """Reset a connection, once it is closed, instead of ending it."""
    zero = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, zero)


def reply(body, *headers, status="200 OK"):
    """Write a whole answer of known length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunk(data):
    """Write a piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def relaying(url):
    """Make a handler that passes every byte on to another server."""
    where = urlsplit(url)

    def handle(server, connection):
        there = socket.create_connection((where.hostname, where.port))
        back = threading.Thread(target=_pass_on, args=(there, connection), daemon=True)
        back.start()
        _pass_on(connection, there)
        back.join(5)
        there.close()

    return handle


def _pass_on(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def deaf(host="127.0.0.1"):
    """Listen without ever picking up: the queue is full. Yields the URL."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server((host, 0), backlog=0))
        for _ in range(4):
            caller = opened.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", listener.getsockname()[1]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def names(look_up):
    """Have the system's resolver look names up that end in ``.test``.

    :param look_up: takes a name, and returns its addresses.
    """
    ask = socket.getaddrinfo

    def answer(host, port, *rest, **options):
        if not str(host).endswith(".test"):
            return ask(host, port, *rest, **options)
        kind = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        return [(*kind, (address, port)) for address in look_up(host)]

    socket.getaddrinfo = answer
    try:
        yield
    finally:
        socket.getaddrinfo = ask


@contextlib.contextmanager
def silent_names():
    """Have the resolver say nothing of such names as long as this lasts."""
    over = threading.Event()

    def look_up(host):
        over.wait(60)
        return []

    with names(look_up):
        try:
            yield
        finally:
            over.set()


def free_port():
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_certificate(folder, name):
    """Make a certificate that vouches for itself; return its file and its key's.

    :param name: whom it is for, as in ``DNS:pics.example``.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    paths = str(folder / "certificate.pem"), str(folder / "key.pem")
    about = ["-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
    files = ["-out", paths[0], "-keyout", paths[1]]
    kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([openssl, *kind, *about, *files], check=True, capture_output=True)
    return paths


def tls_context(certificate, key):
    """Make the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def wait_until(condition, seconds=5.0):
    """Wait for something to become true, and tell whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
