"""What browsers and other programs see."""

from flask_llm.web.blueprint import llm_bp
from flask_llm.web.problem import problem
from flask_llm.web.sse import stream_response

__all__ = ["llm_bp", "problem", "stream_response"]
