"""What is fetched for prompts, over real sockets, and every way past the guard."""

import contextlib
import gzip
import ipaddress
import socket
import time
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sockets import (
    answering,
    chunk,
    free_port,
    make_certificate,
    reply,
    serving,
    tls_context,
)

from flask_llm.errors import DeadlineExceeded, InvalidRequestError
from flask_llm.retry import Deadline
from flask_llm.transport import Fetcher
from flask_llm.transport.addresses import is_public
from flask_llm.transport.fetch import REDIRECTS_MAX

PUBLIC = "127.8.8.8"
"""Stands in for an address of the public internet, as the tests' rule has it."""

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
PDF = b"%PDF-1.7\n"
SECRET = "signature=5ec7e7"


def public(address):
    """The real rule, and one exception."""
    return address == PUBLIC or is_public(address)


class Names:
    """A resolver that gives a name's answers one after the other, the last for ever."""

    def __init__(self, **answers):
        self.asked = []
        self._answers = {
            name.replace("_", "."): list(found) for name, found in answers.items()
        }

    def __call__(self, host, port):
        self.asked.append((host, port))
        answers = self._answers.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def names():
    return Names(pics_example=[[PUBLIC]], other_example=[[PUBLIC]])


def fetcher_for(server, resolve=None, **options):
    return Fetcher(
        resolve=resolve or names(),
        is_public=public,
        ports={server.port},
        environ={},
        **options,
    )


def fetched(handle, path="/cat.png", *, seconds=5.0, **options):
    """Fetch from a server of its own; return it and what came."""
    with serving(handle, host=PUBLIC) as server:
        url = f"http://pics.example:{server.port}{path}?{SECRET}"
        return server, fetcher_for(server).fetch(url, Deadline(seconds), **options)


def refused(handle, **options):
    """Fetch what is refused; return the server and what the error says."""
    with serving(handle, host=PUBLIC) as server:
        return server, refusal_of(server, **options)


def refusal_of(server, url=None, *, resolve=None, seconds=5.0, **options):
    url = url or f"http://pics.example:{server.port}/cat.png?{SECRET}"
    with pytest.raises(InvalidRequestError) as caught:
        fetcher_for(server, resolve).fetch(url, Deadline(seconds), **options)
    assert caught.value.code == "not_fetched"
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


def moved(to, status="302 Found"):
    return reply(b"", f"Location: {to}", status=status)


# --- What comes, and what is sent ------------------------------------------------

KINDS = {
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe0",
    "gif": b"GIF89a",
    "webp": b"RIFF\0\0\0\0WEBPVP8 ",
    "pdf": PDF,
}


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("declared", ["image/png", "text/html"])
def test_images_and_pdfs_are_told_by_their_bytes(data, declared):
    _, found = fetched(answering(reply(data, f"Content-Type: {declared}")))

    assert found == data


