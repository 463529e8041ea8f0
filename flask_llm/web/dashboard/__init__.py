"""The dashboard: a page for people, without JavaScript."""

CHARTS = ("cost", "tokens", "latency", "failures")
"""What is drawn; the names stand in addresses."""
