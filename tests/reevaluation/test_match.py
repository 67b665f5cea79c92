from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.rows import indicator, table
from tests.reevaluation.mail import VALUES, message, seen_in

from retract.lake.frames import lookups_frame, messages_frame, observables_frame
from retract.lake.store import Lake
from retract.model import (
    CollectedMessage,
    Match,
    Window,
)
from retract.model import ObservableType as Type
from retract.observables import lookup
from retract.reevaluation import late_lookups
from retract.reevaluation import match as matching
from retract.reevaluation.match import MATCHES, full_match, in_force, meet

NOW = datetime(2026, 1, 31, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=30), NOW)


def indicators(*listed: tuple[Type, str], **more) -> pl.DataFrame:
    told = {"campaign": "Winter", "reference": "https://r.example"} | more
    return table(
        *(
            indicator(value, NOW, kind, **{"indicator_id": f"i{number}"} | told)
            for number, (kind, value) in enumerate(listed)
        )
    )


def match(
    messages: Iterable[CollectedMessage], listed: pl.DataFrame, window: Window = WINDOW
) -> pl.DataFrame:
    return full_match(*frames(list(messages)), listed.lazy(), window, NOW)


def frames(
    messages: list[CollectedMessage], readings: list[CollectedMessage] | None = None
) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """The lake's three tables of mail; ``readings`` are those whose observables are there."""
    observables = observables_frame(messages if readings is None else readings)
    lookups = lookups_frame(observables)
    return messages_frame(messages, NOW).lazy(), observables.lazy(), lookups.lazy()


URL = (Type.URL, "https://evil.example/a/b")
SEEN = (Type.URL, "https://www.evil.example/a/b?c=1")


def test_a_match_says_what_met_what_and_why():
    read = message("m", SEEN)

    matches = match([read], indicators(URL))

    assert matches.schema == MATCHES
    assert matches.columns == [field.name for field in dataclasses.fields(Match)]
    assert matches.rows(named=True) == [
        {
            "copy_id": read.copy.copy_id,
            "indicator_id": "i0",
            "type": "url",
            "observable": SEEN[1],
            "indicator": URL[1],
            "disposition": "malicious",
            "confidence": 80,
            "source": "list",
            "campaign": "Winter",
            "reference": "https://r.example",
            "all_met": [],
        }
    ]


def test_a_match_tells_all_that_its_indicator_meets_in_the_copy():
    folder = (Type.URL, "https://evil.example/a/")
    seen = [(Type.URL, f"https://evil.example/a/{page}") for page in "cab"]
    others = [(Type.URL, "https://evil.example/"), (Type.DOMAIN, "evil.example")]
    read = [message("several", *seen, *seen, *others), message("one", seen[0], *others)]

    matches = match(read, indicators(folder)).sort("observable")

    pages = [f"https://evil.example/a/{page}" for page in "abc"]
    assert matches["observable"].to_list() == [pages[0], pages[2]]
    assert matches["all_met"].to_list() == [pages, []]


def test_an_indicator_that_means_one_page_meets_that_page_alone():
    root = (Type.URL, "https://evil.example/")
    read = message("m", root, (Type.URL, "http://evil.example/"), (Type.URL, root[1] + "a"))

    (found,) = match([read], indicators(root)).rows(named=True)

    assert found["observable"] in (root[1], "http://evil.example/")
    assert found["all_met"] == []


@pytest.mark.parametrize(
    ("seen", "listed", "expected"),
    [
        ((Type.URL, "https://host.example/"), (Type.URL, "https://host.example/"), True),
        ((Type.URL, "https://host.example/x"), (Type.URL, "https://host.example/"), False),
        ((Type.URL, "https://t.co/AbC"), (Type.URL, "https://t.co/xyz"), False),
        ((Type.DOMAIN, "a.evil.example"), (Type.DOMAIN, "evil.example"), True),
        ((Type.DOMAIN, "evil.example"), (Type.DOMAIN, "a.evil.example"), False),
        ((Type.DOMAIN, "a.blogspot.com"), (Type.DOMAIN, "blogspot.com"), False),
        ((Type.EMAIL_ADDRESS, "bob@evil.example"), (Type.EMAIL_ADDRESS, "@evil.example"), True),
        ((Type.MD5, "a" * 32), (Type.MD5, "a" * 32), True),
        ((Type.FILE_NAME, "evil.example"), (Type.DOMAIN, "evil.example"), False),
        ((Type.IP_ADDRESS, "203.0.113.7"), (Type.IP_ADDRESS, "203.0.113.0/24"), True),
        ((Type.IP_ADDRESS, "203.0.114.7"), (Type.IP_ADDRESS, "203.0.113.0/24"), False),
        ((Type.IP_ADDRESS, "10.1.2.3"), (Type.IP_ADDRESS, "10.0.0.0/8"), False),
    ],
)
def test_the_meaning_is_that_of_lookup_matches(seen, listed, expected):
    assert match([message("m", seen)], indicators(listed)).height == expected