def test_request_says_nothing_of_us(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password hunter2")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    server, found = fetched(answering(reply(PNG)))

    (request,) = server.requests
    head, *lines = request.decode().strip().split("\r\n")
    assert found == PNG
    assert head == f"GET /cat.png?{SECRET} HTTP/1.1"
    assert sorted(lines) == [
        "Accept-Encoding: identity",
        "Accept: image/jpeg, image/png, image/gif, image/webp, application/pdf",
        f"Host: pics.example:{server.port}",
        "User-Agent: Mozilla/5.0 (compatible)",
    ]


def test_cookies_are_neither_kept_nor_sent():
    onward = reply(b"", "Location: /b", "Set-Cookie: a=b", status="302 Found")

    server, _ = fetched(answering(onward, reply(PNG)))

    assert len(server.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


@pytest.mark.parametrize(
    ("coding", "data"),
    [("gzip", gzip.compress(PNG, mtime=0)), ("deflate", zlib.compress(PNG))],
)
def test_body_that_is_compressed_unasked_is_read(coding, data):
    _, found = fetched(answering(reply(data, f"Content-Encoding: {coding}")))

    assert found == PNG


def test_next_address_is_tried_where_one_does_not_answer():
    resolve = Names(pics_example=[["127.8.8.9", PUBLIC]])

    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        fetcher = Fetcher(
            resolve=resolve,
            is_public=lambda address: address.startswith("127.8.8."),
            ports={server.port},
        )
        url = f"http://pics.example:{server.port}/"
        assert fetcher.fetch(url, Deadline(5)) == PNG

    assert len(resolve.asked) == 1


# --- TLS -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "DNS:pics.example")


@pytest.fixture
def over_tls(certificate):
    """Serve by TLS; yields server, fetcher and the names that clients asked for."""

    @contextlib.contextmanager
    def over_tls(*answers):
        context = tls_context(*certificate)
        asked = []
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        with serving(answering(*answers), tls=context, host=PUBLIC) as server:
            fetcher = Fetcher(
                resolve=names(),
                is_public=public,
                ports={server.port},
                environ={"REQUESTS_CA_BUNDLE": certificate[0]},
            )
            yield server, fetcher, asked

    return over_tls


def test_certificate_is_held_against_the_name_and_not_the_address(over_tls):
    with over_tls(reply(PNG)) as (server, fetcher, asked):
        found = fetcher.fetch(f"https://pics.example:{server.port}/", Deadline(5))

    assert found == PNG
    assert asked == ["pics.example"]
    assert f"Host: pics.example:{server.port}".encode() in server.requests[0]


def test_certificate_of_another_name_is_refused(over_tls):
    with (
        over_tls(reply(PNG)) as (server, fetcher, _),
        pytest.raises(InvalidRequestError, match=r"other\.example has a certificate"),
    ):
        fetcher.fetch(f"https://other.example:{server.port}/", Deadline(5))

    assert server.requests == []


def test_certificate_that_nobody_vouches_for_is_refused(certificate):
    with serving(
        answering(reply(PNG)), tls=tls_context(*certificate), host=PUBLIC
    ) as server:
        words = refusal_of(server, f"https://pics.example:{server.port}/")

    assert "certificate" in words
    assert server.requests == []


def test_redirect_from_https_to_http_is_refused(over_tls):
    with (
        over_tls(moved("http://pics.example/cat.png")) as (server, fetcher, _),
        pytest.raises(InvalidRequestError, match="from https"),
    ):
        fetcher.fetch(f"https://pics.example:{server.port}/", Deadline(5))

    assert len(server.requests) == 1


def test_redirect_from_http_to_https_is_followed(over_tls, certificate):
    with over_tls(reply(PNG)) as (secure, _, asked):
        to = f"https://pics.example:{secure.port}/"
        with serving(answering(moved(to)), host=PUBLIC) as plain:
            fetcher = Fetcher(
                resolve=names(),
                is_public=public,
                ports={plain.port, secure.port},
                environ={"CURL_CA_BUNDLE": certificate[0]},
            )
            found = fetcher.fetch(f"http://pics.example:{plain.port}/", Deadline(5))

    assert found == PNG
    assert asked == ["pics.example"]


# --- Where it may not go ---------------------------------------------------------

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2a00:1450::5efe:7f00:1",
    "2a00:1450::200:5efe:a9fe:a9fe",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "2a00:1450::1%1",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_address_that_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_address_that_is_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("100.64.0.1"))
def test_no_ipv4_address_is_public_that_python_knows_otherwise(address):
    special = (
        not address.is_global
        or address.is_private
        or address.is_multicast
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )

    assert not (is_public(str(address)) and special)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_public_that_python_knows_otherwise(address):
    translated = address in ipaddress.IPv6Network("64:ff9b::/96")
    special = (
        not address.is_global
        or address.is_private
        or address.is_multicast
        or address.is_link_local
        or address.is_site_local
        or address.is_reserved
        or address.sixtofour is not None
        or address.teredo is not None
    )

    assert (
        translated or address.ipv4_mapped or not (is_public(str(address)) and special)
    )


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:", "64:ff9b::"]))
def test_ipv4_inside_ipv6_is_as_public_as_it_is_outside(address, prefix):
    assert is_public(f"{prefix}{address}") == is_public(str(address))


@given(st.ip_addresses(v=4))
def test_ways_of_old_from_ipv6_to_ipv4_are_closed(address):
    number = int(address)
    sixtofour = ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)
    teredo = ipaddress.IPv6Address((0x2001_0000 << 96) | (number ^ 0xFFFFFFFF))
    compatible = ipaddress.IPv6Address(number)
    isatap = ipaddress.IPv6Address((0x2A00 << 112) | (0x5EFE << 32) | number)

    assert not any(map(is_public, map(str, (sixtofour, teredo, compatible, isatap))))


