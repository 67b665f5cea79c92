"""Retractions in a second as a ratio to what the service's limit allows, beside plainer ways.

    python benchmarks/retractions.py [--mailboxes 100] [--messages 6] [--calls 150]
        [--units 13500] [--rounds 1]

A retraction looks, moves and reads back. At Microsoft Graph that takes three calls, at Gmail 45
quota units (20, 5, 20). The local tenant enforces limits below what this machine can serve, which
the same ways show without a limit:

- ``--calls`` to Graph in any second, which is stricter than its own count by ten seconds. The
  ratio is that of retractions in a second.
- ``--units`` of Gmail in any minute, for the whole project. What one minute allows may all be
  spent at its beginning, so the ratio is that of the least time to the time taken. The default
  allows half of the copies in a minute. A plain way would take a minute, too, and is left out.

The tenant answers at once; a real service takes longer, which one call at a time pays in full.

All ways run against one tenant, each round with mail of its own, and medians are printed. The
acting task is the job's own: it reads its part of the plan, signs in, claims every copy in the
ledger and settles it there, all of which counts; what modules take to load does not. The plain
ways keep no ledger; they wait when the service says so. A bare move is one call, unverified.
"""

from __future__ import annotations

import json
import math
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

import google_auth_httplib2
import httplib2
import httpx
import typer
from _alone import Figures, child, measured
from google.oauth2 import service_account
from scale import FEEDS, POLICY, URL, learn

from local_system import check
from local_system.system import Tenant, TenantInfo
from local_tenant.people import people
from retract.installation import Settings
from retract.mailboxes.google_workspace.quota import Quota
from retract.mailboxes.pace import Pace
from retract.orchestration import response
from retract.orchestration.windows import RunRequest


class Service(NamedTuple):
    """One provider, and how its limit is told."""

    title: str
    domain: str
    each: int
    """What a retraction uses up of the limit."""
    unit: str
    window: int
    """Seconds that the limit is for."""
    limit: str
    """The tenant's own name for it."""
    setting: str
    """The connection's."""
    limited: tuple[str, ...]
    """The ways that run under the limit."""

    def ratio(self, limit: int, copies: int, seconds: float) -> str:
        """Of what the limit allows to what was reached."""
        windows = copies * self.each / limit
        if self.window == 1:
            return f"ratio {windows / seconds:.2f}"
        least = self.window * (math.ceil(windows) - 1)
        return f"ratio {least / seconds:.2f}" if least else "within the limit"


OURS = "retract"
WAYS = {"one call at a time": (1, True), "16 threads": (16, True),
        "bare moves, 16 threads": (16, False)}  # fmt: skip
"""The plain ways: threads, and whether each move is looked at before and after."""
UNLIMITED = (OURS, "one call at a time", "16 threads")

SERVICES = {
    "microsoft365": Service(
        "Microsoft Graph", "north.example", 3, "calls", 1, "app_requests_per_second",
        "requests_per_second", (OURS, *WAYS),
    ),
    "google_workspace": Service(
        "Gmail", "south.example", 45, "units", 60, "gmail_units_per_minute",
        "project_units_per_minute", (OURS,),
    ),
}  # fmt: skip

app = typer.Typer(add_completion=False)


class Run(NamedTuple):
    """One way's round."""

    copies: int
    seconds: float
    used: int
    """Of the limit, what was refused and asked again included."""
    first: float
    """Seconds before anything was asked of a mailbox."""


