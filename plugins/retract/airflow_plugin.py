"""What Airflow's plugin loader sees: the UI pages, built only where they are served."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class RetractPlugin(AirflowPlugin):
    """Adds "Retraction reports" and "Refresh reports" to the navigation."""

    name = "retract"
    external_views = [  # noqa: RUF012  Airflow reads this attribute as it is
        {
            "name": "Retraction reports",
            "href": "/retract/dags/post_delivery_response/reports",
            "destination": "nav",
            "category": "browse",
            "url_route": "retraction_reports",
        },
        {
            "name": "Refresh reports",
            "href": "/retract/dags/refresh_indicators/reports",
            "destination": "nav",
            "category": "browse",
            "url_route": "refresh_reports",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Made when the API server asks: every task process loads this file."""
        from retract.installation import Settings
        from retract.web.app import MOUNTED_AT, create_app

        app = create_app(Settings())
        return [{"app": app, "url_prefix": MOUNTED_AT, "name": "Retraction reports"}]