@pytest.mark.parametrize("address", PRIVATE[:-2])
def test_name_that_leads_to_a_private_address_is_refused(address):
    with serving(answering(reply(PNG)), host="127.0.0.1") as server:
        words = refusal_of(server, resolve=Names(pics_example=[[address]]))

    assert "pics.example is not on the public internet" in words
    assert server.accepted == 0


def test_error_does_not_tell_a_name_of_the_inside_from_none():
    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        inside = refusal_of(server, resolve=Names(pics_example=[["10.0.0.7"]]))
        nowhere = refusal_of(server, resolve=Names())

    assert inside == nowhere


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    resolve = Names(pics_example=[[PUBLIC, "127.0.0.1"]])

    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        refusal_of(server, resolve=resolve)

    assert server.accepted == 0


def test_name_is_resolved_once_and_what_was_checked_is_connected_to():
    rebinding = Names(pics_example=[[PUBLIC], ["127.0.0.1"]])

    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        url = f"http://pics.example:{server.port}/"
        found = fetcher_for(server, rebinding).fetch(url, Deadline(5))

    assert found == PNG
    assert rebinding.asked == [("pics.example", server.port)]


def test_name_that_changes_its_mind_between_redirects_is_refused():
    rebinding = Names(pics_example=[[PUBLIC], ["127.0.0.1"]])
    gone = reply(b"", "Location: /b", "Connection: close", status="302 Found")

    with serving(answering(gone), host=PUBLIC) as server:
        words = refusal_of(server, resolve=rebinding)

    assert "is not on the public internet" in words
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1\u3002",
        "127.0.0.\uff11",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:169.254.169.254]",
        "[fe80::1%25lo]",
        "[fd00:ec2::254]",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "metadata",
        "pics",
        "bücher.example",
        "\uff50ics.example",
        "%31%32%37.0.0.1",
        "pics_example..",
        ".pics.example",
        "pics..example",
        "-pics.example",
        "pics.example:abc",
        "pics.example:0x50",
        "pics.example:-1",
        "pics.example:99999",
        "pics.example:22",
        "pics.example:6379",
        "ann@pics.example",
        "ann:hunter2@pics.example",
        "pics.example@127.0.0.1",
        "127.0.0.1\\@pics.example",
        "pics.example\\.other.example",
        "pics.example\t",
        "pics.exam\nple",
        "pics.example /",
        "a" * 64 + ".example",
        "a." * 130 + "example",
        "",
        "[::1",
        "unknown.example",
    ],
)
def test_host_that_is_a_trick_is_refused(host):
    with serving(answering(reply(PNG)), host="127.0.0.1") as server:
        port = "" if ":" in host.rpartition("]")[2] else f":{server.port}"
        words = refusal_of(server, f"http://{host}{port}/?{SECRET}")

    assert "hunter2" not in words
    assert server.accepted == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://pics.example/cat.png",
        "file:///etc/passwd",
        "gopher://pics.example/_x",
        "javascript:alert(1)",
        "//pics.example/cat.png",
        "/etc/passwd",
        "http:pics.example",
        "http:///cat.png",
        " http://pics.example/",
        "",
    ],
)
def test_what_is_no_web_address_is_refused(url):
    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        refusal_of(server, url or " ")

    assert server.accepted == 0


