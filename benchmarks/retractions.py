"""Retractions in a second as a ratio to what the service's limit allows, beside plainer ways.

    python benchmarks/retractions.py [--mailboxes 100] [--messages 6] [--rate 300] [--rounds 3]

A retraction takes three calls: look, move, read back. The local tenant (Microsoft Graph) enforces
``--rate`` calls a second for the whole application, set below what this machine can serve, so
rate / 3 retractions a second are allowed. All ways run against one tenant, each round with mail of
its own, and medians are printed. The acting task is the job's own: it reads its part of the plan,
signs in, claims every copy in the ledger and settles it there. The plain ways keep no ledger; they
wait when the service says so. A bare move is one call, unverified.
"""

from __future__ import annotations

import json
import os
import ssl
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from _alone import Figures, child, measured
from scale import FEEDS, POLICY, URL, learn

from local_system import check
from local_system.system import Tenant, TenantInfo
from local_tenant.people import people
from retract.installation import Settings
from retract.orchestration import response
from retract.orchestration.windows import RunRequest

CALLS = 3
"""Of one retraction: look, move, read back."""
WAYS = {"one call at a time": (1, True), "8 threads": (8, True), "16 threads": (16, True),
        "bare moves, 16 threads": (16, False)}  # fmt: skip

CONNECTION = "AIRFLOW_CONN_MICROSOFT365_DEFAULT"

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    mailboxes: Annotated[int, typer.Option(min=2)] = 100,
    messages: Annotated[int, typer.Option(min=1)] = 6,
    rate: Annotated[int, typer.Option(min=3)] = 300,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Run every way, and print its rate and its ratio to what is allowed."""
    if context.invoked_subcommand:
        return
    with tempfile.TemporaryDirectory() as folder:
        rates = _rates(Path(folder), mailboxes, messages, rate, rounds)
    allowed = rate / CALLS
    print(f"{rate} calls/s allowed: {allowed:.0f} retractions/s")
    for way, measured_rates in rates.items():
        median = statistics.median(measured_rates)
        print(f"{way:24}{median:8.1f} retractions/s   ratio {median / allowed:.2f}")
    bare = statistics.median(rates["bare moves, 16 threads"])
    retract = statistics.median(rates["retract"])
    print(f"retract to bare moves: ratio {retract / bare:.2f} (of 1/{CALLS} of the calls)")


def _rates(
    home: Path, mailboxes: int, messages: int, rate: int, rounds: int
) -> dict[str, list[float]]:
    (home / "policy.yaml").write_text(POLICY)
    (home / "feeds.yaml").write_text(FEEDS)
    (home / "list.txt").write_text(f"{URL}\n")
    options = ["--mailboxes", str(2 * mailboxes), "--messages", "0", "--state-dir", str(home / "t")]
    with Tenant.start(options, home / "tenant.log") as tenant:
        connection = json.loads(tenant.info.airflow_connections()[CONNECTION])
        connection["extra"]["requests_per_second"] = rate
        os.environ |= {
            CONNECTION: json.dumps(connection),
            "RETRACT_HOME": str(home / "retract"),
            "RETRACT_POLICY_FILE": str(home / "policy.yaml"),
            "RETRACT_FEEDS_FILE": str(home / "feeds.yaml"),
            "RETRACT_CONNECTIONS": "microsoft365_default",
            "RETRACT_MAX_SHARDS": "1",
            "BENCHMARK_TENANT": tenant.info.model_dump_json(),
        }
        child("learn")
        rates: dict[str, list[float]] = {}
        for number in range(rounds):
            for way in ("retract", *WAYS):
                before = set(check.copies(tenant.info))
                _deliver(tenant.info, mailboxes, messages, bad=way == "retract")
                new = [key for key in check.copies(tenant.info) if key not in before]
                what = _planned(number) if way == "retract" else _listed(home, way, new)
                _limit(tenant.info, rate)
                figures = Figures(*json.loads(child(*what).splitlines()[-1]))
                _limit(tenant.info, None)
                if figures.count != len(new):
                    raise SystemExit(f"{way}: {figures.count} of {len(new)} copies were moved")
                rates.setdefault(way, []).append(len(new) / figures.seconds)
    return rates


def _deliver(tenant: TenantInfo, mailboxes: int, messages: int, *, bad: bool) -> None:
    persons = people("north.example", mailboxes, seed=1)
    url = URL if bad else "http://good.example.net/"
    for number in range(messages):
        raw = f"From: a@elsewhere.example\r\nSubject: {number}\r\n\r\nPlease see {url}\r\n"
        check.deliver(tenant, raw.encode(), [person.address for person in persons])


def _limit(tenant: TenantInfo, rate: int | None) -> None:
    """Graph's limit for the whole application, or none."""
    faults = {"profile": {"app_requests_per_second": rate} if rate else {}}
    trust = ssl.create_default_context(cafile=tenant.ca_file)
    with httpx.Client(base_url=tenant.control_url, verify=trust) as client:
        client.put("faults", json=faults).raise_for_status()


