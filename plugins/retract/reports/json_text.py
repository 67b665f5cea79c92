"""Exact values for programs, as JSON."""

from __future__ import annotations

import json

from pydantic import BaseModel


def json_text(facts: BaseModel) -> str:
    """Exact values. Characters beyond ASCII are escaped, so that no terminal obeys them."""
    return json.dumps(facts.model_dump(mode="json"), indent=1, ensure_ascii=True) + "\n"
