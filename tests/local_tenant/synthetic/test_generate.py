"""The synthetic month: repeatable, believable, and true to its own truth."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
import yaml
from stix2patterns.validator import run_validator

from local_tenant.delivery import Placement
from local_tenant.people import GOOGLE_DOMAIN, MICROSOFT_DOMAIN, people
from local_tenant.synthetic.authoring import KINDS
from local_tenant.synthetic.campaigns import FEED_VERDICTS, FREE_HOSTS, SHORTENERS, IndicatorType
from local_tenant.synthetic.generate import generate, next_message, write_scenario
from local_tenant.synthetic.verdict import Verdict

NOW = datetime(2026, 11, 23, 12, 30, 15, 999, tzinfo=UTC)
PEOPLE = people(MICROSOFT_DOMAIN, 8) + people(GOOGLE_DOMAIN, 8)
GOOD_KINDS = [
    "announcement",
    "defanged_warning",
    "list_with_foreign_stamps",
    "newsletter",
    "newsletter_broken_into",
    "newsletter_look_alike",
    "newsletter_short_links",
    "newsletter_wrapped",
    "phish_unlisted",
    "receipt",
    "receipt_same_file_name",
    "shared_document",
    "thread",
]


@pytest.fixture(scope="module")
def scenario():
    return generate(PEOPLE, now=NOW, messages=250, seed=3)


@pytest.fixture(scope="module")
def parsed(scenario):
    """Each delivery's message, by delivery id."""
    return {
        delivery.delivery_id: message_from_bytes(delivery.raw, policy=policy.default)
        for delivery in scenario.deliveries
    }


@pytest.fixture(scope="module")
def of_kind(scenario, parsed):
    """Truth and message of every delivery of a kind."""

    def of_kind(*kinds):
        return [(row, parsed[row.delivery_id]) for row in scenario.truth if row.kind in kinds]

    return of_kind


@pytest.fixture(scope="module")
def campaigns(scenario):
    return {
        campaign.name: campaign for group in scenario.world.campaigns.values() for campaign in group
    }


def words_of(message):
    """All text a reader could see or click, decoded."""
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n".join(part.get_content() for part in parts).replace("&amp;", "&")


def urls_of(message):
    return set(re.findall(r"https?://[^\s\"<>]+", words_of(message)))


def test_the_same_arguments_give_the_same_bytes(scenario):
    assert generate(PEOPLE, now=NOW, messages=250, seed=3) == scenario


def test_another_seed_gives_other_mail(scenario):
    other = generate(PEOPLE, now=NOW, messages=250, seed=4)
    assert {d.raw for d in other.deliveries}.isdisjoint(d.raw for d in scenario.deliveries)
    assert other.feeds != scenario.feeds


@pytest.mark.parametrize("seed", range(3))
def test_even_a_small_scenario_has_every_kind_and_every_disposition(seed):
    small = generate(PEOPLE, now=NOW, messages=1, seed=seed)
    assert {row.kind for row in small.truth} == set(KINDS)
    assert {row.expected_disposition for row in small.truth} == set(Verdict)


def test_two_people_at_one_service_are_enough():
    for domain in (MICROSOFT_DOMAIN, GOOGLE_DOMAIN):
        assert generate(people(domain, 2), now=NOW, messages=60).deliveries
    with pytest.raises(ValueError, match="at least two"):
        generate(people(GOOGLE_DOMAIN, 1), now=NOW)


def test_as_many_messages_as_asked_for(scenario):
    ids = {row.internet_message_id for row in scenario.truth}
    assert 250 <= len(ids) < 280


def test_ids_are_unique_and_truth_follows_the_deliveries(scenario, parsed):
    ids = [delivery.delivery_id for delivery in scenario.deliveries]
    assert len(set(ids)) == len(ids)
    assert [row.delivery_id for row in scenario.truth] == ids
    for row in scenario.truth:
        assert parsed[row.delivery_id]["Message-ID"] == row.internet_message_id
    # One message is two deliveries at most: one for each service.
    copies = Counter(row.internet_message_id for row in scenario.truth)
    assert set(copies.values()) == {1, 2}


def test_all_mail_lies_within_the_thirty_days_before_now(scenario):
    times = [delivery.received_at for delivery in scenario.deliveries]
    assert times == sorted(times)
    assert all(NOW - timedelta(days=30) < moment <= NOW for moment in times)
    assert all(moment.tzinfo is UTC and not moment.microsecond for moment in times)
    assert times[-1] - times[0] > timedelta(days=25)


