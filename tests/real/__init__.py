"""Tests against a real model on loopback; serve.py gets and starts it."""
