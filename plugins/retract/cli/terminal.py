"""What a terminal shows.

Nothing is given to rich as markup, and no text that is not ours gets there unchanged: a subject
may hold markup, escape sequences and links of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from retract.model import Disposition
from retract.reports.text import clipped, defanged, visible

_PIPED_WIDTH: Final = 120
_MAX_TEXT: Final = 120
_MAX_VALUE: Final = 400
_STYLES: Final = {
    Disposition.MALICIOUS: "bold red",
    Disposition.SUSPICIOUS: "yellow",
    Disposition.SPOOF: "magenta",
    Disposition.SPAM: "blue",
    Disposition.BULK: "cyan",
}


def console(*, stderr: bool = False) -> Console:
    """A console; wide where nobody says how wide it is."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = max(made.width, _PIPED_WIDTH)
    return made


def plain(text: str, style: str = "") -> Text:
    """A message that may quote a file or name a path, line by line."""
    return Text("\n".join(visible(line) for line in text.splitlines()), style=style)


def hostile(text: str) -> str:
    """Text out of a message or a feed: visible, defanged and not too long."""
    return clipped(defanged(text), _MAX_TEXT)


def value_text(value: str) -> Text:
    """An indicator's value: defanged, and all of it but what no screen has room for."""
    return Text(clipped(defanged(value), _MAX_VALUE))


def disposition_text(disposition: Disposition) -> Text:
    """The disposition in its colour."""
    return Text(disposition, style=_STYLES.get(disposition, ""))


def new_table(title: str | None = None) -> Table:
    """A table without columns, in the look all have."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def utc(moment: datetime | None) -> str:
    """To the minute; a dash for none."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def number_of(count: int, one: str, many: str = "") -> str:
    """``1 copy`` or ``7 copies``; ``many`` is ``one`` with an s where it is left out."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@contextmanager
def step(notes: Console, name: str) -> Iterator[None]:
    """Shows that something is going on, at a terminal."""
    if not notes.is_terminal:
        yield
        return
    with notes.status(name):
        yield
