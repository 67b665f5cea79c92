"""``python -m local_system demo | up | down``: what the Makefile calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from local_system.system import REPOSITORY, SystemFailed

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
_VAR = REPOSITORY / "var"


@app.command()
def demo(
    mail: Annotated[
        Path | None, typer.Option(help="A folder of .eml files, an mbox or a Maildir.")
    ] = None,
    feeds: Annotated[
        list[Path] | None, typer.Option(help="Files of indicators; may be given again.")
    ] = None,
    home: Annotated[Path, typer.Option(help="Where it works; made anew each time.")] = _VAR
    / "demo",
) -> None:
    """Deliver mail to the local tenant, learn indicators, retract, report; then stop."""
    from local_system.demo import run_demo

    try:
        sound = run_demo(home, mail, feeds or [])
    except SystemFailed as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(2)
    sys.exit(0 if sound else 1)


@app.command()
def up(
    port: Annotated[
        int, typer.Option(help="Of Airflow's UI, on 127.0.0.1.", min=1, max=65535)
    ] = 8080,
    drip: Annotated[float, typer.Option(help="Seconds between new messages.")] = 20.0,
) -> None:
    """Start the tenant and Airflow in the background."""
    from local_system import up as system

    try:
        typer.echo(system.up(_VAR / "up", port, drip))
    except SystemFailed as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(2)


@app.command()
def down() -> None:
    """End what ``up`` started."""
    from local_system import up as system

    typer.echo(system.down(_VAR / "up"))


if __name__ == "__main__":
    app()