def test_recipients_have_mailboxes_at_the_service_that_stamped(scenario, parsed):
    addresses = {person.address for person in PEOPLE}
    sizes = set()
    for delivery in scenario.deliveries:
        assert set(delivery.recipients) <= addresses
        assert len(set(delivery.recipients)) == len(delivery.recipients)
        (domain,) = {address.partition("@")[2] for address in delivery.recipients}
        message = parsed[delivery.delivery_id]
        at_google = domain == GOOGLE_DOMAIN
        assert ("Delivered-To" in message) == at_google
        assert ("X-MS-Exchange-Organization-SCL" in message) != at_google
        sizes.add(len(delivery.recipients))
    assert sizes >= {1, 2, 3, 4}


def test_messages_are_well_formed(parsed):
    for message in parsed.values():
        assert not message.defects
        for part in message.walk():
            assert not part.defects
        assert message["Subject"]
        assert message["From"].addresses[0].addr_spec
        assert message["Date"].datetime.tzinfo is not None


def test_mail_is_of_many_languages_and_shapes(parsed):
    charsets, types = Counter(), Counter()
    for message in parsed.values():
        for part in message.walk():
            charsets[part.get_content_charset()] += 1
            types[part.get_content_type()] += 1
    assert {"utf-8", "iso-8859-1", "iso-8859-2", "iso-2022-jp"} <= charsets.keys()
    assert {"text/plain", "text/html", "multipart/alternative", "application/pdf"} <= types.keys()
    assert types["image/png"]
    assert types["application/zip"] or types["text/html"]


def test_attachments_open(of_kind):
    seen = Counter()
    for _, message in of_kind("receipt", "receipt_same_file_name", "phish_attachment"):
        for part in message.iter_attachments():
            data = part.get_content()
            data = data.encode() if isinstance(data, str) else data
            name = part.get_filename()
            seen[name.rpartition(".")[2]] += 1
            if name.endswith(".pdf"):
                assert data.startswith(b"%PDF-1.4")
                table = int(data.rsplit(b"startxref", 1)[1].split()[0])
                assert data[table : table + 4] == b"xref"
            if name.endswith((".docx", ".zip")):
                assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    assert seen["pdf"]
    assert len(seen) > 1


def test_answers_refer_to_earlier_messages_of_their_thread(of_kind):
    threads = of_kind("thread")
    known = {row.internet_message_id for row, _ in threads}
    answers = [message for _, message in threads if message["In-Reply-To"]]
    assert answers
    for message in answers:
        assert message["In-Reply-To"] in known
        assert message["References"].split()[-1] == message["In-Reply-To"]
        assert message["Subject"].partition(": ")[2]


def test_verdicts_at_delivery_stand_in_the_receiver_s_headers(of_kind):
    categories = {
        "newsletter_bulk": ("BULK", "6"),
        "spam_at_delivery": ("SPM", "5"),
        "phish_in_junk": ("SPM", "5"),
        "spoof_at_delivery": ("SPOOF", "5"),
        "phish_at_delivery": ("HPHISH", "8"),
    }
    for kind, (category, level) in categories.items():
        for row, message in of_kind(kind):
            if row.delivery_id.endswith("north"):
                report = message["X-Forefront-Antispam-Report"]
                assert f";CAT:{category};" in report
                assert f";SCL:{level};" in report
    for row, message in of_kind(*GOOD_KINDS):
        if row.delivery_id.endswith("north"):
            assert ";CAT:NONE;" in message["X-Forefront-Antispam-Report"]
        else:
            stamps = message.get_all("Authentication-Results", [])
            assert not any(s.startswith("mx.google.com") and "dmarc=fail" in s for s in stamps)
    for row, message in of_kind("spoof_at_delivery"):
        if row.delivery_id.endswith("south"):
            assert "dmarc=fail" in message["Authentication-Results"]
            assert row.expected_disposition is Verdict.SPOOF


def test_gmail_says_spam_by_where_it_puts_a_message(scenario):
    places = {delivery.delivery_id: delivery.placement for delivery in scenario.deliveries}
    for row in scenario.truth:
        if row.delivery_id.endswith("south"):
            junk = places[row.delivery_id] is Placement.JUNK
            assert junk == (row.kind in ("spam_at_delivery", "phish_at_delivery", "phish_in_junk"))
            if row.kind == "phish_at_delivery":
                assert row.expected_disposition is Verdict.SPAM


def test_gmail_sorts_the_inbox_into_tabs(scenario):
    kinds = {row.delivery_id: row.kind for row in scenario.truth}
    for delivery in scenario.deliveries:
        expected = {"newsletter": "PROMOTIONS", "receipt": "UPDATES"}.get(
            kinds[delivery.delivery_id]
        )
        if expected:
            assert delivery.categories == (f"CATEGORY_{expected}",)
        if delivery.placement is Placement.JUNK:
            assert delivery.categories == ()


