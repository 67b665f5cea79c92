"""A page: self-contained, without scripts, and safe to open.

What attackers wrote meets three walls. Jinja2 escapes every value, and makes its invisible
characters visible on the way (``finalize``), so that no template can forget to. Where the page
shows something hostile, the template defangs it. And the page's content security policy allows
nothing but its own style sheet, by hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from retract.model import Place, Provider
from retract.reports.model import Where
from retract.reports.plots import Plot
from retract.reports.text import PROVIDER_NAMES, clipped, defanged, visible, words

MAX_TEXT: Final = 300
"""Characters shown of one text that came out of a message or a feed."""

# What Gmail calls a place we name ourselves, and what says nothing of where a copy is.
_PLAIN_LABELS: Final = frozenset({"INBOX", "SPAM", "TRASH", "SENT", "UNREAD", "IMPORTANT"})
# What Outlook calls such a place. Acting does not ask for it in every mailbox.
_PLAIN_FOLDERS: Final = frozenset(
    {
        (Place.INBOX, "Inbox"),
        (Place.JUNK, "Junk Email"),
        (Place.TRASH, "Deleted Items"),
        (Place.SENT, "Sent Items"),
        (Place.RECOVERABLE, "Deletions"),
        (Place.PURGED, "Purges"),
    }
)

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_page(template: str, plots: Sequence[Plot], **values: Any) -> str:
    """The whole page, made of one of the templates beside this file."""
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            # Both are our own: the style sheet beside this file, and what vl-convert drew.
            style=Markup(style),  # noqa: S704
            plots=[(plot, Markup(plot.svg)) for plot in plots],  # noqa: S704
            style_hash=_csp_hash(style),
            **values,
        )
    )


def copies(number: int) -> str:
    """The number in words: "1 copy", "2,000 copies"."""
    return f"{number:,} {'copy' if number == 1 else 'copies'}"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "hostile": _hostile,
        "words": words,
        "provider": PROVIDER_NAMES.__getitem__,
        "number": "{:,}".format,
        "moment": _moment,
        "duration": _duration,
        "where": _where,
        "copies": copies,
    }
    return environment


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hostile(text: str, length: int = MAX_TEXT) -> Markup:
    """Text of an attacker: defanged, cut, escaped, and kept from turning its neighbours about."""
    return Markup("<bdi>{}</bdi>").format(clipped(defanged(text), length))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _where(where: Where | None, provider: Provider) -> str:
    if where is None:
        return "–"
    place, folder = words(where.place), where.folder
    if provider is Provider.GOOGLE_WORKSPACE:
        labels = folder.split(", ")
        folder = ", ".join(label for label in labels if not _is_plain_label(label))
    # "trash (Deleted Items)" would say it twice.
    plain = not folder or (where.place, folder) in _PLAIN_FOLDERS
    return place if plain else f"{place} ({folder})"


def _is_plain_label(name: str) -> bool:
    return name in _PLAIN_LABELS or name.startswith("CATEGORY_")


def _csp_hash(style: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