@pytest.mark.parametrize("port", [80, 443])
def test_ports_of_the_web_are_the_only_ones(port):
    resolve = Names(pics_example=[["192.168.0.1"]])

    def asked(number):
        with pytest.raises(InvalidRequestError) as caught:
            Fetcher(resolve=resolve).fetch(
                f"http://pics.example:{number}/", Deadline(5)
            )
        return str(caught.value)

    assert "is not on the public internet" in asked(port)
    assert "at port 8080, which is not allowed" in asked(8080)
    assert resolve.asked == [("pics.example", port)]


# --- Redirects -------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed_to_another_host(status):
    resolve = names()

    with serving(None, host=PUBLIC) as server:
        to = f"http://other.example:{server.port}/b?c"
        server.handle = answering(moved(to, f"{status} Moved"), reply(PNG))
        url = f"http://pics.example:{server.port}/a"
        found = fetcher_for(server, resolve).fetch(url, Deadline(5))

    assert found == PNG
    assert [host for host, _ in resolve.asked] == ["pics.example", "other.example"]
    assert server.requests[1].startswith(b"GET /b?c HTTP/1.1\r\nHost: other.example:")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "0x7f000001",
        "localhost",
        "inside.example",
        "ann:hunter2@pics.example",
    ],
)
def test_redirect_to_where_it_may_not_go_is_refused(host):
    resolve = Names(pics_example=[[PUBLIC]], inside_example=[["192.168.0.7"]])

    with serving(None, host=PUBLIC) as server:
        server.handle = answering(moved(f"http://{host}:{server.port}/"))
        words = refusal_of(server, resolve=resolve)

    assert "hunter2" not in words
    assert len(server.requests) == 1


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://pics.example/", "data:,x"])
def test_redirect_away_from_the_web_is_refused(to):
    _, words = refused(answering(moved(to)))

    assert "is not given by http or https" in words


def test_redirect_to_another_port_is_refused():
    _, words = refused(answering(moved("http://pics.example:22/")))

    assert "at port 22" in words


def test_redirects_in_a_circle_come_to_an_end():
    server, words = refused(answering(moved("/cat.png")))

    assert "redirects more than 3 times" in words
    assert len(server.requests) == REDIRECTS_MAX + 1


# --- Bodies ----------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
KB = 1024


def endless(server, connection):
    server.read_request(connection)
    connection.sendall(CHUNKED + chunk(PNG))
    while not server.closing.is_set():
        connection.sendall(chunk(bytes(64 * KB)))


def test_endless_body_is_cut_off():
    _, words = refused(endless, max_bytes=256 * KB)

    assert "has more than the 262,144 bytes" in words


def test_declared_length_is_believed_before_anything_is_read():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"
    began = time.monotonic()

    _, words = refused(answering([head + PNG, 60.0]))

    assert "has more than the 15,728,640 bytes" in words
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bomb_goes_off_outside(coding):
    pack = gzip.compress if coding == "gzip" else zlib.compress
    bomb = pack(PNG + bytes(200 * KB * KB))

    _, words = refused(
        answering(reply(bomb, f"Content-Encoding: {coding}")), max_bytes=256 * KB
    )

    assert len(bomb) < 256 * KB
    assert "has more than" in words


@pytest.mark.parametrize("rest", [b"x", gzip.compress(PDF)], ids=["junk", "member"])
def test_what_follows_a_compressed_body_is_not_swallowed(rest):
    def handle(server, connection):
        server.read_request(connection)
        head = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        connection.sendall(head + chunk(gzip.compress(PNG)))
        while not server.closing.is_set():
            connection.sendall(chunk(rest))

    _, words = refused(handle)

    assert "wrongly compressed" in words


def test_body_that_just_fits_is_taken():
    data = PNG + bytes(64 * KB - len(PNG))

    _, found = fetched(answering(reply(data)), max_bytes=64 * KB)

    assert len(found) == 64 * KB


