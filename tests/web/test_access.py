"""The pages as Airflow serves them: nobody sees them without signing in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ASK = """
import asyncio, httpx
from airflow.api_fastapi.app import create_app

async def ask():
    transport = httpx.ASGITransport(app=create_app(apps="core"))
    async with httpx.AsyncClient(transport=transport, base_url="http://ui") as client:
        for path in ("reports", "reports/run/attempt/report.html"):
            answer = await client.get(f"/retract/dags/post_delivery_response/{path}")
            print("status", answer.status_code)
        print("status", (await client.get("/retract/openapi.json")).status_code)

asyncio.run(ask())
"""


def test_an_anonymous_request_is_refused(tmp_path: Path) -> None:
    """In a process of its own, as the API server loads the plugin."""
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "RETRACT_HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("status")]
    assert answers == ["status 401", "status 401", "status 404"], done.stdout
