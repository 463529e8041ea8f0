"""Databases that fail: before a call, in the middle of it, and for good.

An answer that is paid for reaches its caller; its row reaches the table in the end, and
counts once. Where a budget applies and cannot be looked at, nobody is asked.
"""