def test_body_that_is_one_byte_too_long_is_not():
    pieces = [CHUNKED + chunk(PNG + bytes(64 * KB + 1 - len(PNG))), b"0\r\n\r\n"]

    _, words = refused(answering(pieces), max_bytes=64 * KB)

    assert "has more than" in words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(b"<html>Log in</html>", "Content-Type: image/png"), "none of image/"),
        (reply(b"<svg/>", "Content-Type: image/svg+xml"), "none of image/"),
        (reply(b"ID3\x04"), "none of image/"),
        (reply(b""), "none of image/"),
        (reply(PNG, status="404 Not Found"), "answered with status 404"),
        (reply(PNG, status="206 Partial Content"), "answered with status 206"),
        (reply(PNG, status="302 Found"), "answered with status 302"),
        (reply(PNG, status="500 Oops"), "answered with status 500"),
        (reply(PNG, "Content-Encoding: br"), "in an unknown way"),
        (reply(PNG, "Content-Encoding: gzip"), "wrongly compressed"),
        (
            reply(gzip.compress(PNG, mtime=0)[:-9], "Content-Encoding: gzip"),
            "wrongly compressed",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "could not be read"),
    ],
)
def test_answer_that_is_no_file_is_refused(answer, words):
    def once(server, connection):
        server.read_request(connection)
        connection.sendall(answer)

    _, found = refused(once)

    assert words in found
    assert "pics.example" in found


def test_body_that_breaks_off_is_refused():
    def cut(server, connection):
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + PNG)

    _, words = refused(cut)

    assert "could not be read, or hung up" in words


def test_server_that_does_not_answer_is_refused():
    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        port = server.port
    fetcher = Fetcher(resolve=names(), is_public=public, ports={port})

    with pytest.raises(InvalidRequestError, match="could not be connected to"):
        fetcher.fetch(f"http://pics.example:{port}/", Deadline(5))


# --- Time ------------------------------------------------------------------------


def trickling(*pieces, every=0.05):
    def handle(server, connection):
        server.read_request(connection)
        for piece in pieces[:-1]:
            connection.sendall(piece)
        while not server.closing.wait(every):
            connection.sendall(pieces[-1])

    return handle


SLOW = {
    "silence": answering([60.0]),
    "head": trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": trickling(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "body": trickling(CHUNKED + chunk(PNG), chunk(b"x")),
}


@pytest.mark.parametrize("handle", SLOW.values(), ids=SLOW)
def test_what_trickles_is_over_by_the_deadline(handle):
    began = time.monotonic()

    with serving(handle, host=PUBLIC) as server:
        url = f"http://pics.example:{server.port}/?{SECRET}"
        with pytest.raises(DeadlineExceeded, match=r"pics\.example took") as caught:
            fetcher_for(server).fetch(url, Deadline(0.4))

    assert SECRET not in str(caught.value)
    assert time.monotonic() - began < 2


def test_a_slow_file_does_not_take_the_time_of_the_whole_call():
    with serving(SLOW["body"], host=PUBLIC) as server:
        fetcher = fetcher_for(server, seconds_max=0.3)
        with pytest.raises(InvalidRequestError, match=r"pics\.example took too long"):
            fetcher.fetch(f"http://pics.example:{server.port}/", Deadline(30))


def test_resolver_that_takes_its_time_is_not_waited_for():
    def slow(host, port):
        time.sleep(2)
        return [PUBLIC]

    began = time.monotonic()

    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        url = f"http://pics.example:{server.port}/"
        with pytest.raises(DeadlineExceeded):
            fetcher_for(server, slow).fetch(url, Deadline(0.2))

    assert time.monotonic() - began < 1.5
    assert server.accepted == 0


def test_nothing_is_asked_once_the_time_is_over():
    resolve = names()

    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        url = f"http://pics.example:{server.port}/"
        with pytest.raises(DeadlineExceeded):
            fetcher_for(server, resolve).fetch(url, Deadline(0))

    assert resolve.asked == []
