"""Databases that are down, disks that are full, processes that end: on purpose."""

import contextlib
import multiprocessing
import resource
import sqlite3

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

processes = multiprocessing.get_context("fork")


@contextlib.contextmanager
def down(ledger):
    """Take a ledger's database down: no transaction begins."""

    def refuse(connection):
        raise OperationalError("BEGIN", {}, sqlite3.OperationalError("it is down"))

    event.listen(ledger.database.engine, "begin", refuse)
    yield
    event.remove(ledger.database.engine, "begin", refuse)


@contextlib.contextmanager
def full_disk(bytes_free):
    """Let no file of this process grow beyond a size, as a disk that is full."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_free, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def in_child(function, *arguments):
    """Run a function in a forked process and return how it ended."""
    child = processes.Process(target=function, args=arguments)
    child.start()
    return child


def joined(*children):
    for child in children:
        child.join(60)
    return [child.exitcode for child in children]
