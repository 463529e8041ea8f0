"""A browser that posts to the demo, reads what comes, and may leave at any moment."""

import http.client
import json
import socket
import struct
from urllib.parse import urlsplit

from flask_llm.wire import EventReader
from servers.processes import BUSY_SECONDS

MODEL = "openai/gpt-4o-mini"


class Browser:
    """One request of a browser, and what has come of its answer."""

    def __init__(self, url, path, text):
        where = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            where.hostname, where.port, timeout=BUSY_SECONDS
        )
        self._reader = EventReader()
        self._waiting = []
        turns = [{"role": "user", "content": text}]
        body = json.dumps({"model": MODEL, "messages": turns})
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", path, body, headers)
        # An answer that ends with its connection takes that away.
        self._socket = self._connection.sock
        self.heartbeats = 0

    @property
    def answer(self):
        """The answer, of which the head at least has come."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    _response = None

    def event(self):
        """Wait for the next event; return its name and what it says, None at the end.

        :raises OSError: or an ``HTTPException`` where the answer breaks off.
        """
        while not self._waiting:
            block = self.answer.read1()
            if not block:
                return None
            self.heartbeats += block.count(b": keep-alive")
            self._waiting += self._reader.feed(block)
        found = self._waiting.pop(0)
        return found.name, found.json

    def rest(self):
        """Return the names of all further events, ``broken`` where they break off."""
        names = []
        try:
            while event := self.event():
                names.append(event[0])
        except (OSError, http.client.HTTPException):
            names.append("broken")
        self.close()
        return names

    def leave(self):
        """Slam the door, whatever is still on its way."""
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.close()

    def close(self):
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        self._connection.close()
        self._socket.close()


def chat(url, text="Tell me a story."):
    """Ask for an answer as it comes."""
    return Browser(url, "/chat", text)


def summarise(url, text):
    """Ask for a whole answer; return the status and the JSON."""
    browser = Browser(url, "/summarise", text)
    try:
        return browser.answer.status, json.loads(browser.answer.read())
    finally:
        browser.close()
