"""Bytes and JSON values that are nearly what they were."""

import json

WORDS = [
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n\r\n", b'"', b"{", b"]",
    b"null", b"NaN", b"-Infinity", b"1e400", b"-1", b"9" * 400, b"9" * 5000, b"\\ud83d",
    b"data: ", b"data:", b"event: error\n", b"[" * 3000, b'{"a":' * 3000, b"%00", b"+",
    "\u0663\u2028\u00e9".encode(), b"../..", b"//example.com", b"=", b"&", b"a" * 9000,
]  # fmt: skip
"""What parsers stumble over."""

VALUES = [
    None, True, False, 0, -1, 1.5, 1e308, float("inf"), float("nan"), 10**30, 10**400,
    "", "x", "\x00", "\ud800", "9" * 400, "NaN", "1e999", "2026-11-23T12:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], {}, [None], [[]],
    {"": None}, {"type": "text", "text": 5}, [{"type": []}], ["a"], [1e400], "a" * 9000,
]  # fmt: skip
"""What stands where something else should."""


def changed(chance, seeds):
    """Change one of some seeds, as bytes, or as JSON where it is that."""
    data = chance.choice(seeds)
    for _ in range(chance.randint(0, 4)):
        value = _json(data)
        if value is not None and chance.random() < 0.7:
            data = _written(damaged(chance, value))
        else:
            data = spliced(chance, data, seeds)
    return data


def spliced(chance, data, seeds):
    """Put a word, a piece of another seed or a single byte in the place of a piece."""
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice([0, 0, 1, 3, 30]))
    other = chance.choice(seeds)
    at = chance.randint(0, len(other))
    piece = chance.choice(
        [chance.choice(WORDS), other[at : at + 30], bytes([chance.randrange(256)])]
    )
    return data[:start] + piece + data[end:]


def damaged(chance, value):
    """Replace, remove or repeat one thing somewhere inside a JSON value."""
    places = list(_places(value))
    if not places:
        return chance.choice(VALUES)
    inside, key = chance.choice(places)
    way = chance.random()
    if way < 0.6:
        inside[key] = chance.choice(VALUES)
    elif way < 0.75:
        del inside[key]
    elif way < 0.9:
        inside[key] = [inside[key]] * chance.randint(1, 3)
    else:
        inside[key] = json.loads(_written(chance.choice(places)[0]))
    return value


def _places(value):
    inner = enumerate(value) if isinstance(value, list) else ()
    for key, item in list(value.items() if isinstance(value, dict) else inner):
        yield value, key
        yield from _places(item)


def _json(data):
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _written(value):
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000
