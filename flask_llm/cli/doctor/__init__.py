"""``flask llm doctor``: what is wrong with the set-up, and what to do about it."""

from flask_llm.cli.doctor.check import Check, Setup
from flask_llm.cli.doctor.command import CHECKS, doctor

__all__ = ["CHECKS", "Check", "Setup", "doctor"]
