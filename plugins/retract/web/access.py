"""Who may see the pages: the one module that touches Airflow's internal security functions."""

from __future__ import annotations

from typing import Any

from fastapi import Depends


def may_see_dag() -> Any:
    """A dependency: the signed-in user may read the DAG named by ``dag_id`` in the path."""
    from airflow.api_fastapi.core_api.security import requires_access_dag

    return Depends(requires_access_dag("GET"))
