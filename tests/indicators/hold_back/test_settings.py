from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from retract.errors import FeedConfigurationError
from retract.indicators.feeds import load_feeds
from retract.indicators.hold_back.settings import HoldBackSettings, Popular


def feeds_file(folder: Path, *lines: str) -> Path:
    path = folder / "feeds.yaml"
    path.write_text("\n".join(["hold_back:", *(f"  {line}" for line in lines), ""]))
    return path


def test_as_shipped_all_lists_count():
    settings = HoldBackSettings()
    assert settings.warninglists
    assert settings.popular is Popular.MILLION
    assert settings.leave_out == settings.domains == settings.own_domains == settings.hosting == ()


def test_a_section_of_the_feeds_file_reads_as_people_write_it(tmp_path):
    settings = load_feeds(
        feeds_file(
            tmp_path,
            "domains: [Big.example, '*.Partner.example']",
            "own_domains: [Contoso.example, bücher.example]",
            "hosting: [Sites.example]",
            "leave_out: [bank-website, tranco]",
            "popular: 10k",
            "tranco: lists/top-1m.csv",
            "tranco_rank: 50000",
        )
    ).hold_back

    assert settings.domains == ("big.example", "*.partner.example")
    assert settings.own_domains == ("contoso.example", "xn--bcher-kva.example")
    assert settings.hosting == ("sites.example",)
    assert settings.leave_out == ("bank-website", "tranco")
    assert settings.popular is Popular.TEN_THOUSAND
    assert settings.tranco == tmp_path / "lists" / "top-1m.csv"
    assert settings.tranco_rank == 50_000


@pytest.mark.parametrize("word", ["off", "'off'", "false"])
def test_yaml_may_read_off_as_false(tmp_path, word):
    assert load_feeds(feeds_file(tmp_path, f"popular: {word}")).hold_back.popular is Popular.OFF


def test_an_own_list_may_lie_anywhere(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "top-1m.csv"
    settings = load_feeds(feeds_file(tmp_path, f"tranco: {elsewhere}")).hold_back
    assert settings.tranco == elsewhere


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("domains: [https://own.example/]", r"line 2: hold_back.domains.0: .*is not a domain"),
        ("own_domains: [user@own.example]", r"hold_back.own_domains.0: .*is not a domain"),
        ("own_domains: [co.uk]", r"hold_back.own_domains.0: 'co.uk' is a public suffix"),
        ("hosting: [github.io]", r"hold_back.hosting.0: 'github.io' is a public suffix"),
        (
            "leave_out: [bank-websites]",
            r"no warninglist 'bank-websites'; did you mean bank-website",
        ),
        ("leave_out: [zzz]", r"no warninglist 'zzz'; known are MISP's"),
        ("leave_out: [phone_numbers]", r"phone_numbers is left out anyway: phone numbers"),
        ("popular: 5k", r"hold_back.popular: Input should be '1m', '10k' or 'off'"),
        ("popular: true", r"hold_back.popular: Input should be '1m', '10k' or 'off'"),
        ("warninglists: maybe", r"hold_back.warninglists: Input should be a valid boolean"),
        ("tranco_rank: 100", r"hold_back.tranco_rank: is for a tranco file"),
        (
            "own_domain: [own.example]",
            r"hold_back.own_domain: unknown setting; known here: domains",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, line, reason):
    with pytest.raises(FeedConfigurationError, match=reason):
        load_feeds(feeds_file(tmp_path, line))


def test_an_own_list_needs_popularity():
    with pytest.raises(ValidationError, match="popular is off"):
        HoldBackSettings(popular=Popular.OFF, tranco=Path("top-1m.csv"))


def test_settings_read_as_they_were_written(tmp_path):
    settings = HoldBackSettings(tranco=tmp_path / "a.csv", popular=Popular.TEN_THOUSAND)
    assert HoldBackSettings.model_validate_json(settings.model_dump_json()) == settings
