"""Asking the person at the terminal before anything is written."""

from __future__ import annotations

import getpass
import signal
import sys
from pathlib import Path
from typing import Final

from retract.errors import ConfigurationError

TERMINAL: Final = Path("/dev/tty")


def confirmed(question: str, *, stdin_is_read: bool) -> bool | None:
    """Whether the person says yes; None when there is nobody to ask.

    ``stdin_is_read``: the standard input held something else, so the answer comes from the
    process's terminal itself.
    """
    # Importing polars takes the interrupt away: at a prompt Ctrl-C has to end the program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if stdin_is_read:
        try:
            with TERMINAL.open("r+b", buffering=0) as terminal:
                terminal.write(question.encode())
                answer = terminal.readline().decode("utf-8", "replace")
        except OSError:
            return None
    elif sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write(question)
        sys.stderr.flush()
        answer = sys.stdin.readline()
    else:
        return None
    return answer.strip().lower() in ("y", "yes")


def login_name() -> str:
    """The name of the person at the shell. Raises ConfigurationError where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        raise ConfigurationError("your login name is not known here: say it with --by") from error
