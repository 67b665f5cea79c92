"""``python -m local_tenant serve``: a tenant to try things on."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from local_tenant.drip import dripping
from local_tenant.faults.door import use_faults
from local_tenant.faults.profile import put_together
from local_tenant.fill import fill
from local_tenant.server import running_tenant
from local_tenant.state import TenantSettings, new_state

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def main() -> None:
    """An emulated Microsoft 365 and Google Workspace tenant on loopback."""


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    mail: Annotated[
        Path | None,
        typer.Option(help="Deliver this mail: an .eml file, a folder of them, mbox or Maildir."),
    ] = None,
    messages: Annotated[
        int, typer.Option(help="How many synthetic messages to deliver without --mail.", min=0)
    ] = 400,
    mailboxes: Annotated[
        int, typer.Option(help="How many mailboxes, half of them at either service.", min=2)
    ] = 24,
    seed: Annotated[int, typer.Option(help="Of the people and the mail.")] = 1,
    scenario: Annotated[
        Path | None,
        typer.Option(
            help="Write the feeds that become known of synthetic mail after its delivery, and "
            "the truth about it, to this folder."
        ),
    ] = None,
    drip: Annotated[
        float | None, typer.Option(help="Deliver another message every so many seconds.", min=0.1)
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(help="What goes wrong: names of fault profiles, with commas, or everything."),
    ] = None,
    fault_seed: Annotated[int, typer.Option(help="Of what goes wrong, and when.")] = 1,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Where the CA and key files go; else a folder that is removed."),
    ] = None,
) -> None:
    """Serve until SIGTERM or SIGINT. One line of JSON on stdout says how to connect.

    All else goes to stderr.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a batch calls the tenant itself
    state = new_state(TenantSettings(seed=seed))
    written = scenario.absolute() if scenario and messages and mail is None else None
    with ExitStack() as running:
        try:
            profile = put_together(faults.split(",") if faults else [])
            world = fill(
                state,
                mailboxes,
                messages=messages,
                mail=mail,
                scenario=written,
                duplicates=profile.duplicates,
            )
            use_faults(state, profile, fault_seed)
            tenant = running.enter_context(
                running_tenant(state, port=port, state_dir=state_dir, scenario=written)
            )
        except (OSError, ValueError) as error:
            typer.echo(f"the local tenant cannot start: {error}", err=True)
            raise typer.Exit(1) from error
        if drip is not None:
            running.enter_context(dripping(state, world, drip))
        print(tenant.connection.model_dump_json(), flush=True)  # noqa: T201  the one line
        ended.wait()


if __name__ == "__main__":
    app()
