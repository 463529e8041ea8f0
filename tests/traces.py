"""What an error would show to a log, a debugger or an error tracker."""


def shown_in(error, seen=None):
    """Yield all that a log, a debugger or an error tracker would show of an error."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield from map(repr, [error, str(error), error.args, vars(error)])
    yield from getattr(error, "__notes__", ())
    trace = error.__traceback__
    while trace is not None:
        if "flask_llm" in trace.tb_frame.f_code.co_filename:
            yield from map(repr, trace.tb_frame.f_locals.values())
        trace = trace.tb_next
    inner = [error.__cause__, error.__context__, getattr(error, "reason", None)]
    inner += [getattr(error, "original_error", None), *error.args]
    for other in inner:
        if isinstance(other, BaseException):
            yield from shown_in(other, seen)


def foreign_frames(error, seen=None):
    """Yield the frames of other packages that an error leads to."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.partition(".")[0] in {"requests", "urllib3", "http"}:
            yield f"{name}.{trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    inner = [error.__cause__, error.__context__, getattr(error, "reason", None)]
    inner += [getattr(error, "original_error", None), *error.args]
    for other in inner:
        if isinstance(other, BaseException):
            yield from foreign_frames(other, seen)
