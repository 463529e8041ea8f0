"""OpenAI's own tokenizer, tiktoken, where it is installed and has its files at hand."""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from importlib import util
from pathlib import Path
from typing import Any

from flask_llm.tokens import Measure

_O200K = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_CL100K = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

_FILES = {
    "o200k_base": ("o200k_base", _O200K),
    "o200k_harmony": ("o200k_base", _O200K),
    "cl100k_base": ("cl100k_base", _CL100K),
}
"""The file that an encoding is read from, and its SHA-256 as tiktoken checks it."""

_SOURCE = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def measure(model: str) -> Measure | None:
    """Return what counts the tokens of a text as a model of OpenAI does.

    :param model: OpenAI's own name of it.
    :return: None without tiktoken, for models that it does not know, and where it would
        first have to download its files: a request is no place for that.
    """
    if util.find_spec("tiktoken") is None:
        return None
    tiktoken: Any = importlib.import_module("tiktoken")
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    if name not in tiktoken.registry.ENCODINGS and not _is_at_hand(name):
        return None
    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


def _is_at_hand(name: str) -> bool:
    """Tell whether tiktoken's cache holds the file, whole.

    Where it lies: ``read_file_cached`` of
    https://github.com/openai/tiktoken/blob/main/tiktoken/load.py.
    """
    if name not in _FILES:
        return False
    file, digest = _FILES[name]
    default = Path(tempfile.gettempdir()) / "data-gym-cache"
    own = os.environ.get("DATA_GYM_CACHE_DIR", str(default))
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", own)
    key = hashlib.sha1(_SOURCE.format(file).encode(), usedforsecurity=False).hexdigest()
    path = Path(folder, key)
    if not folder or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest
