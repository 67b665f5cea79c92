from __future__ import annotations

import base64

import pytest

from retract.errors import FeedError
from retract.indicators.fetching.authorization import authorization
from retract.indicators.fetching.credentials import NO_CREDENTIALS, Credentials

KEY = Credentials(password="k3y")
LOGIN = Credentials(login="ann", password="k3y")
BASIC = {"Authorization": "Basic " + base64.b64encode(b"ann:k3y").decode()}


@pytest.fixture
def header(source):
    def header(credentials: Credentials, location="https://feeds.example/x", **settings):
        one = source(location=location, connection="feeds", **settings)
        return authorization(one, credentials)

    return header


def test_nothing_is_sent_where_nothing_is_known(header):
    assert header(NO_CREDENTIALS) == {}
    assert header(NO_CREDENTIALS, format="urlhaus") == {}


@pytest.mark.parametrize("written", ["urlhaus", "threatfox"])
def test_abuse_ch_takes_its_own_header(header, written):
    assert header(KEY, format=written) == {"Auth-Key": "k3y"}
    assert header(LOGIN, format=written) == {"Auth-Key": "k3y"}


def test_a_misp_server_takes_the_bare_key(header):
    assert header(KEY, format="misp", service="misp_server") == {"Authorization": "k3y"}
    assert header(LOGIN, format="misp", service="misp_server") == {"Authorization": "k3y"}


def test_a_misp_folder_is_often_behind_a_login(header):
    assert header(KEY, format="misp", service="misp_feed") == {"Authorization": "k3y"}
    assert header(LOGIN, format="misp", service="misp_feed") == BASIC


@pytest.mark.parametrize(
    "settings", [{}, {"format": "stix", "service": "taxii"}, {"format": "stix"}]
)
def test_others_take_basic_with_a_login_and_bearer_without(header, settings):
    assert header(LOGIN, **settings) == BASIC
    assert header(KEY, **settings) == {"Authorization": "Bearer k3y"}


def test_a_header_that_is_named_carries_the_bare_password(header):
    named = Credentials(login="ann", password="k3y", header="X-Api-Key")
    for settings in ({}, {"format": "urlhaus"}, {"location": "https://feeds.example/{key}"}):
        assert header(named, **settings) == {"X-Api-Key": "k3y"}


def test_a_key_that_stands_in_the_location_is_sent_there_alone(header):
    assert header(KEY, location="https://feeds.example/{key}/all.csv") == {}


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (Credentials(password="se\ncret"), "a line break or another character"),
        (Credentials(login="a\r\nX: y", password="secret"), "a line break or another character"),
        (Credentials(password="secret", header="X\nY"), "a line break or another character"),
        (Credentials(password="secret", header="X Y"), "names a header that is none"),
        (Credentials(password="sécret"), "letters that no header can carry"),
        (Credentials(password="secret "), "with spaces around it"),
        (Credentials(login="a:b", password="secret"), "a login with a colon"),
        (Credentials(login="secret", header="X-Key"), "a login but no password"),
    ],
)
def test_what_no_header_can_carry_is_a_clear_error_without_the_secret(header, credentials, reason):
    with pytest.raises(FeedError, match=reason) as caught:
        header(credentials)
    assert "the connection feeds" in str(caught.value)
    assert "cret" not in str(caught.value).replace("secret", "") + str(caught.value.__cause__)
    assert "secret" not in str(caught.value)


def test_a_login_may_hold_any_letters(header):
    sent = header(Credentials(login="zoë", password="pässword"))["Authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "zoë:pässword"
