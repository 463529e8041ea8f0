"""What the routes take and answer, told to machines."""

from flask_llm.web.openapi.routes import description

__all__ = ["description"]