@app.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    mailboxes: Annotated[int, typer.Option(min=2)] = 100,
    messages: Annotated[int, typer.Option(min=1)] = 6,
    calls: Annotated[int, typer.Option(min=3)] = 150,
    units: Annotated[int, typer.Option(min=45)] = 13_500,
    rounds: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Run every way at both services, and print its rate and its ratio to what is allowed."""
    if context.invoked_subcommand:
        return
    for key, limit in zip(SERVICES, (calls, units), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            runs = _runs(Path(folder), key, mailboxes, messages, limit, rounds)
        _print(SERVICES[key], limit, runs)


def _print(service: Service, limit: int, runs: dict[tuple[str, int | None], list[Run]]) -> None:
    each = {1: "second", 60: "minute"}[service.window]
    copies = limit / service.each
    print(f"{service.title}: {limit} {service.unit} allowed in a {each}, {copies:.0f} retractions")
    for (way, enforced), some in runs.items():
        copies = some[0].copies
        seconds = statistics.median(run.seconds for run in some)
        told = service.ratio(limit, copies, seconds) if enforced else "without a limit"
        used = statistics.median(run.used for run in some) / copies
        first = statistics.median(run.first for run in some)
        print(
            f"  {way:24}{copies:5} in {seconds:5.1f} s {copies / seconds:8.1f}/s   {told:18}"
            f"{used:5.1f} {service.unit} each, the first after {first:.2f} s",
            flush=True,
        )


def _runs(
    home: Path, key: str, mailboxes: int, messages: int, limit: int, rounds: int
) -> dict[tuple[str, int | None], list[Run]]:
    """By way and enforced limit."""
    (home / "policy.yaml").write_text(POLICY)
    (home / "feeds.yaml").write_text(FEEDS)
    (home / "list.txt").write_text(f"{URL}\n")
    options = ["--mailboxes", str(2 * mailboxes), "--messages", "0", "--state-dir", str(home / "t")]
    with Tenant.start(options, home / "tenant.log") as tenant:
        os.environ |= {
            "RETRACT_HOME": str(home / "retract"),
            "RETRACT_POLICY_FILE": str(home / "policy.yaml"),
            "RETRACT_FEEDS_FILE": str(home / "feeds.yaml"),
            "RETRACT_CONNECTIONS": f"{key}_default",
            "RETRACT_MAX_SHARDS": "1",
            "BENCHMARK_TENANT": tenant.info.model_dump_json(),
        }
        child("learn")
        round_of = partial(_run, home, tenant.info, key, mailboxes, messages)
        todo = [(way, limit) for way in SERVICES[key].limited] + [(way, None) for way in UNLIMITED]
        return {one: [round_of(*one) for _ in range(rounds)] for one in todo}


def _run(
    home: Path,
    tenant: TenantInfo,
    key: str,
    mailboxes: int,
    messages: int,
    way: str,
    limit: int | None,
) -> Run:
    """One way with new mail, the limit in force while it acts."""
    name = f"AIRFLOW_CONN_{key.upper()}_DEFAULT"
    connection = json.loads(tenant.airflow_connections()[name])
    os.environ[name] = json.dumps(connection)
    before = set(check.copies(tenant))
    _deliver(tenant, SERVICES[key].domain, mailboxes, messages, bad=way == OURS)
    new = [copy for copy in check.copies(tenant) if copy not in before]
    what = _planned(key, f"{len(before)}") if way == OURS else _listed(home, key, way, new)
    if limit:
        connection["extra"][SERVICES[key].setting] = limit
        os.environ[name] = json.dumps(connection)
    _enforce(tenant, {SERVICES[key].limit: limit} if limit else {})
    figures, used, first = json.loads(child(*what).splitlines()[-1])
    _enforce(tenant, {})
    seconds, _, count = Figures(*figures)
    if count != len(new):
        raise SystemExit(f"{way}: {count} of {len(new)} copies were moved")
    return Run(count, seconds, used, first)


def _deliver(tenant: TenantInfo, domain: str, mailboxes: int, messages: int, *, bad: bool) -> None:
    persons = people(domain, mailboxes, seed=1)
    url = URL if bad else "http://good.example.net/"
    for number in range(messages):
        raw = f"From: a@elsewhere.example\r\nSubject: {number}\r\n\r\nPlease see {url}\r\n"
        check.deliver(tenant, raw.encode(), [person.address for person in persons])


def _enforce(tenant: TenantInfo, limits: dict[str, int]) -> None:
    """These limits on all callers together, or none."""
    trust = ssl.create_default_context(cafile=tenant.ca_file)
    with httpx.Client(base_url=tenant.control_url, verify=trust) as client:
        client.put("faults", json={"profile": limits}).raise_for_status()


def _planned(key: str, run: str) -> list[str]:
    """Everything up to the plan; what the acting task is asked for."""
    told: list[str] = json.loads(child("plan", key, run).splitlines()[-1])
    return ["act", *told]


def _listed(home: Path, key: str, way: str, copies: list[check.CopyKey]) -> list[str]:
    """A file of mailboxes and message ids; what a plain way is asked for."""
    file = home / "copies.json"
    file.write_text(json.dumps([(mailbox, message_id) for _, mailbox, message_id in copies]))
    return ["plain", key, way, str(file)]


class Used:
    """How much of the limit was asked for, and when first."""

    def __init__(self) -> None:
        self.units = 0
        self.first = 0.0
        self._began = time.perf_counter()

    def count(self, units: int) -> None:
        self.first = self.first or time.perf_counter() - self._began
        self.units += units


def _told(way: Callable[[Used], int]) -> None:
    used = Used()
    figures = json.loads(measured(lambda: way(used)))
    print(json.dumps([figures, used.units, used.first]))


# --- the job's own way ---

app.command()(learn)


@app.command()
def plan(key: str, run: str) -> None:
    """A run up to its plan: prints its folder and what its one acting task is given."""
    request = RunRequest(
        dag_id="post_delivery_response",
        run_id=f"manual__{run}",
        run_type="manual",
        run_after=datetime.now(UTC),
        interval_start=None,
        interval_end=None,
        params={},
    )
    folder = response.open_run(Settings(), request)
    response.list_mailboxes(folder, f"{key}_default")
    for shard in response.shard_mailboxes(Settings(), folder):
        response.collect(Settings(), folder, shard)
    for part in response.pin(Settings(), folder):
        response.match(Settings(), folder, part)
    (shard,) = response.make_plan(Settings(), folder)
    print(json.dumps([folder, json.dumps(shard)]))


@app.command()
def act(folder: str, shard: str) -> None:
    """The job's own acting task."""
    for module in ("mailboxes.connect", "retraction.act", "retraction.parts"):
        import_module(f"retract.{module}")

    def carry_out(used: Used) -> int:
        with _counted(used):
            return sum(response.act(Settings(), folder, json.loads(shard)).values())

    _told(carry_out)


