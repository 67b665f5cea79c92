"""The UI pages: reports are shown to those who may see the DAG, and nothing else is served."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from retract.installation import Settings
from retract.model import Mode
from retract.orchestration.runs import Attempt, Run, RunFolder
from retract.reports.model import ReportSummary
from retract.web import app as web

RUN_ID = "manual__2026-01-01T00:00:00+00:00<script>alert(1)</script>"


class Browser:
    """Asks the app as an HTTP client would."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def get(self, path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://ui") as client:
                return await client.get(path)

        return asyncio.run(ask())


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    folder = RunFolder.create(tmp_path, "post_delivery_response", RUN_ID, started)
    folder.write(
        "run.json",
        Run(
            dag_id="post_delivery_response",
            run_id=RUN_ID,
            run_type="manual",
            attempt=folder.attempt,
            started_at=started,
            window_start=datetime(2025, 12, 1, tzinfo=UTC),
            window_end=started,
            mode=Mode.ENFORCE,
            connections=("north",),
            mailboxes=(),
        ),
    )
    folder.write_text("report.html", "<p>the report</p>")
    folder.write_text("policy.yaml", "secret: no")
    return folder


@pytest.fixture
def client(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr(web, "may_see_dag", lambda: Depends(lambda: None))
    return Browser(web.create_app(Settings(home=tmp_path)))


def test_reports_are_listed_and_opened(client: Browser, folder: RunFolder) -> None:
    page = client.get("/dags/post_delivery_response/reports")
    assert page.status_code == 200
    assert "enforce" in page.text
    assert "<script>" not in page.text
    opened = client.get(
        f"/dags/post_delivery_response/reports/{folder.path.parent.name}/{folder.attempt}/report.html"
    )
    assert opened.text == "<p>the report</p>"
    assert "default-src 'none'" in opened.headers["content-security-policy"]
    assert opened.headers["x-content-type-options"] == "nosniff"


def test_a_run_of_another_version_hides_no_other(client: Browser, tmp_path: Path) -> None:
    other = RunFolder.create(tmp_path, "post_delivery_response", "2", datetime.now(UTC))
    other.write_text("run.json", '{"colour": "green"}')
    page = client.get("/dags/post_delivery_response/reports")
    assert page.status_code == 200
    assert "enforce" in page.text
    assert "Not listed: 1 run," in page.text


@pytest.mark.parametrize(
    "path",
    [
        "{run}/{attempt}/policy.yaml",
        "{run}/{attempt}/report.csv",
        "{run}/../report.html",
        "..%2F..%2F..%2Fetc/x/report.html",
        "{run}/{attempt}/..%2Freport.html",
        ".hidden/{attempt}/report.html",
    ],
)
def test_nothing_but_reports_is_served(client: Browser, folder: RunFolder, path: str) -> None:
    path = path.format(run=folder.path.parent.name, attempt=folder.attempt)
    answer = client.get(f"/dags/post_delivery_response/reports/{path}")
    assert answer.status_code in {404, 422}


@pytest.mark.parametrize(
    ("failed", "headline", "shown"),
    [
        (False, "Nothing to retract: 7 copies judged", "Nothing to retract: 7 copies judged<"),
        (True, "Retracted 3 of <7>", "Retracted 3 of &lt;7&gt; (needs attention)<"),
    ],
)
def test_each_run_is_listed_with_what_came_of_it(
    client: Browser, folder: RunFolder, failed: bool, headline: str, shown: str
) -> None:
    assert "see the report" in client.get("/dags/post_delivery_response/reports").text
    summary = ReportSummary(headline=headline, failed=failed, preview=False, changed=0)
    folder.write("summary.json", summary)
    page = client.get("/dags/post_delivery_response/reports").text
    assert shown in page
    (folder.path / "report.html").unlink()
    page = client.get("/dags/post_delivery_response/reports").text
    assert shown not in page
    assert "no report" in page


def test_refreshes_are_listed_with_their_report_and_without_a_window(
    client: Browser, tmp_path: Path
) -> None:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    refresh = RunFolder.create(tmp_path, "refresh_indicators", "scheduled__1", started)
    refresh.write(
        "run.json", Attempt(dag_id="refresh_indicators", run_id="scheduled__1", started_at=started)
    )
    assert "no report" in client.get("/dags/refresh_indicators/reports").text
    refresh.write_text("report.html", "<p>what each source lists</p>")
    refresh.write_text("refreshed.json", "{}")
    said = "7 indicators in force from 2 sources; 1 source could not be read"
    refresh.write(
        "summary.json", ReportSummary(headline=said, failed=True, preview=False, changed=0)
    )

    page = client.get("/dags/refresh_indicators/reports").text

    assert f"{said} (needs attention)" in page
    assert "Mail delivered" not in page
    assert "report.csv" not in page
    at = f"reports/{refresh.path.parent.name}/{refresh.attempt}"
    for file, content in (
        ("report.html", "<p>what each source lists</p>"),
        ("refreshed.json", "{}"),
    ):
        assert f'href="{at}/{file}"' in page
        assert client.get(f"/dags/refresh_indicators/{at}/{file}").text == content
    assert 'href="../post_delivery_response/reports"' in page


def test_runs_of_another_version_alone_are_told(client: Browser, folder: RunFolder) -> None:
    folder.write_text("run.json", "{}")
    page = client.get("/dags/post_delivery_response/reports").text
    assert "Not listed: 1 run," in page
    assert "No run has started" not in page


def test_a_dag_without_runs_has_an_empty_list(client: Browser) -> None:
    assert "No run has started yet" in client.get("/dags/other/reports").text


def test_who_may_not_see_the_dag_sees_nothing(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise HTTPException(403, "no")

    monkeypatch.setattr(web, "may_see_dag", lambda: Depends(refuse))
    client = Browser(web.create_app(Settings(home=tmp_path)))
    run = folder.path.parent.name
    for path in ("reports", f"reports/{run}/{folder.attempt}/report.html"):
        assert client.get(f"/dags/post_delivery_response/{path}").status_code == 403
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert client.get(path).status_code == 404
