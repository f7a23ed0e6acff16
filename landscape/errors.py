"""From an exception to what the shell sees: one line on stderr and an exit status.

A `ValueError` raised by our own code is a mistake in what was given (status 2); a `RuntimeError` of ours is work that
failed (status 1). Both say in one line what was given, what is allowed and what to do. The same types raised by a
library are bugs of ours and keep their traceback. Right when each mistake gives its line and status, and a bug its
traceback (`tests/landscape/test_errors.py`).
"""

from __future__ import annotations

OWN_CODE = ("gcsam", "analysis", "figures", "landscape")
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130  # 130 is the shell's 128 + SIGINT


def exit_status(error: BaseException) -> int | None:
    """Return the exit status for an exception, or None for a bug, which is to trace back.

    Args:
        error: As it was caught, with its traceback.

    Returns:
        2 for a mistake in what was given, 1 for work that failed (also where the disk is full), None otherwise.
    """
    if isinstance(error, OSError):
        mistakes = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
        return WRONG_USAGE if isinstance(error, mistakes) else FAILED
    if not _is_raised_by_us(error):
        return None
    # the one RuntimeError that is a mistake: a loss that changes between two passes cannot be measured
    if isinstance(error, (ValueError, KeyError)) or type(error).__name__ == "NotRepeatable":
        return WRONG_USAGE
    return FAILED if isinstance(error, (RuntimeError, ArithmeticError)) else None


def one_line(error: BaseException) -> str:
    """Return what an exception says, on one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror[0].lower()}{error.strerror[1:]}; check the path"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)  # str() of it adds quotes
    return " ".join(text.split())


def _is_raised_by_us(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module.split(".")[0] in OWN_CODE
