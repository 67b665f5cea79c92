from __future__ import annotations

import pytest

from retract.indicators.wording import quoted


@pytest.mark.parametrize("text", ["", "plain", "ümlaut", "\ud800", "a\x00b", "\u202e", "x" * 301])
def test_what_is_quoted_can_be_stored_and_shown(text):
    fit = quoted(text, 300)

    assert fit.isprintable()
    fit.encode("utf-8")
    assert len(fit) == min(len(text), 300)
