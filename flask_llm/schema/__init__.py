"""JSON schemas: made of Python types, checked at the door, held against answers."""

from flask_llm.schema.functions import arguments_for, parameters_of, summary
from flask_llm.schema.relax import relaxed
from flask_llm.schema.rules import accepts_null, check, resolve
from flask_llm.schema.schema import MisfitError, Schema, read_schema
from flask_llm.schema.validate import problems

__all__ = [
    "MisfitError",
    "Schema",
    "accepts_null",
    "arguments_for",
    "check",
    "parameters_of",
    "problems",
    "read_schema",
    "relaxed",
    "resolve",
    "summary",
]
