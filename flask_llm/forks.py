"""What a forked worker makes anew: locks that may be held, sockets of its parent's."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from types import MethodType

# No WeakMethod: one that lives as long as its process tells of an error when that ends.
_renewals: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()


def after_fork(renew: Callable[[], object]) -> None:
    """Call a method in every forked worker, for as long as its object lives.

    :param renew: a bound method, one for each object, which is held weakly.
    :raises TypeError: where it is a plain function.
    """
    if not isinstance(renew, MethodType):
        raise TypeError(renew)
    _renewals[renew.__self__] = renew.__name__


def _renew_all() -> None:
    for owner, name in list(_renewals.items()):
        getattr(owner, name)()


os.register_at_fork(after_in_child=_renew_all)
