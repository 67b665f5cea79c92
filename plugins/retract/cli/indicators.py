"""The commands ``indicators …``: their arguments. What they do is imported when they run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from retract.cli.told import told
from retract.model import Disposition, ObservableType

Actionable = Literal["malicious", "suspicious", "spoof", "spam", "bulk"]

indicators_app = typer.Typer(
    help="Indicators: enter a campaign, ask who says what of a value, see what changed.",
    no_args_is_help=True,
)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout; all else on stderr.")]
Kind = Annotated[
    ObservableType | None,
    typer.Option(
        "--type",
        help="What the values are, instead of judging by their look; then a value is a whole "
        "line. File names, display names and patterns are only found with it.",
        show_default=False,
    ),
]


@indicators_app.command()
def add(
    file: Annotated[
        Path, typer.Argument(help="Text with the values in it, as it comes; - for stdin.")
    ],
    campaign: Annotated[str, typer.Option(help="What the values belong to.")],
    disposition: Annotated[
        Actionable, typer.Option(help="What a mail is in which one of them is found.")
    ] = "malicious",
    confidence: Annotated[int, typer.Option(min=0, max=100)] = 90,
    expires: Annotated[
        str, typer.Option(help="How long they count, as P30D, or until which day, as 2026-12-31.")
    ] = "P90D",
    reference: Annotated[
        str, typer.Option(help="A ticket, a report, a URL; kept with the values.")
    ] = "",
    by: Annotated[
        str | None, typer.Option(help="Who enters them.", show_default="your login name")
    ] = None,
    kind: Kind = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Enter a campaign's values, pasted from a mail, a ticket or a report.

    They may be defanged, of all types, among words, in tables or links. You see what was
    understood and what it would hit; only after your yes anything is written.

    Example: python -m retract indicators add --campaign INC-4711 - < advisory.txt

    Ends with 0 when they were written, with 1 when they were not (the answer was no, or there
    was nobody to ask), with 2 for an error.
    """
    from retract.cli.indicators_add import Request, run_add

    request = Request(
        file=file,
        campaign=campaign,
        disposition=Disposition(disposition),
        confidence=confidence,
        expires=expires,
        reference=reference,
        by=by,
        kind=kind,
        yes=yes,
        json=json,
    )
    with told():
        written = run_add(request, _utc_now)
    if not written:
        raise typer.Exit(1)


@indicators_app.command()
def show(
    value: Annotated[
        str | None, typer.Argument(help="A URL, domain, address, IP address, hash …, as written.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="Show this campaign instead of a value.")
    ] = None,
    kind: Kind = None,
    json: Json = False,
) -> None:
    """Who says so, since when, whether it is in force, and what it has hit."""
    from retract.cli.indicators_show import run_show

    with told():
        run_show(value, kind=kind, campaign=campaign, json=json, clock=_utc_now)


@indicators_app.command()
def revoke(
    values: Annotated[
        list[str] | None, typer.Argument(help="What analysts entered, as written.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="Revoke all that analysts entered for this campaign.")
    ] = None,
    kind: Kind = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take back what analysts entered. Mail that was retracted stays where it is.

    Ends with 0 when it was written, with 1 when nothing was, with 2 for an error.
    """
    from retract.cli.indicators_revoke import run_revoke

    with told():
        written = run_revoke(
            values or (), kind=kind, campaign=campaign, yes=yes, json=json, clock=_utc_now
        )
    if not written:
        raise typer.Exit(1)


@indicators_app.command()
def changes(
    from_version: Annotated[
        int | None,
        typer.Option("--from", min=0, show_default="the one before", help="A version."),
    ] = None,
    to_version: Annotated[
        int | None, typer.Option("--to", min=0, show_default="the newest", help="A version.")
    ] = None,
    json: Json = False,
) -> None:
    """What changed from one version of the indicators to another."""
    from retract.cli.indicators_changes import run_changes

    with told():
        run_changes(from_version, to_version, json=json)


@indicators_app.command()
def sources(json: Json = False) -> None:
    """How each source was last read, and how many indicators it gives."""
    from retract.cli.indicators_sources import run_sources

    with told():
        run_sources(json=json, clock=_utc_now)


def _utc_now() -> datetime:
    return datetime.now(UTC)
