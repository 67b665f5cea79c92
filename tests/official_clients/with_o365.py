"""The O365 library against a tenant: what it sees and does, as one JSON object on stdout.

Runs in an environment of its own, with REQUESTS_CA_BUNDLE for the tenant's certificate. Another
service address is a subclass of the protocol, as the library's README has it; another place to
sign in is a subclass of the connection, whose client is a public property.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from msal import ConfidentialClientApplication
from O365 import Account, Connection, MSGraphProtocol
from O365.utils.token import MemoryTokenBackend


def make_account(info: dict[str, Any]) -> Account:
    class TenantProtocol(MSGraphProtocol):
        _protocol_url = f"{info['graph_url']}/"
        _oauth_scope_prefix = f"{info['graph_url']}/"

    class TenantConnection(Connection):
        @property
        def msal_client(self) -> ConfidentialClientApplication:
            if self._msal_client is None:
                self._msal_client = ConfidentialClientApplication(
                    *self.auth,
                    authority=info["authority_url"],
                    instance_discovery=False,
                    token_cache=self.token_backend,
                )
            return self._msal_client

    class TenantAccount(Account):
        connection_constructor = TenantConnection

    return TenantAccount(
        (info["client_id"], info["client_secret"]),
        protocol=TenantProtocol(),
        auth_flow_type="credentials",
        tenant_id=info["tenant_id"],
        token_backend=MemoryTokenBackend(),
        requests_delay=0,
        default_headers={"Prefer": 'IdType="ImmutableId"'},
    )


def main(wish: dict[str, Any]) -> dict[str, Any]:
    account = make_account(wish["connection"])
    signed_in = account.authenticate()
    mailbox = account.mailbox(resource=wish["user"])
    messages = list(mailbox.get_messages(limit=100, batch=2))
    inbox = mailbox.inbox_folder()
    found = {
        "signed_in": signed_in,
        "users": sorted(user.mail for user in account.directory().get_users()),
        "subjects": [message.subject for message in messages],
        "filtered": [
            message.object_id
            for message in inbox.get_messages(
                query=mailbox.new_query().equals("subject", messages[0].subject)
            )
        ],
        "folders": sorted(folder.name for folder in mailbox.get_folders(limit=25)),
        "children": [folder.name for folder in inbox.get_folders()],
        "by_name": mailbox.get_folder(folder_name="Archive").name,
    }
    by_id = {message.object_id: message for message in messages}
    read, moved, deleted = (by_id[message_id] for message_id in wish["ids"])
    one = inbox.get_message(read.object_id, download_attachments=True)
    found["one"] = {
        "sender": one.sender.address,
        "to": [recipient.address for recipient in one.to],
        "received": one.received.timestamp(),
        "attachments": [attachment.name for attachment in one.attachments],
        "mime": len(one.get_mime_content()),
    }
    found["marked"] = read.mark_as_read()
    found["moved"] = moved.move(mailbox.junk_folder())
    found["deleted"] = deleted.move(mailbox.recoverableitemsdeletions_folder())
    return found


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
