"""What goes wrong at a service becomes the one fitting error, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from retract.model import Provider

MICROSOFT = Provider.MICROSOFT365
GOOGLE = Provider.GOOGLE_WORKSPACE
BOTH = pytest.mark.parametrize("provider", list(Provider))

Make = Callable[..., Any]
