"""`python -m landscape`, and the entry point of the command `landscape`.

Right when Ctrl-C at any moment ends with status 130 and no traceback (`tests/landscape/study/test_running.py`).
"""

import os
import sys

INTERRUPTED = 130  # as in `landscape.errors`, which may not be imported yet


def main() -> None:
    """Run the command line."""
    try:
        from landscape.cli import app  # here, so that Ctrl-C during the import is answered too

        app(prog_name="landscape")
    except KeyboardInterrupt:
        _end()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _end()
        raise


def _end() -> None:
    """End at once: Python would end by the signal itself where Ctrl-C came while some module was being imported."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