def test_good_mail_and_phish_nobody_learns_of_are_left_alone(scenario):
    for row in scenario.truth:
        assert (row.expected_disposition is Verdict.NONE) == (
            row.kind in GOOD_KINDS
            or (row.kind == "newsletter_bulk" and row.delivery_id.endswith("south"))
        )


def test_a_campaign_s_message_is_what_its_gravest_source_says(scenario, campaigns):
    kinds = Counter()
    for row in scenario.truth:
        if row.kind.startswith(("phish_", "spam_campaign")) and row.campaign:
            listed = campaigns[row.campaign].indicators
            expected = Verdict.gravest(FEED_VERDICTS[indicator.feed] for indicator in listed)
            assert row.expected_disposition is expected
            kinds[expected] += 1
    assert {Verdict.MALICIOUS, Verdict.SUSPICIOUS, Verdict.SPAM, Verdict.NONE} == kinds.keys()


def test_a_campaign_s_message_carries_what_will_be_listed(of_kind, campaigns, scenario):
    for row, message in of_kind(*scenario.world.campaigns):
        campaign = campaigns[row.campaign]
        for indicator in campaign.indicators:
            match indicator.type:
                case IndicatorType.SHA256:
                    (part,) = message.iter_attachments()
                    data = part.get_content()
                    data = data.encode() if isinstance(data, str) else data
                    assert hashlib.sha256(data).hexdigest() == indicator.value
                case IndicatorType.EMAIL_ADDRESS:
                    assert message["From"].addresses[0].addr_spec == indicator.value
                case _ if not campaign.wrapping:
                    beginning = campaign.link.partition("{victim}")[0]
                    assert any(url.startswith(beginning) for url in urls_of(message))


def test_wrapped_links_hide_the_listed_url(of_kind, campaigns):
    seen = set()
    for row, message in of_kind("phish_wrapped", "phish_wrapped_shortener"):
        campaign = campaigns[row.campaign]
        seen.add(campaign.wrapping)
        assert not any(url.startswith(campaign.link) for url in urls_of(message))
        hosts = ("safelinks.protection.outlook.com", "urldefense.com", "urldefense.proofpoint.com")
        assert any(host in url for url in urls_of(message) for host in hosts)
    assert len(seen) > 1


def test_good_mail_comes_close_to_what_is_listed_and_never_meets_it(of_kind, scenario, campaigns):
    listed = [i for campaign in campaigns.values() for i in campaign.indicators]
    urls = {indicator.value for indicator in listed if indicator.type is IndicatorType.URL}
    hosts = {indicator.value for indicator in listed if indicator.type is IndicatorType.DOMAIN}
    url_hosts = {url.split("/")[2] for url in urls}
    near = Counter()
    for _, message in of_kind(*GOOD_KINDS):
        for url in urls_of(message):
            assert not any(url.startswith(one) for one in urls)
            host = url.split("/")[2]
            assert host not in hosts
            near["same host, other path"] += host in url_hosts
            near["shortener"] += host in SHORTENERS
            near["free host"] += host.partition(".")[2] in FREE_HOSTS
            near["same code, other case"] += url.lower() in {one.lower() for one in urls}
            near["suffix"] += host.endswith(scenario.world.suffix_trap.value)
    assert all(near[trap] for trap in near)
    assert len(near) == 5


def test_a_good_file_shares_a_campaign_s_file_name(of_kind, campaigns):
    files = {c.attachment.name: c.attachment.sha256 for c in campaigns.values() if c.attachment}
    named_alike = 0
    for _, message in of_kind("receipt_same_file_name"):
        for part in message.iter_attachments():
            data = part.get_content()
            data = data.encode() if isinstance(data, str) else data
            assert files[part.get_filename()] != hashlib.sha256(data).hexdigest()
            named_alike += 1
    assert named_alike


def test_strangers_stamps_are_not_the_receiver_s(of_kind):
    for row, message in of_kind("list_with_foreign_stamps"):
        own, *foreign = [*message.get_all("Authentication-Results")]
        assert "dmarc=pass" in own
        assert any("dmarc=fail" in stamp for stamp in foreign)
        if row.delivery_id.endswith("north"):
            assert len(message.get_all("X-Forefront-Antispam-Report")) == 1


def test_a_quoted_phish_cannot_be_clicked(of_kind):
    for _, message in of_kind("defanged_warning"):
        assert "hxxps://" in words_of(message)
        assert not urls_of(message)


