"""A message as a gateway describes it gives the observables that its bytes would."""

from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from pydantic import ValidationError

from retract.model import Disposition, ObservableType
from retract.observables.described import DescribedMessage, read_description
from retract.observables.mime import extract

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
WRAPPED = (
    "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example%2Flogin&data=x"
)


def described(**fields: object) -> DescribedMessage:
    known = {"recipient": "ann@north.example", "internet_message_id": "<1@x>", "received_at": AT}
    return DescribedMessage.model_validate(known | fields)


def test_a_description_and_the_bytes_it_describes_give_the_same_observables() -> None:
    message = EmailMessage()
    message["From"] = "Pay Roll <pay@Evil.example>"
    message["Reply-To"] = "other@evil.example"
    message["Message-ID"] = "<1@x>"
    message["Subject"] = "Your payslip"
    message.set_content(f"See {WRAPPED}\nand http://203.0.113.7/a\n")
    message.add_attachment(b"MZ...", maintype="application", subtype="zip", filename="slip.zip")
    by_bytes = extract(message.as_bytes())
    hashes = {one.type: one.value for one in by_bytes.observables if one.found_in == "attachment"}
    by_words = read_description(
        described(
            subject="Your payslip",
            sender_name="Pay Roll",
            sender_address="pay@Evil.example",
            reply_to="other@evil.example",
            urls=[WRAPPED, "http://203.0.113.7/a"],
            attachments=[
                {
                    "name": "slip.zip",
                    "md5": hashes[ObservableType.MD5].upper(),
                    "sha1": hashes[ObservableType.SHA1],
                    "sha256": hashes[ObservableType.SHA256],
                }
            ],
        )
    )

    def seen(extraction: object) -> set[tuple[ObservableType, str]]:
        return {(one.type, one.value) for one in extraction.observables}  # type: ignore[attr-defined]

    assert seen(by_words) == seen(by_bytes)
    assert by_words.subject == by_bytes.subject
    assert by_words.sender_address == by_bytes.sender_address == "pay@evil.example"
    assert by_words.internet_message_id == by_bytes.internet_message_id


def test_what_it_was_taken_for_at_delivery_is_kept() -> None:
    found = read_description(
        described(disposition="spam", authentication={"dmarc": "fail"}, sending_ip="203.0.113.9")
    )
    assert found.delivered_disposition is Disposition.SPAM
    assert found.authentication == (("dmarc", "fail"),)
    assert found.sending_ip == "203.0.113.9"


def test_an_internal_server_is_no_sending_ip() -> None:
    found = read_description(described(sending_ip="10.1.2.3"))
    assert found.sending_ip == ""
    assert found.observables == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"recipient": ""},
        {"internet_message_id": ""},
        {"received_at": "2026-01-05T12:00:00"},
        {"attachments": [{"sha256": "not a hash"}]},
        {"disposition": "bad"},
        {"body": "what nobody asked for"},
    ],
)
def test_a_record_that_is_none_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        described(**fields)


def test_hostile_quantities_are_bounded_and_told() -> None:
    found = read_description(
        described(
            urls=[f"https://a{number}.example/" for number in range(5000)],
            attachments=[{"name": f"{number}.zip"} for number in range(2000)],
            subject="x" * 100_000,
        )
    )
    assert len(found.observables) < 5000
    assert len(found.subject) == 1000
    assert len(found.problems) == 2
