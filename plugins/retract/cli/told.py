"""How a command tells an error that a person can mend: a message and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from retract.errors import RetractError


@contextmanager
def told() -> Iterator[None]:
    """A RetractError inside becomes a message on stderr and exit code 2, no traceback."""
    try:
        yield
    except RetractError as error:
        from retract.cli.terminal import console, plain

        console(stderr=True).print(plain(str(error), style="red"))
        raise typer.Exit(2) from error
