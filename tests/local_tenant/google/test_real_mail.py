"""Real and broken mail through Gmail's formats: everything can be shown."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from local_tenant.google.messages import Format, message_resource
from local_tenant.mailbox import Provider
from local_tenant.store import Store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("folder", ["mail/ham", "mail/phish", "malformed"])
def test_every_message_can_be_shown_in_every_format(shared_data, gmail_schemas, folder):
    store = Store()
    store.add_mailbox(Provider.GOOGLE_WORKSPACE, "ann@south.example")
    files = sorted((shared_data / folder).glob("*.eml"))
    assert files
    for number, file in enumerate(files):
        (item,) = store.deliver(file.read_bytes(), ["ann@south.example"], NOW)
        for form in Format:
            answer = message_resource(item, form)
            json.dumps(answer).encode("utf-8")
            if number % 10 == 0:
                gmail_schemas.check("gmail.users.messages.get", answer)
        raw = message_resource(item, Format.RAW)["raw"]
        assert base64.urlsafe_b64decode(raw) == file.read_bytes()


def test_deep_nesting_can_be_shown():
    depth = 150
    head = "".join(
        f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n" for n in range(depth)
    )
    store = Store()
    store.add_mailbox(Provider.GOOGLE_WORKSPACE, "ann@south.example")
    (item,) = store.deliver(head.encode() + b"\r\ntext", ["ann@south.example"], NOW)
    assert json.dumps(message_resource(item, Format.FULL))
