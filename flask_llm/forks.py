"""What a forked worker makes anew: locks that may be held, sockets of its parent's."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_renewals: dict[weakref.WeakMethod[Callable[[], object]], None] = {}


def after_fork(renew: Callable[[], object]) -> None:
    """Call a method in every forked worker, for as long as its object lives.

    :param renew: a bound method, which is held weakly.
    """
    _renewals[weakref.WeakMethod(renew, _forget)] = None


def _forget(dead: weakref.ref[Callable[[], object]]) -> None:
    _renewals.pop(dead, None)  # type: ignore[call-overload]


def _renew_all() -> None:
    for reference in list(_renewals):
        renew = reference()
        if renew is not None:
            renew()


os.register_at_fork(after_in_child=_renew_all)
