"""The dashboard: a page for people, without JavaScript."""

from flask_llm.web.dashboard.charts import NAMES as CHARTS
from flask_llm.web.dashboard.routes import picture, show

__all__ = ["CHARTS", "picture", "show"]
