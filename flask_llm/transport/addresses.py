"""Which addresses are the public internet's, and the names that lead there."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

Resolve = Callable[[str, int], list[str]]
"""Returns all addresses of a name; raises OSError where it has none."""

IsPublic = Callable[[str], bool]
"""Tells of an address whether it may be connected to."""


class RefusedError(Exception):
    """Why a URL is not fetched, as the second half of a sentence about its host."""


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for all addresses of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def resolve_within(ask: Resolve, host: str, port: int, seconds: float) -> list[str]:
    """Ask for all addresses of a name, and wait no longer than some seconds.

    The system's resolver knows no deadline, and whoever answers for a name may take
    their time: the thread that asks is left behind.

    :raises OSError: where the name has none, or none in time.
    """
    found: list[list[str]] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.append(ask(host, port))
        except (OSError, UnicodeError) as error:
            failed.append(OSError(*error.args))

    asking = threading.Thread(target=look_up, name="flask_llm_dns", daemon=True)
    asking.start()
    asking.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


_NOT_PUBLIC_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "100.64.0.0/10",  # behind carriers' NAT; Alibaba's metadata
            "168.63.129.16/32",  # the host of a virtual machine at Azure
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata
            "192.88.99.0/24",  # relays of 6to4
        ),
    )
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # Teredo and other protocol assignments
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: any IPv4 address may be inside
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def is_public(address: str) -> bool:
    """Tell whether an address is a host's on the public internet.

    IPv4 inside IPv6 counts by what is inside where that is how hosts without IPv6 are
    reached (mapped, NAT64); 6to4, Teredo and ISATAP are past, and refused. What Python
    calls global has changed over its versions, so the ranges that matter are named.

    Source: IANA's registries of special-purpose addresses (RFC 6890), RFC 6052.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_public_4(found)
    return _is_public_6(found)


def _is_public_4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NOT_PUBLIC_4)
    )


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    inside = address.ipv4_mapped
    if address in _NAT64:
        inside = IPv4Address(int(address) & 0xFFFF_FFFF)
    if inside is not None:
        return _is_public_4(inside)
    return (
        address in _PUBLIC_6
        and address.is_global
        and not any(address in network for network in _NOT_PUBLIC_6)
        and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
    )


_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_HOST_LENGTH_MAX = 253


def literal(host: str) -> str | None:
    """Return the address that a host is written as; None for a name.

    One that ends in a number is an address to many resolvers (``127.1``,
    ``0x7f000001``, ``017700000001``), so it must be one in four decimal numbers.

    :raises RefusedError: where it is neither.
    """
    labels = host.split(".")
    try:
        if ":" in host:
            return str(IPv6Address(host))
        if _NUMBER.fullmatch(labels[-1]):
            return str(IPv4Address(host))
    except ValueError:
        raise RefusedError("is no address as they are usually written") from None
    if not host.isascii():
        raise RefusedError("is not written in ASCII: write it as xn--…")
    if len(host) > _HOST_LENGTH_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise RefusedError("is no name of a host")
    if len(labels) == 1:
        raise RefusedError("is a name of the local network")
    return None
