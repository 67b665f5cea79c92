"""Each fault does what its profile says, to either service, and the same seed does it again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from local_tenant.delivery import Delivery
from local_tenant.faults.dice import Dice
from local_tenant.faults.door import use_faults
from local_tenant.faults.duplicates import with_duplicates
from local_tenant.faults.profile import PROFILES, FaultProfile, RetryAfter, put_together
from local_tenant.google import oauth
from local_tenant.google.access import MAIL

ANNA, GINA = "anna@north.example", "gina@south.example"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""A fixed time: Gmail's ids are made of it, and the faults depend on the ids."""
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


class GraphCaller:
    """Looks at and moves Anna's messages by Graph."""

    address = ANNA

    def __init__(self, tenant, client):
        self.tenant, self.client = tenant, client

    def look(self, item):
        return self.client.get(f"users/{ANNA}/messages/{item.message_id}", headers=IMMUTABLE)

    def change(self, item):
        url = f"users/{ANNA}/messages/{item.message_id}/move"
        return self.client.post(url, json={"destinationId": "junkemail"}, headers=IMMUTABLE)

    def batch(self, items):
        """The statuses of a batch of moves, in the order of the items."""
        steps = [
            {
                "id": str(number),
                "method": "POST",
                "url": f"/users/{ANNA}/messages/{item.message_id}/move",
                "headers": IMMUTABLE | {"Content-Type": "application/json"},
                "body": {"destinationId": "junkemail"},
            }
            for number, item in enumerate(items)
        ]
        answers = self.client.post("$batch", json={"requests": steps}).json()["responses"]
        return [a["status"] for a in sorted(answers, key=lambda answer: int(answer["id"]))]

    def gone_on(self):
        """A listing of changes; a second one, from where it ended."""
        first = self.client.get(f"users/{ANNA}/mailFolders/inbox/messages/delta", headers=IMMUTABLE)
        return self.client.get(first.json()["@odata.deltaLink"], headers=IMMUTABLE)


class GmailCaller:
    """Looks at and moves Gina's messages by Gmail's API."""

    address = GINA

    def __init__(self, tenant, client):
        self.tenant, self.client = tenant, client

    def look(self, item):
        return self.client.get(f"messages/{item.message_id}", params={"format": "minimal"})

    def change(self, item):
        body = {"addLabelIds": ["SPAM"], "removeLabelIds": ["INBOX"]}
        return self.client.post(f"messages/{item.message_id}/modify", json=body)

    def batch(self, items):
        body = '{"addLabelIds":["SPAM"],"removeLabelIds":["INBOX"]}'
        parts = [
            f"--B\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
            f"POST /gmail/v1/users/me/messages/{item.message_id}/modify HTTP/1.1\r\n"
            f"Content-Type: application/json\r\n\r\n{body}\r\n"
            for number, item in enumerate(items)
        ]
        answer = self.client.post(
            f"{self.tenant.state.origin}/batch/gmail/v1",
            content="".join(parts) + "--B--\r\n",
            headers={"Content-Type": "multipart/mixed; boundary=B"},
        )
        lines = answer.text.splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("HTTP/1.1 ")]

    def gone_on(self):
        first = self.client.get("history", params={"startHistoryId": "1"})
        assert first.status_code == 404
        profile = self.client.get("profile").json()
        return self.client.get("history", params={"startHistoryId": profile["historyId"]})


@pytest.fixture(params=[GraphCaller, GmailCaller])
def caller(request, tenant, graph_of):
    """Somebody with a mailbox at either service, and a client of it."""
    tenant.add_mailbox(request.param.address)
    if request.param is GraphCaller:
        client = graph_of(tenant)
        client.timeout = httpx.Timeout(5)
        yield GraphCaller(tenant, client)
        return
    token = oauth.issue_token(tenant.state, oauth.Caller(GINA, frozenset({MAIL})))
    base = f"{tenant.state.origin}/gmail/v1/users/me/"
    with tenant.http_client(headers={"Authorization": f"Bearer {token}"}) as client:
        client.base_url = httpx.URL(base)
        yield GmailCaller(tenant, client)


def deliver(tenant, address, count):
    return [
        tenant.deliver(f"Message-ID: <{number}@x>\r\n\r\nx".encode(), [address], START)[0]
        for number in range(count)
    ]


def faults(caller, seed=1, **changes):
    return use_faults(caller.tenant.state, FaultProfile(**changes), seed)


