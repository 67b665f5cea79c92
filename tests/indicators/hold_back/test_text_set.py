from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retract.indicators.hold_back.text_set import TextSet


@given(st.sets(st.text()), st.text())
def test_a_text_set_holds_what_a_set_holds(texts, other):
    held = TextSet(texts)
    assert all(text in held for text in texts)
    assert (other in held) == (other in texts)
    assert len(held) == len(texts)