# ---- the files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(scenario, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenario")
    write_scenario(scenario, folder)
    return folder


def test_the_configuration_names_the_files_that_are_there(folder):
    configuration = yaml.safe_load((folder / "feeds.yaml").read_text(encoding="utf-8"))
    sources = configuration["sources"]
    assert {source["format"] for source in sources} == {"plain_list", "csv", "stix"}
    assert {source["disposition"] for source in sources} == {"malicious", "suspicious", "spam"}
    for source in sources:
        assert (folder / source["location"]).is_file()
        assert 0 <= source["confidence"] <= 100
    assert {"t.co", "docs.google.com"} <= set(configuration["hold_back"]["domains"])


def test_the_truth_is_written_as_agreed(folder, scenario):
    rows = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert len(rows) == len(scenario.deliveries)
    assert all(
        row.keys()
        == {"delivery_id", "internet_message_id", "kind", "campaign", "expected_disposition"}
        for row in rows
    )
    assert Counter(row["expected_disposition"] for row in rows).keys() == set(Verdict)


def test_lists_are_long_careless_and_full_of_traps(folder):
    urls = (folder / "urls.txt").read_text(encoding="utf-8").splitlines()
    assert len(urls) > 2000
    for wanted in (r"^hxxps?://[^/]*\[\.\]", r"^HTTPS?://[A-Z]", r"^https://[^/]+:443/", r"#top "):
        assert any(re.search(wanted, line) for line in urls), wanted
    assert any(line.startswith("#") for line in urls)
    assert "to be confirmed" in urls
    plain = [line.replace("[.]", ".").lower().strip(".") for line in _lines(folder, "domains.txt")]
    assert {"t.co", "docs.google.com", "netlify.app", "blogspot.com", "co.uk"} <= set(plain)


def _lines(folder, name):
    return (folder / name).read_text(encoding="utf-8").splitlines()


def test_the_table_names_its_columns(folder):
    text = (folder / "indicators.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) > 300
    assert {row["Kind"].lower() for row in rows} == {"url", "domain"}
    moments = [datetime.fromisoformat(row["First Seen"]) for row in rows if row["First Seen"]]
    assert all(NOW - timedelta(hours=4) < moment <= NOW for moment in moments)
    assert any(row["Threat"] for row in rows)


def test_the_bundle_is_stix(folder):
    bundle = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    objects = bundle["objects"]
    ids = [thing["id"] for thing in objects]
    assert len(set(ids)) == len(ids)
    indicators = [thing for thing in objects if thing["type"] == "indicator"]
    assert len(indicators) > 200
    for indicator in indicators:
        assert run_validator(indicator["pattern"], stix_version="2.1") == []
        assert datetime.fromisoformat(indicator["valid_from"]) <= NOW
    patterns = " ".join(indicator["pattern"] for indicator in indicators)
    for kind in ("url:value", "domain-name:value", "file:hashes.'SHA-256'", "from_ref.value"):
        assert kind in patterns
    named = {thing["id"]: thing["name"] for thing in objects if thing["type"] == "campaign"}
    links = [thing for thing in objects if thing["type"] == "relationship"]
    assert links
    assert all(link["source_ref"] in ids and link["target_ref"] in named for link in links)


def test_every_listed_indicator_is_in_its_file(folder, campaigns):
    files = {
        "urls": "urls.txt", "domains": "domains.txt", "table": "indicators.csv",
        "bundle": "bundle.json",
    }  # fmt: skip
    texts = {
        feed: (folder / name).read_text(encoding="utf-8").lower().replace("[.]", ".")
        for feed, name in files.items()
    }
    for campaign in campaigns.values():
        for indicator in campaign.indicators:
            host, _, rest = indicator.value.lower().removeprefix("https://").partition("/")
            assert host.removeprefix("http:") in texts[indicator.feed]
            assert rest in texts[indicator.feed]


# ---- more, later ---------------------------------------------------------------------------


def test_later_messages_come_now_and_one_at_a_time(scenario):
    rng = random.Random(1)
    later = [next_message(scenario.world, rng, NOW + timedelta(minutes=n)) for n in range(60)]
    assert all(
        delivery.received_at == (NOW + timedelta(minutes=n)).replace(microsecond=0)
        for n, delivery in enumerate(later)
    )
    ids = {delivery.delivery_id for delivery in (*later, *scenario.deliveries)}
    assert len(ids) == 60 + len(scenario.deliveries)
    rng = random.Random(1)
    assert next_message(scenario.world, rng, NOW) == later[0]