def places(caller):
    return [copy["place"] for copy in caller.tenant.copies()]


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [("throttled", {429, 403}), ("unavailable", {503}), ("timed_out", {504})],
)
def test_what_is_refused_is_not_carried_out_and_goes_through_in_the_end(caller, fault, statuses):
    (item,) = deliver(caller.tenant, caller.address, 1)
    door = faults(caller, **{fault: 1}, most_each=2)
    answers = [caller.change(item).status_code for _ in range(2)]
    assert set(answers) <= statuses
    assert places(caller) == ["inbox"]
    assert caller.change(item).is_success
    assert places(caller) == ["junk"]
    assert door.happened == {fault: 2}


@pytest.mark.parametrize(
    ("told", "header"),
    [
        (RetryAfter.WHOLE, "2"),
        (RetryAfter.DECIMAL, "0.35"),
        (RetryAfter.MISSING, None),
        (RetryAfter.ONE, "1"),
        (RetryAfter.NONSENSE, "soon"),
        (RetryAfter.LONG, "150"),
    ],
)
def test_a_throttled_caller_is_told_when_to_come_back_or_not(tenant, graph, told, header):
    item = tenant.deliver(b"x: y\r\n\r\nx", [ANNA])[0]
    use_faults(tenant.state, FaultProfile(throttled=1, retry_after=(told,), most_each=9))
    caller = GraphCaller(tenant, graph)
    answers = [caller.look(item) for _ in range(9)]
    assert {answer.headers.get("Retry-After") for answer in answers} == {header}


def test_a_lost_answer_s_change_was_made(caller):
    (item,) = deliver(caller.tenant, caller.address, 1)
    faults(caller, lost_answers=1)
    assert caller.change(item).status_code == 504
    assert places(caller) == ["junk"]
    assert len(caller.tenant.audit()) == 1


