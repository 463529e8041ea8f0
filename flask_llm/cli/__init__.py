"""``flask llm``: tables, reports and tools on the command line."""

from flask_llm.cli.group import llm_cli

__all__ = ["llm_cli"]
