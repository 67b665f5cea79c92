"""Many mailboxes are filled evenly, with a campaign that can be told from the rest."""

from __future__ import annotations

from collections import Counter

from local_tenant.crowd import CAMPAIGN_URL, gather
from local_tenant.state import TenantSettings, new_state


def filled(seed=1):
    state = new_state(TenantSettings(seed=seed))
    return state, gather(state, mailboxes=300, campaign_copies=600, ordinary_copies=1_500)


def test_every_mailbox_has_its_share_and_no_message_twice():
    state, crowd = filled()
    items = [(mailbox.address, item) for mailbox, item in state.store.all_items()]
    bad = [(address, item) for address, item in items if item.delivery_id in crowd.campaign]
    assert (crowd.campaign_copies, len(bad), len(items)) == (600, 600, 2_100)
    assert set(Counter(address for address, _ in bad).values()) == {2}
    assert max(Counter((address, item.delivery_id) for address, item in items).values()) == 1
    assert all(CAMPAIGN_URL.encode() in item.content.raw for _, item in bad)
    assert sum(CAMPAIGN_URL.encode() in item.content.raw for _, item in items) == 600


def test_copies_share_their_message():
    state, _ = filled()
    assert len({id(item.content) for _, item in state.store.all_items()}) < 20


def test_the_same_seed_fills_the_same_way():
    def where(seed):
        state, _ = filled(seed)
        return [(m.address, i.delivery_id, i.is_read) for m, i in state.store.all_items()]

    assert where(1) == where(1)
    assert where(1) != where(2)
