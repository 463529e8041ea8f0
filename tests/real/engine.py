"""The server's own process: the HTTP server of llama.cpp, out of the wheel xllamacpp.

Started by serve.py, with its settings as JSON for an argument. It ends when its
standard input does, so that it outlives nobody who started it, however they ended.
"""

import json
import os
import signal
import sys

import xllamacpp


def parameters(settings):
    """Put the settings into llama.cpp's words."""
    found = xllamacpp.CommonParams()
    found.model.path = settings["model"]
    found.model_alias = {settings["alias"]}
    found.hostnames = ["127.0.0.1"]
    found.port = settings["port"]
    found.api_keys = [settings["key"]]
    found.chat_template = settings["template"]
    found.n_parallel = settings["slots"]
    found.n_ctx = settings["context"] * settings["slots"]  # it is divided among them
    # Two threads wait for each other in a busy loop: with anything else on the machine
    # they are many times slower than one.
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = 1
    found.n_predict = settings["max_tokens"]
    found.embedding = True
    found.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    found.endpoint_slots = True
    found.offline = True
    found.ui = False
    return found


def main():
    """Serve until the input ends, or until SIGTERM asks for an orderly end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = xllamacpp.Server(parameters(json.loads(sys.argv[1])))
    sys.stdin.read()
    print("served at", server.listening_address, flush=True)
    os._exit(0)  # whatever its threads are at


if __name__ == "__main__":
    main()
