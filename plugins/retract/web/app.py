"""The UI pages: the reports of past runs, for users who may read the DAG.

/retract/dags/{dag_id}/reports                          every report, newest first
/retract/dags/{dag_id}/reports/{run}/{attempt}/{file}   one report's file
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import FastAPI, HTTPException
from fastapi import Path as PathParam
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, PackageLoader
from pydantic import BaseModel, ValidationError

from retract.installation import Settings
from retract.orchestration.runs import Attempt, Run, slug
from retract.reports.model import ReportSummary
from retract.web.access import may_see_dag

M = TypeVar("M", bound=BaseModel)

MOUNTED_AT = "/retract"
_FILES = {
    "report.html": "text/html; charset=utf-8",
    "report.csv": "text/csv; charset=utf-8",
    "report.json": "application/json",
    "refreshed.json": "application/json",
}
_LINKS = {
    "report.html": "open",
    "report.csv": "CSV",
    "report.json": "JSON",
    "refreshed.json": "JSON",
}
_DAGS = ("post_delivery_response", "refresh_indicators")
"""Those whose runs leave reports."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'; sandbox allow-downloads allow-same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_NEWEST = 200
_SEGMENT = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*")

Segment = Annotated[str, PathParam(pattern=_SEGMENT.pattern, max_length=120)]


def create_app(settings: Settings) -> FastAPI:
    """The app Airflow mounts. Every page asks for the right to read the DAG in its path."""
    app = FastAPI(
        dependencies=[may_see_dag()],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    pages = Environment(loader=PackageLoader("retract.web"), autoescape=True)

    @app.get("/dags/{dag_id}/reports")
    def reports(dag_id: str) -> HTMLResponse:
        attempts = sorted(
            _folder(settings, dag_id).glob("*/*/run.json"),
            key=lambda file: file.parent.name,
            reverse=True,
        )
        rows = [
            {
                "run": run,
                "path": f"{file.parent.parent.name}/{file.parent.name}",
                "files": _reported(file.parent),
                "summary": _read(file.with_name("summary.json"), ReportSummary),
            }
            for file in attempts[:_NEWEST]
            if (run := _read(file, Run) or _read(file, Attempt))
        ]
        page = pages.get_template("reports.html.j2").render(
            dag_id=dag_id,
            others=[other for other in _DAGS if other != dag_id],
            rows=rows,
            judged=all(isinstance(row["run"], Run) for row in rows),
            left_out=len(attempts) - len(rows),
        )
        return HTMLResponse(page, headers=_HEADERS)

    @app.get("/dags/{dag_id}/reports/{run}/{attempt}/{file}")
    def report(dag_id: str, run: Segment, attempt: Segment, file: Segment) -> FileResponse:
        if not all(map(_SEGMENT.fullmatch, (run, attempt, file))) or file not in _FILES:
            raise HTTPException(404, "there is no such report")
        path = _folder(settings, dag_id) / run / attempt / file
        if not path.is_file():
            raise HTTPException(404, "there is no such report")
        return FileResponse(path, media_type=_FILES[file], headers=_HEADERS)

    return app


def _read(file: Path, kind: type[M]) -> M | None:
    """None where there is no such file, or one that another version of the program wrote."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _reported(attempt: Path) -> dict[str, str]:
    """The files of its report with what a link to each says; none before the page is there."""
    if not (attempt / "report.html").exists():
        return {}
    return {file: says for file, says in _LINKS.items() if (attempt / file).exists()}


def _folder(settings: Settings, dag_id: str) -> Path:
    return settings.home / "runs" / slug(dag_id)
