"""The whole system on loopback: the local tenant in a process of its own, DAGs run by Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_system import check
from local_system.system import REPOSITORY, Airflow, Tenant
from retract.model import ACTIONABLE_DISPOSITIONS, Provider
from retract.policy import load_policy
from retract.reports.model import RunReport

DEMO_POLICY = REPOSITORY / "include" / "policies" / "demo.yaml"


@dataclass
class System:
    """One tenant and one Airflow wired to it."""

    home: Path
    tenant: Tenant
    airflow: Airflow

    def refresh(self) -> int:
        return self.airflow.test_dag("refresh_indicators")

    def respond(self, **conf: Any) -> int:
        return self.airflow.test_dag("post_delivery_response", conf=conf or None)

    def log(self, dag_id: str) -> str:
        return (self.airflow.home / f"{dag_id}.log").read_text(encoding="utf-8")

    def report(self) -> RunReport:
        """The newest run's report."""
        folder = self.airflow.newest_attempt("post_delivery_response")
        assert folder is not None, "no run was opened"
        return RunReport.model_validate_json((folder / "report.json").read_text("utf-8"))

    def copies(self) -> dict[check.CopyKey, check.TenantCopy]:
        return check.copies(self.tenant.info)

    def audit(self) -> list[dict[str, Any]]:
        """Every changing call the tenant has seen, but for deliveries."""
        return check.audit(self.tenant.info)

    def deliver(self, raw: bytes, recipients: Iterable[str]) -> None:
        check.deliver(self.tenant.info, raw, recipients)

    def mailboxes(self) -> list[str]:
        """The addresses that hold mail, of both providers."""
        return sorted({key[1] for key in self.copies()})

    def truth(self) -> dict[check.CopyKey, str]:
        """The action each copy should meet, by the generator's own knowledge."""
        policy = load_policy(DEMO_POLICY)
        actions = {
            (provider.value, disposition.value): policy.action(provider, disposition).value
            for provider in Provider
            for disposition in ACTIONABLE_DISPOSITIONS
        }
        return check.expected_by_truth(
            self.home / "scenario" / "truth.json", self.copies().values(), actions
        )

    def environment(self, changes: Mapping[str, str]) -> System:
        """The same system with other environment variables for Airflow."""
        airflow = Airflow.__new__(Airflow)
        airflow.__dict__ = self.airflow.__dict__ | {
            "environment": self.airflow.environment | dict(changes)
        }
        return System(self.home, self.tenant, airflow)


@pytest.fixture(scope="module")
def start_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., System]]:
    """Starts systems that end with the module.

    Takes ``tenant_options`` for ``local_tenant serve``, ``policy``, ``feeds`` (default: the
    scenario's), and ``trust_headers`` (whether the disposition at delivery is believed).
    """
    with ExitStack() as running:

        def start(
            *tenant_options: str,
            policy: Path = DEMO_POLICY,
            feeds: Path | None = None,
            trust_headers: bool = True,
        ) -> System:
            home = tmp_path_factory.mktemp("system")
            scenario = home / "scenario"
            options = ["--scenario", str(scenario), "--state-dir", str(home / "tenant")]
            tenant = running.enter_context(
                Tenant.start([*options, *tenant_options], home / "tenant.log")
            )
            airflow = Airflow(
                home / "airflow",
                policy_file=policy,
                feeds_file=feeds or scenario / "feeds.yaml",
                connections=tenant.info.airflow_connections(trust_headers=trust_headers),
                extra={"RETRACT_RETRY_SECONDS": "0.1"},
            )
            airflow.migrate()
            return System(home, tenant, airflow)

        yield start