@pytest.mark.parametrize(("fault", "place"), [("reset_before", "inbox"), ("reset_after", "junk")])
def test_a_reset_closes_the_connection_before_or_after_the_change(caller, fault, place):
    (item,) = deliver(caller.tenant, caller.address, 1)
    faults(caller, **{fault: 1}, most_each=1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.change(item)
    assert places(caller) == [place]
    assert caller.change(item).is_success


def test_a_reset_inside_a_batch_loses_all_its_answers(caller):
    items = deliver(caller.tenant, caller.address, 4)
    door = faults(caller, reset_before=0.25, seed=4)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.batch(items)
    missed = door.happened["reset_before"]
    assert 0 < missed < 4
    assert sorted(places(caller)) == ["inbox"] * missed + ["junk"] * (4 - missed)


def test_each_call_of_a_batch_has_its_own_luck(caller):
    items = deliver(caller.tenant, caller.address, 10)
    door = faults(caller, unavailable=0.5)
    statuses = caller.batch(items)
    assert statuses.count(503) == door.happened["unavailable"]
    assert 0 < statuses.count(503) < 10
    moved = [status != 503 for status in statuses]
    assert [place == "junk" for place in places(caller)] == moved


def test_a_slow_answer_comes_after_the_caller_gave_up_and_its_change_was_made(caller):
    (item,) = deliver(caller.tenant, caller.address, 1)
    faults(caller, slow=1, slow_seconds=1.5, most_each=1)
    caller.client.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        caller.change(item)
    assert places(caller) == ["junk"]


def test_a_revoked_token_is_refused_from_then_on(caller):
    (item,) = deliver(caller.tenant, caller.address, 1)
    assert caller.look(item).is_success
    faults(caller, revoked_tokens=1, most_each=1)
    assert [caller.change(item).status_code for _ in range(2)] == [401, 401]
    assert places(caller) == ["inbox"]


def test_tokens_live_as_long_as_the_profile_says(tenant, sign_in):
    use_faults(tenant.state, FaultProfile(token_seconds=20))
    assert sign_in(tenant)["expires_in"] == 19
    use_faults(tenant.state, FaultProfile())
    assert sign_in(tenant)["expires_in"] == 3599


def test_history_expires(caller):
    caller.tenant.state.store.forget_changes(caller.tenant.state.store.mailboxes()[-1])
    deliver(caller.tenant, caller.address, 1)
    assert caller.gone_on().status_code == 200
    faults(caller, expired_history=1)
    assert caller.gone_on().status_code in (404, 410)


def test_a_mailbox_vanishes_with_what_it_holds(caller):
    (item,) = deliver(caller.tenant, caller.address, 1)
    faults(caller, vanishing_mailboxes=1)
    assert caller.look(item).is_success
    answer = caller.change(item)
    assert (answer.status_code, places(caller)) in [(404, ["inbox"]), (400, ["inbox"])]
    assert "MailboxNotEnabledForRESTAPI" in answer.text or "failedPrecondition" in answer.text
    assert not caller.look(item).is_success


def test_owners_do_something_with_a_message_once_around_the_first_calls(caller):
    items = deliver(caller.tenant, caller.address, 40)
    door = faults(caller, owner_deeds=1)
    for item in items:
        caller.look(item)
        caller.change(item)
        caller.change(item)
    audit = [entry for entry in caller.tenant.audit() if entry["operation"].startswith("owner.")]
    kinds = {entry["operation"] for entry in audit}
    assert {"owner.file", "owner.junk", "owner.trash", "owner.delete", "owner.read"} <= kinds
    assert len({entry["message_id"] for entry in audit}) == len(audit)
    assert door.happened["owner_deed"] == 40


def test_under_a_hold_what_is_deleted_for_good_is_kept(tenant, graph):
    item = tenant.deliver(b"x: y\r\n\r\nx", [ANNA])[0]
    use_faults(tenant.state, FaultProfile(held_mailboxes=1))
    url = f"users/{ANNA}/messages/{item.message_id}/permanentDelete"
    assert graph.post(url, headers=IMMUTABLE).status_code == 204
    (copy,) = tenant.copies()
    assert (copy["place"], copy["folder"]) == ("purged", "recoverableitemsdiscoveryholds")


def test_all_callers_together_may_ask_so_much_and_calls_of_a_batch_count(caller):
    items = deliver(caller.tenant, caller.address, 10)
    faults(caller, app_requests_per_second=6, gmail_units_per_second=30)
    statuses = caller.batch(items)
    refused = [status for status in statuses if status in (429, 403)]
    assert len(refused) == 4
    assert places(caller).count("junk") == 6


def story(caller, items, order):
    """What befell each message, by how its calls were answered."""
    told = {item.message_id: [] for item in items}
    for item in order:
        told[item.message_id].append(caller.change(item).status_code)
    return told


def test_the_same_seed_has_the_same_faults_in_whatever_order_calls_come(caller):
    items = deliver(caller.tenant, caller.address, 12)
    chances = {"throttled": 0.3, "unavailable": 0.2, "lost_answers": 0.3}
    calls = items * 4
    stories = []
    for seed in (5, 5, 6):
        faults(caller, seed=seed, **chances)
        random.Random(len(stories)).shuffle(calls)
        stories.append(story(caller, items, calls))
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


def test_dice_are_the_same_everywhere():
    assert Dice(1).number(("a", "b")) == pytest.approx(Dice(1).number(("a", "b")))
    assert Dice(1).number(("a", "b")) != Dice(2).number(("a", "b"))
    many = [Dice(3).number(("x", str(number))) for number in range(2_000)]
    assert 0.45 < sum(number < 0.5 for number in many) / 2_000 < 0.55


def test_duplicates_come_by_list_or_with_a_forged_message_id():
    raw = b"From: a@b.example\r\nMessage-ID: <1@b.example>\r\n\r\nx"
    sent = [Delivery(str(number), raw, (ANNA,), START) for number in range(100)]
    made = list(with_duplicates(sent, 0.3, seed=1))
    extra = [delivery for delivery in made if "+" in delivery.delivery_id]
    assert 15 < len(extra) < 45
    assert {delivery.delivery_id.partition("+")[2] for delivery in extra} == {"list", "forged"}
    assert all(b"Message-ID: <1@b.example>" in delivery.raw for delivery in extra)
    assert all(timedelta() < each.received_at - START <= timedelta(minutes=2) for each in extra)
    assert [delivery for delivery in made if "+" not in delivery.delivery_id] == sent
    assert list(with_duplicates(sent, 0.3, seed=1)) == made


def test_profiles_are_put_together_by_name():
    both = put_together(["throttled", "lost_answers"])
    assert (both.throttled, both.lost_answers, both.slow) == (0.2, 0.3, 0)
    everything = put_together(["everything"])
    for name, profile in PROFILES.items():
        for field in profile.model_fields_set - {"retry_after", "most_each", "throttled"}:
            assert getattr(everything, field) == getattr(profile, field), name
    with pytest.raises(ValueError, match="no fault profile 'rain'; there are throttled"):
        put_together(["rain"])


def test_faults_are_changed_while_the_tenant_runs(tenant):
    with tenant.http_client() as client:
        assert client.get("/_tenant/faults").json()["happened"] == {}
        wish = {"profiles": ["throttled"], "profile": {"slow": 0.5}, "seed": 3}
        told = client.put("/_tenant/faults", json=wish).json()
        assert told == {"profile": {"throttled": 0.2, "slow": 0.5}, "seed": 3, "happened": {}}
        assert client.put("/_tenant/faults", json={"profiles": ["rain"]}).status_code == 422
        assert client.put("/_tenant/faults", json={"weather": "rain"}).status_code == 422
        assert client.put("/_tenant/faults", json={}).json()["profile"] == {}