@contextmanager
def _counted(used: Used) -> Iterator[None]:
    """All that goes through the program's own accounts of the limits."""
    keep, take = Pace.keep, Quota.take

    async def counted_keep(pace: Pace, calls: int) -> None:
        used.count(calls)
        await keep(pace, calls)

    def counted_take(quota: Quota, user: str, units: int) -> float:
        wait = take(quota, user, units)
        if not wait:
            used.count(units)
        return wait

    with patch.object(Pace, "keep", counted_keep), patch.object(Quota, "take", counted_take):
        yield


# --- the plain ways ---


@app.command()
def plain(key: str, way: str, file: str) -> None:
    """Call by call, in so many threads."""
    tenant = TenantInfo.model_validate_json(os.environ["BENCHMARK_TENANT"])
    copies = json.loads(Path(file).read_text())
    threads, verified = WAYS[way]
    trust = ssl.create_default_context(cafile=tenant.ca_file)

    def move_all(used: Used) -> int:
        with (
            httpx.Client(verify=trust, timeout=60) as client,
            ThreadPoolExecutor(threads) as pool,
        ):
            if key == "microsoft365":
                headers = {"Authorization": f"Bearer {_token(client, tenant)}", **_IMMUTABLE}
                asking = partial(_call, client, used.count, headers)
                move = partial(_move_at_microsoft, f"{tenant.graph_url}/v1.0/users", verified)
                return sum(pool.map(lambda copy: move(asking, *copy), copies))
            users = list(dict.fromkeys(mailbox for mailbox, _ in copies))
            tokens = dict(zip(users, pool.map(_tokens_of(tenant), users), strict=True))
            askings = {
                user: partial(_call, client, used.count, {"Authorization": f"Bearer {token}"})
                for user, token in tokens.items()
            }
            root = f"{tenant.gmail_url}/gmail/v1/users"
            move = partial(_move_at_google, root, verified)
            return sum(pool.map(lambda copy: move(askings[copy[0]], *copy), copies))

    _told(move_all)


Asking = Callable[..., Any]
"""A call: its units, method, address, and body."""

_IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


def _move_at_microsoft(
    root: str, verified: bool, ask: Asking, mailbox: str, message_id: str
) -> bool:
    message = f"{root}/{mailbox}/messages/{message_id}"
    look = (1, "GET", f"{message}?$select=id,parentFolderId,isRead")
    if verified:
        ask(*look)
    moved = ask(1, "POST", f"{message}/move", {"destinationId": "deleteditems"})
    return not verified or bool(ask(*look)["parentFolderId"] == moved["parentFolderId"])


def _move_at_google(root: str, verified: bool, ask: Asking, mailbox: str, message_id: str) -> bool:
    message = f"{root}/{mailbox}/messages/{message_id}"
    look = (20, "GET", f"{message}?format=minimal")
    if verified:
        ask(*look)
    ask(5, "POST", f"{message}/modify", {"addLabelIds": ["TRASH"], "removeLabelIds": ["INBOX"]})
    return not verified or "TRASH" in ask(*look)["labelIds"]


def _call(
    client: httpx.Client,
    count: Callable[[int], None],
    headers: dict[str, str],
    units: int,
    method: str,
    url: str,
    body: Any = None,
) -> Any:
    while True:
        count(units)
        answer = client.request(method, url, headers=headers, json=body)
        # 403: Gmail's quota, which names no wait.
        if answer.status_code not in (403, 429):
            return answer.raise_for_status().json()
        time.sleep(float(answer.headers.get("Retry-After", 1)))


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


def _tokens_of(tenant: TenantInfo) -> Callable[[str], str]:
    """Each user's token for Gmail."""
    key = service_account.Credentials.from_service_account_file(
        tenant.service_account_file, scopes=["https://www.googleapis.com/auth/gmail.modify"]
    )

    def token(user: str) -> str:
        credentials = key.with_subject(user)
        http = httplib2.Http(ca_certs=tenant.ca_file)
        credentials.refresh(google_auth_httplib2.Request(http))
        return str(credentials.token)

    return token


if __name__ == "__main__":
    app()
