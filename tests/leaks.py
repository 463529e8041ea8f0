"""What an error leads to: all that a log or an error tracker could show of it."""

import traceback


def reached(error):
    """Return an error and all others that it leads to, by whatever way."""
    found, left = [], [error]
    while left:
        one = left.pop()
        if not isinstance(one, BaseException) or any(one is seen for seen in found):
            continue
        found.append(one)
        left += [one.__cause__, one.__context__, *one.args, *vars(one).values()]
        left += [value for _, values in frames_of(one) for value in values]
    return found


def frames_of(error):
    """Return the names of the package's functions that an error came through, and what
    each of them held."""
    return [
        (frame.f_code.co_name, list(frame.f_locals.values()))
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if package_of(frame) == "flask_llm"
    ]


def package_of(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]


def shown_in(error):
    """Return all that would be shown of an error."""
    shown = []
    for one in reached(error):
        shown += [one, str(one), one.args, vars(one), getattr(one, "__notes__", ())]
        shown += [value for _, values in frames_of(one) for value in values]
    return "".join(map(repr, shown))


def foreign_frames(error):
    """Return the frames of the libraries below that an error leads to."""
    return [
        f"{package_of(frame)}.{frame.f_code.co_name}"
        for one in reached(error)
        for frame, _ in traceback.walk_tb(one.__traceback__)
        if package_of(frame) in {"requests", "urllib3", "http"}
    ]


def requests_in(error):
    """Return which errors, of those that one leads to, hold on to a request."""
    return [
        (type(one).__name__, name)
        for one in reached(error)
        for name in ("request", "response", "pool", "conn")
        if vars(one).get(name) is not None
    ]
