"""The Gmail API, version 1, for delegated users: profile, messages, labels and history."""

from __future__ import annotations

from fastapi import APIRouter

from local_tenant.google.access import Gmail
from local_tenant.google.changing import add_changing
from local_tenant.google.errors import GoogleRoute
from local_tenant.google.history import add_history
from local_tenant.google.inserting import add_inserting
from local_tenant.google.labels import add_labels
from local_tenant.google.reading import add_reading
from local_tenant.state import TenantState


def make_router(state: TenantState) -> APIRouter:
    """Everything under /gmail/v1/users/{userId}."""
    router = APIRouter(prefix="/gmail/v1/users/{user_id}", route_class=GoogleRoute)
    gmail = Gmail(state)
    for add in (add_reading, add_changing, add_inserting, add_labels, add_history):
        add(router, gmail, state)
    return router
