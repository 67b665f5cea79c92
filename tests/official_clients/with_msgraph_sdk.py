"""Microsoft's own SDK against a tenant: what it sees and does, as one JSON object on stdout.

Runs in an environment of its own. Stdin holds the tenant's connection, the user to act for, and
a group. Everything here is the SDK's documented way; nothing of it is replaced.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from azure.identity import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.groups.item.transitive_members.graph_user.graph_user_request_builder import (
    GraphUserRequestBuilder,
)
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.security.microsoft_graph_security_run_hunting_query import (
    run_hunting_query_post_request_body as hunting,
)
from msgraph.generated.users.item.mail_folders.item.messages.delta.delta_request_builder import (
    DeltaRequestBuilder,
)
from msgraph.generated.users.item.mail_folders.mail_folders_request_builder import (
    MailFoldersRequestBuilder,
)
from msgraph.generated.users.item.messages.item.message_item_request_builder import (
    MessageItemRequestBuilder,
)
from msgraph.generated.users.item.messages.item.move.move_post_request_body import (
    MovePostRequestBody,
)
from msgraph.generated.users.item.messages.messages_request_builder import MessagesRequestBuilder
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_core import GraphClientFactory
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem
from msgraph_core.tasks.page_iterator import PageIterator

IMMUTABLE = ("Prefer", 'IdType="ImmutableId"')


def make_client(info: dict[str, Any]) -> GraphServiceClient:
    credential = ClientSecretCredential(
        info["tenant_id"],
        info["client_id"],
        info["client_secret"],
        authority=info["graph_url"],
        disable_instance_discovery=True,
        connection_verify=info["ca_file"],
    )
    trust = ssl.create_default_context(cafile=info["ca_file"])
    http = httpx.AsyncClient(base_url=f"{info['graph_url']}/v1.0", verify=trust)
    adapter = GraphRequestAdapter(
        AzureIdentityAuthenticationProvider(
            credential, scopes=["https://graph.microsoft.com/.default"]
        ),
        GraphClientFactory.create_with_default_middleware(client=http),
    )
    return GraphServiceClient(request_adapter=adapter)


def configured(parameters: Any = None, *headers: tuple[str, str]) -> RequestConfiguration[Any]:
    configuration = RequestConfiguration(query_parameters=parameters)
    for name, value in headers:
        configuration.headers.add(name, value)
    return configuration


async def users(client: GraphServiceClient) -> list[str]:
    wanted = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(
        select=["id", "userPrincipalName", "mail", "accountEnabled"], top=1
    )
    page = await client.users.get(request_configuration=configured(wanted))
    found: list[str] = []
    pages = PageIterator(page, client.request_adapter)
    await pages.iterate(lambda user: found.append(user.user_principal_name) or True)
    return sorted(found)


async def subjects(client: GraphServiceClient, user: str) -> list[str]:
    since = datetime.now(UTC) - timedelta(days=30)
    wanted = MessagesRequestBuilder.MessagesRequestBuilderGetQueryParameters(
        select=["id", "subject", "receivedDateTime", "internetMessageId", "from"],
        filter=f"receivedDateTime ge {since:%Y-%m-%dT%H:%M:%SZ}",
        orderby=["receivedDateTime desc"],
        top=2,
    )
    messages = client.users.by_user_id(user).messages
    page = await messages.get(request_configuration=configured(wanted, IMMUTABLE))
    found: list[str] = []
    while page:
        found += [
            f"{message.subject} {message.from_.email_address.address}" for message in page.value
        ]
        if not page.odata_next_link:
            break
        page = await messages.with_url(page.odata_next_link).get(
            request_configuration=configured(None, IMMUTABLE)
        )
    return found


async def by_message_id(client: GraphServiceClient, user: str, message_id: str) -> list[str]:
    wanted = MessagesRequestBuilder.MessagesRequestBuilderGetQueryParameters(
        filter=f"internetMessageId eq '{message_id}'", select=["id"]
    )
    page = await client.users.by_user_id(user).messages.get(
        request_configuration=configured(wanted, IMMUTABLE)
    )
    return [message.id for message in page.value]


async def one(client: GraphServiceClient, user: str, message_id: str) -> dict[str, Any]:
    wanted = MessageItemRequestBuilder.MessageItemRequestBuilderGetQueryParameters(
        expand=["singleValueExtendedProperties($filter=id eq 'Integer 0x1081')"]
    )
    message = await (
        client.users.by_user_id(user)
        .messages.by_message_id(message_id)
        .get(request_configuration=configured(wanted, IMMUTABLE))
    )
    raw = (
        await client.users.by_user_id(user)
        .messages.by_message_id(message_id)
        .content.get(request_configuration=configured(None, IMMUTABLE))
    )
    return {
        "subject": message.subject,
        "received": message.received_date_time.isoformat(),
        "body_type": message.body.content_type.value,
        "flag": message.flag.flag_status.value,
        "is_draft": message.is_draft,
        "verbs": [
            [found.id, found.value] for found in message.single_value_extended_properties or []
        ],
        "bytes": len(raw),
    }


async def folders(client: GraphServiceClient, user: str) -> list[str]:
    wanted = MailFoldersRequestBuilder.MailFoldersRequestBuilderGetQueryParameters(
        top=3, include_hidden_folders="true"
    )
    mail_folders = client.users.by_user_id(user).mail_folders
    page = await mail_folders.get(request_configuration=configured(wanted))
    found: list[str] = []
    pages = PageIterator(page, client.request_adapter)
    await pages.iterate(lambda folder: found.append(folder.display_name) or True)
    inbox = mail_folders.by_mail_folder_id("inbox")
    found += [child.display_name for child in (await inbox.child_folders.get()).value]
    changed = await mail_folders.delta.get()
    return [
        *sorted(found),
        f"delta: {len(changed.value)} and more: {bool(changed.odata_next_link)}",
    ]


async def changes(client: GraphServiceClient, user: str, moved: str) -> list[list[Any]]:
    """A full round of the Inbox, a move to Junk Email, and what the next round tells."""
    user_builder = client.users.by_user_id(user)
    delta = user_builder.mail_folders.by_mail_folder_id("inbox").messages.delta
    wanted = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(select=["subject"])
    headers = (IMMUTABLE, ("Prefer", "odata.maxpagesize=2"))
    page = await delta.get(request_configuration=configured(wanted, *headers))
    first = [message.subject for message in page.value]
    while page.odata_next_link:
        page = await delta.with_url(page.odata_next_link).get(
            request_configuration=configured(None, *headers)
        )
        first += [message.subject for message in page.value]
    body = MovePostRequestBody(destination_id="junkemail")
    answer = await user_builder.messages.by_message_id(moved).move.post(
        body, request_configuration=configured(None, IMMUTABLE)
    )
    page = await delta.with_url(page.odata_delta_link).get(
        request_configuration=configured(None, *headers)
    )
    told = [[row.id, "@removed" in row.additional_data] for row in page.value]
    return [first, told, [answer.id, answer.parent_folder_id is not None]]


async def batch(
    client: GraphServiceClient, user: str, ids: list[str], *, absolute: bool
) -> list[int]:
    """Read these messages in one call; the statuses.

    The SDK writes whole addresses, which the service refuses: msgraph-sdk-python issue 1015, whose
    workaround this is.
    """
    root = client.request_adapter.base_url
    content = BatchRequestContent()
    for message_id in ids:
        messages = client.users.by_user_id(user).messages
        request = messages.by_message_id(message_id).to_get_request_information(
            configured(None, IMMUTABLE)
        )
        request.path_parameters["baseurl"] = root
        item = BatchRequestItem(request, id=message_id)
        if not absolute:
            item.url = item.url.removeprefix(root)
        content.add_request(message_id, item)
    answer = await client.batch.post(batch_request_content=content)
    return [int(status) for status in answer.get_response_status_codes().values()]


async def delete(client: GraphServiceClient, user: str, message_id: str) -> str:
    """For good; and what the mail of nobody's says."""
    message = client.users.by_user_id(user).messages.by_message_id(message_id)
    await message.permanent_delete.post(request_configuration=configured(None, IMMUTABLE))
    try:
        await client.users.by_user_id(f"nobody.{user}").messages.get()
    except ODataError as error:
        return f"{error.response_status_code} {error.error.code}"
    return "found"


