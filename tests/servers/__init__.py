"""Real WSGI servers, with the demo app and real clients."""