def test_a_network_meets_every_address_in_it_once_a_copy():
    seen = [(Type.IP_ADDRESS, f"203.0.113.{number}") for number in (9, 7, 8)]
    listed = indicators((Type.IP_ADDRESS, "203.0.113.0/24"), (Type.IP_ADDRESS, "203.0.113.8"))

    matches = match([message("m", *seen)], listed)

    assert matches.select("indicator", "observable").rows() == [
        ("203.0.113.0/24", "203.0.113.7"),
        ("203.0.113.8", "203.0.113.8"),
    ]
    assert matches["all_met"].to_list() == [["203.0.113.7", "203.0.113.8", "203.0.113.9"], []]


def test_campaign_rules_meet_the_subject_and_the_senders_name_as_they_are_stored():
    subject, name = "RE: Your  Invoice 4711", "IT Service\u200b Desk"
    campaign = message("m", (Type.SUBJECT_PATTERN, subject), (Type.DISPLAY_NAME_PATTERN, name))
    other = message("n", (Type.SUBJECT_PATTERN, name), (Type.DISPLAY_NAME_PATTERN, subject))
    listed = indicators(
        (Type.SUBJECT_PATTERN, "*your invoice #"), (Type.DISPLAY_NAME_PATTERN, "it service desk")
    )

    matches = match([campaign, other], listed)

    assert matches["copy_id"].unique().to_list() == [campaign.copy.copy_id]
    assert matches.select("type", "indicator", "observable", "campaign").rows() == [
        ("subject_pattern", "*your invoice #", subject, "Winter"),
        ("display_name_pattern", "it service desk", name, "Winter"),
    ]


def test_what_an_older_extractor_saw_does_not_meet_a_network():
    old, new = message("m", (Type.IP_ADDRESS, "203.0.113.7")), message("m", extractor_version=2)
    listed = indicators((Type.IP_ADDRESS, "203.0.113.0/24")).lazy()

    found = meet(*frames([new], readings=[old]), listed)

    assert found.is_empty()


def test_a_source_has_no_more_rules_evaluated_than_the_bound_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(late_lookups, "MAX_RULES", 2)
    read = message("m", (Type.SUBJECT_PATTERN, "Your invoice 4711"))
    flood = [(Type.SUBJECT_PATTERN, f"{'*' * bool(n)}your invoice 47{'?' * n}*") for n in range(4)]
    listed = pl.concat(
        [indicators(*flood), indicators((Type.SUBJECT_PATTERN, "your invoice*"), source="analysts")]
    ).with_columns(indicator_id=pl.format("{}-{}", "source", "indicator_id"))

    matches = match([read], listed)

    assert matches["indicator_id"].to_list() == ["analysts-i0", "list-i0", "list-i1"]
    (problem,) = late_lookups.rules_left_out(listed.lazy())
    assert problem in caplog.text
    assert problem.startswith("list: 4 campaign rules are in force, and only the 2 first seen")


def test_a_thousand_rules_over_many_subjects_take_seconds_not_minutes():
    subjects = [f"{number} words of {number % 97} news and offers" for number in range(20_000)]
    read = [message(f"m{n}", (Type.SUBJECT_PATTERN, text)) for n, text in enumerate(subjects)]
    rules = [(Type.SUBJECT_PATTERN, f"{n} *of # news?*offers*") for n in range(10, 1_010)]
    started = time.process_time()

    matches = meet(*frames(read), indicators(*rules).lazy())

    assert matches.height == 1_000
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    "out_of_force",
    [
        {"active": False},
        {"held_back": "shared host"},
        {"expires_at": NOW},
        {"expires_at": NOW - timedelta(days=1)},
    ],
)
def test_an_indicator_out_of_force_matches_nothing(out_of_force):
    assert match([message("m", SEEN)], indicators(URL, **out_of_force)).is_empty()


def test_an_indicator_that_expires_later_matches():
    assert match([message("m", SEEN)], indicators(URL, expires_at=NOW + timedelta(1))).height == 1


def test_only_copies_delivered_in_the_window_are_judged():
    tick = timedelta(microseconds=1)
    times = [WINDOW.start - tick, WINDOW.start, WINDOW.end - tick, WINDOW.end]
    read = [message(f"m{n}", SEEN, received_at=at) for n, at in enumerate(times)]

    matches = match(read, indicators(URL))

    assert set(matches["copy_id"]) == {read[1].copy.copy_id, read[2].copy.copy_id}


def test_what_an_older_extractor_saw_does_not_count():
    old, new = message("m", SEEN), message("m", extractor_version=2)

    matches = full_match(*frames([new], readings=[old]), indicators(URL).lazy(), WINDOW, NOW)

    assert matches.is_empty()