async def members(client: GraphServiceClient, group: str) -> list[str]:
    wanted = GraphUserRequestBuilder.GraphUserRequestBuilderGetQueryParameters(count=True)
    answer = await client.groups.by_group_id(group).transitive_members.graph_user.get(
        request_configuration=configured(wanted, ("ConsistencyLevel", "eventual"))
    )
    return sorted(user.mail for user in answer.value)


async def hunted(client: GraphServiceClient) -> list[str]:
    body = hunting.RunHuntingQueryPostRequestBody(query="EmailEvents | project Subject | take 100")
    answer = await client.security.microsoft_graph_security_run_hunting_query.post(body)
    return sorted(row.additional_data["Subject"] for row in answer.results)


async def main(wish: dict[str, Any]) -> dict[str, Any]:
    client, user, ids = make_client(wish["connection"]), wish["user"], wish["ids"]
    return {
        "users": await users(client),
        "subjects": await subjects(client, user),
        "by_message_id": await by_message_id(client, user, wish["message_id"]),
        "one": await one(client, user, ids[0]),
        "folders": await folders(client, user),
        "batch": await batch(client, user, ids, absolute=False),
        "absolute_batch": await batch(client, user, ids, absolute=True),
        "changes": await changes(client, user, ids[1]),
        "delete": await delete(client, user, ids[2]),
        "members": await members(client, wish["group"]),
        "hunted": await hunted(client),
    }


if __name__ == "__main__":
    json.dump(asyncio.run(main(json.load(sys.stdin))), sys.stdout)
