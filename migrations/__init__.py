"""The Alembic environment of flask_llm's own tables."""