def test_a_collision_of_keys_is_no_match():
    listed = indicators(URL)
    other = message("m", (Type.URL, "https://innocent.example/x"))
    collision = listed.with_columns(
        key=pl.lit(lookup.key(Type.URL, "innocent.example/x"), dtype=pl.Int64)
    )
    assert match([other], collision).is_empty()


def test_one_copy_and_indicator_is_one_match_by_its_most_exact_observable():
    seen = [(Type.URL, f"https://a{number}.evil.example/a/b") for number in range(50)]

    matches = match([message("m", *seen, URL)], indicators(URL))

    assert matches["observable"].to_list() == [URL[1]]


def test_every_source_that_lists_it_is_a_match():
    assert match([message("m", SEEN)], indicators(URL, URL)).height == 2


def test_a_link_in_every_message_makes_no_more_rows_than_matches():
    seen = [(Type.URL, f"https://evil.example/a/{number}") for number in range(20)]
    read = [message(f"m{number}", *seen) for number in range(200)]
    listed = indicators((Type.URL, "https://evil.example/a/"), *[URL] * 10)

    assert match(read, listed).height == 200


@pytest.mark.parametrize("bounds", [{"FEW": 0}, {"KEPT": 0}, {"FEW": 0, "KEPT": 0}])
def test_however_many_keys_and_rows_there_are_the_matches_are_the_same(bounds, monkeypatch):
    read = [message(f"m{number}", SEEN, URL, (Type.DOMAIN, "good.example")) for number in range(9)]
    few = match(read, indicators(URL))

    for name, bound in bounds.items():
        monkeypatch.setattr(matching, name, bound)

    assert few.height == 9
    assert match(read, indicators(URL)).equals(few)


@pytest.mark.parametrize("part", ["messages", "indicators", "both"])
def test_nothing_meets_nothing(part):
    read = [] if part in ("messages", "both") else [message("m", SEEN)]
    listed = indicators() if part in ("indicators", "both") else indicators(URL)
    matches = match(read, listed)
    assert matches.is_empty()
    assert matches.schema == MATCHES


def test_it_works_over_a_lake(tmp_path):
    lake = Lake(str(tmp_path))
    read = message("m", SEEN)
    lake.add_messages([read, message("other", (Type.URL, "https://good.example/"))], NOW)
    lake.replace_indicators(indicators(URL))
    pinned = lake.versions()

    def over_the_lake(versions):
        return full_match(
            lake.scan_messages(versions.messages, WINDOW),
            lake.scan_observables(versions.observables, WINDOW),
            lake.scan_lookups(versions.lookups, WINDOW),
            lake.scan_indicators(versions.indicators),
            WINDOW,
            NOW,
        )

    assert over_the_lake(pinned)["copy_id"].to_list() == [read.copy.copy_id]
    lake.replace_indicators(indicators())
    assert over_the_lake(lake.versions()).is_empty()
    assert over_the_lake(pinned).height == 1
    assert over_the_lake(pinned.model_copy(update={"indicators": None})).is_empty()


# --- the join equals the definition ---

values = st.sampled_from([(kind, value) for kind, some in VALUES.items() for value in some])
mail = st.lists(st.lists(values, max_size=6), max_size=5)
lists = st.lists(values, max_size=12)


def mail_of(contents: list[list[tuple[Type, str]]]) -> list[CollectedMessage]:
    return [message(f"m{number}", *seen) for number, seen in enumerate(contents)]


@given(mail, lists)
def test_the_join_finds_what_the_definition_says(contents, listed):
    messages = mail_of(contents)
    expected = {
        (one.copy.copy_id, f"i{number}")
        for one in messages
        for number, (kind, value) in enumerate(listed)
        if any(lookup.matches(kind, seen, value) for seen in seen_in(one, kind))
    }

    found = match(messages, indicators(*listed))

    assert set(found.select("copy_id", "indicator_id").rows()) == expected
    assert found.height == len(expected)
    for row in found.rows(named=True):
        assert lookup.matches(Type(row["type"]), row["observable"], row["indicator"])


@given(mail, lists, st.data())
def test_parts_add_up_to_the_whole(contents, listed, data):
    """What an incremental match rests on: (new mail × all) and (all mail × new)."""
    messages = mail_of(contents)
    new_mail = set(data.draw(st.lists(st.sampled_from(messages)) if messages else st.just([])))
    cut = data.draw(st.integers(0, len(listed)))
    rows = in_force(indicators(*listed).lazy(), NOW)
    newly_listed = rows.filter(pl.col("indicator_id").is_in([f"i{n}" for n in range(cut)]))
    known = messages_frame([one for one in messages if one not in new_mail], NOW).lazy()
    everything, *seen = frames(messages)

    parts = [
        meet(messages_frame(new_mail, NOW).lazy(), *seen, rows),
        meet(known, *seen, newly_listed),
        meet(known, *seen, rows.join(newly_listed, on="indicator_id", how="anti")),
    ]

    whole = meet(everything, *seen, rows)
    assert pl.concat(parts).sort("copy_id", "indicator_id").equals(whole)
