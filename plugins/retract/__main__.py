"""``python -m retract``: what the program does for a person at a shell, without Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retract.cli.indicators import Actionable, indicators_app
from retract.cli.told import told
from retract.model import Disposition, Provider

if TYPE_CHECKING:
    from retract.mailboxes.connect import Settings

# Commands import what they need when they run: `--help` should not wait for table engines.

DEFAULT_POLICY = Path(__file__).resolve().parents[2] / "include" / "policies" / "auto_retract.yaml"

app = typer.Typer(
    help="Finds delivered mail that is known to be bad now, and takes it out of the mailboxes.\n\n"
    "The DAGs in Airflow do that; here is what a person does without them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policy_app = typer.Typer(help="Policy files.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
app.add_typer(indicators_app, name="indicators")


@app.callback()
def _main() -> None:
    """Makes every command a named one, however few there are."""


@app.command()
def preview(
    mail: Annotated[
        Path, typer.Option(help="Exported mail: an .eml file, an mbox, a Maildir, or a folder.")
    ],
    feed: Annotated[
        list[Path],
        typer.Option(
            help="Indicators: a list, a hosts file or adblock list, a CSV or JSON with named "
            "columns, a STIX bundle, a MISP event, an export of URLhaus, ThreatFox or PhishTank; "
            "packed or not; or a feeds.yaml."
        ),
    ],
    more_feeds: Annotated[
        list[Path] | None, typer.Argument(help="More feeds, so that --feed *.txt works.")
    ] = None,
    policy: Annotated[
        Path,
        typer.Option(
            help="What is done with which disposition.",
            show_default="include/policies/auto_retract.yaml",
        ),
    ] = DEFAULT_POLICY,
    provider: Annotated[
        Provider, typer.Option(help="Whose mailboxes the mail shall be thought to lie in.")
    ] = Provider.MICROSOFT365,
    disposition: Annotated[
        Actionable, typer.Option(help="What an indicator means where its feed does not say.")
    ] = "malicious",
    json: Annotated[
        Path | None, typer.Option(help="Write every message with its matches here; - for stdout.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report (HTML, CSV, JSON) into this folder.")
    ] = None,
) -> None:
    """Judge exported mail: what would be done with which message, and why. Touches nothing.

    Example: python -m retract preview --mail ~/export --feed urls.txt --feed domains.txt
    """
    from retract.cli.run_preview import run_preview

    with told():
        run_preview(
            mail,
            [*feed, *(more_feeds or ())],
            policy,
            provider=provider,
            disposition=Disposition(disposition),
            json=json,
            report=report,
            clock=lambda: datetime.now(UTC),
        )


@app.command()
def doctor(
    connection: Annotated[
        str, typer.Argument(help="The Airflow connection id of a tenant.", show_default=False)
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            help="Do without Airflow: the connection as JSON, as in AIRFLOW_CONN_…; - for stdin."
        ),
    ] = None,
    mailbox: Annotated[
        str, typer.Option(help="The address of the mailbox to read; left out, one of those listed.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Check a tenant's connection: sign-in, permissions, mailboxes; and say what to mend.

    Changes nothing in any mailbox. Ends with 1 when something must be mended.

    Example: python -m retract doctor microsoft365_default
    """
    from retract.cli.doctor import doctor, settings_in_file

    if bool(connection) == bool(file):
        raise typer.BadParameter("give either a connection id or --file")

    def settings() -> Settings:
        if file:
            return settings_in_file(file)
        from retract.orchestration.connections import settings_at_a_shell

        return settings_at_a_shell(connection)

    with told():
        name = connection or str(file)
        clock = partial(datetime.now, UTC)
        healthy = doctor(name, settings, clock, mailbox=mailbox, as_json=json)
    if not healthy:
        raise typer.Exit(1)


@policy_app.command("check")
def policy_check(
    file: Annotated[
        Path,
        typer.Argument(help="The policy file.", show_default="include/policies/auto_retract.yaml"),
    ] = DEFAULT_POLICY,
) -> None:
    """Say what is wrong with a policy file, or print its matrix as it will act per provider.

    Ends with 2 when the file is refused.
    """
    from retract.cli.check_policy import check_policy

    with told():
        check_policy(file, datetime.now(UTC))


if __name__ == "__main__":
    app(prog_name="python -m retract")