def _planned(number: int) -> list[str]:
    """Everything up to the plan; what the acting task is asked for."""
    told: list[str] = json.loads(child("plan", str(number)).splitlines()[-1])
    return ["act", *told]


def _listed(home: Path, way: str, copies: list[check.CopyKey]) -> list[str]:
    """A file of mailboxes and message ids; what a plain way is asked for."""
    file = home / "copies.json"
    file.write_text(json.dumps([(mailbox, message_id) for _, mailbox, message_id in copies]))
    return ["plain", way, str(file)]


app.command()(learn)


@app.command()
def plan(number: int) -> None:
    """A run up to its plan: prints its folder and what its one acting task is given."""
    request = RunRequest(
        dag_id="post_delivery_response",
        run_id=f"manual__{number}",
        run_type="manual",
        run_after=datetime.now(UTC),
        interval_start=None,
        interval_end=None,
        params={},
    )
    folder = response.open_run(Settings(), request)
    response.list_mailboxes(folder, "microsoft365_default")
    for shard in response.shard_mailboxes(Settings(), folder):
        response.collect(Settings(), folder, shard)
    response.pin(Settings(), folder)
    response.match(Settings(), folder)
    (shard,) = response.make_plan(Settings(), folder)
    print(json.dumps([folder, json.dumps(shard)]))


@app.command()
def act(folder: str, shard: str) -> None:
    """The job's own acting task."""
    print(measured(lambda: sum(response.act(Settings(), folder, json.loads(shard)).values())))


@app.command()
def plain(way: str, file: str) -> None:
    """Call by call, in so many threads."""
    tenant = TenantInfo.model_validate_json(os.environ["BENCHMARK_TENANT"])
    copies = json.loads(Path(file).read_text())
    threads, verified = WAYS[way]
    trust = ssl.create_default_context(cafile=tenant.ca_file)

    def move_all() -> int:
        with httpx.Client(verify=trust, timeout=60) as client:
            client.headers = {"Authorization": f"Bearer {_token(client, tenant)}", **_IMMUTABLE}
            root = f"{tenant.graph_url}/v1.0/users"
            with ThreadPoolExecutor(threads) as pool:
                return sum(
                    pool.map(
                        lambda copy: _move(client, f"{root}/{copy[0]}", copy[1], verified), copies
                    )
                )

    print(measured(move_all))


_IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


def _token(client: httpx.Client, tenant: TenantInfo) -> str:
    asked = {
        "grant_type": "client_credentials",
        "client_id": tenant.client_id,
        "client_secret": tenant.client_secret,
        "scope": f"{tenant.graph_url}/.default",
    }
    url = tenant.authority_url.replace("{tenant_id}", tenant.tenant_id)
    answer = client.post(f"{url}/oauth2/v2.0/token", data=asked).raise_for_status()
    token: str = answer.json()["access_token"]
    return token


def _move(client: httpx.Client, user: str, message_id: str, verified: bool) -> bool:
    message = f"{user}/messages/{message_id}"
    if verified:
        _call(client, "GET", f"{message}?$select=id,parentFolderId,isRead")
    moved = _call(client, "POST", f"{message}/move", {"destinationId": "deleteditems"})
    if verified:
        seen = _call(client, "GET", f"{message}?$select=id,parentFolderId,isRead")
        return bool(seen["parentFolderId"] == moved["parentFolderId"])
    return True


def _call(client: httpx.Client, method: str, url: str, body: Any = None) -> Any:
    while (answer := client.request(method, url, json=body)).status_code == 429:
        time.sleep(float(answer.headers["Retry-After"]))
    return answer.raise_for_status().json()


if __name__ == "__main__":
    app()
