"""Calls to Google's APIs in a user's name: tokens, quota, short waits, batches."""

from __future__ import annotations

import http.client
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import google_auth_httplib2
import httplib2
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import BatchError, HttpError
from googleapiclient.http import BatchHttpRequest

from retract.errors import (
    ConnectionSettingsError,
    MailboxError,
    OutcomeUnknown,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.google_workspace.quota import Quota
from retract.mailboxes.google_workspace.refusals import broken, refusal, token_refusal, unreadable
from retract.mailboxes.patience import Patience
from retract.mailboxes.reading import WHOLE_MAILBOX, answered
from retract.mailboxes.settings import GoogleWorkspaceSettings

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

DIRECTORY_SCOPE = "https://www.googleapis.com/auth/admin.directory.user.readonly"
MEMBERS_SCOPE = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"

_USERS_AT_ONCE = 8
_CALLS_PER_BATCH = 25
"""Google discourages more than 50, and 100 gets of one user were seen to draw 429."""
_MOST_CREDENTIALS = 1_000
_IDLE_SECONDS = 4.0
"""How long a connection may lie idle, as in a wait for the quota: servers close theirs after five
seconds and more, and a change sent on a closed one has no known outcome."""
_NO_ANSWER = (GoogleAuthError, httplib2.HttpLib2Error, http.client.HTTPException, OSError)
# BatchHttpRequest takes what it is answered apart without a look.
_NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to Gmail, not yet made."""

    request: Any
    """An HttpRequest."""
    units: int
    task: str
    """What it is to do, in words for a person: "read a message of …"."""
    changing: bool = False


class GoogleApi:
    """Gmail and the Directory of one customer.

    httplib2 is not thread-safe: https://googleapis.github.io/google-api-python-client/docs/thread_safety.html.
    So each thread has its own services and connections. httplib2 sends a request once more by
    itself when the connection breaks before an answer came. A change of labels has the same outcome
    when it is made twice; a deletion has not: the second is answered as not found, and says nothing
    of the first.
    """

    def __init__(
        self,
        settings: GoogleWorkspaceSettings,
        clock: Callable[[], datetime],
        share: float = 1.0,
        *,
        sleep: Callable[[float], None] = time.sleep,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """``share`` is this object's part of the project's quota."""
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self.seconds = seconds
        self.quota = Quota(
            settings.user_units_per_minute,
            max(1, int(settings.project_units_per_minute * share)),
            seconds,
        )
        self._key = _credentials(settings)
        self._credentials: OrderedDict[tuple[str, tuple[str, ...]], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._own = threading.local()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def line(self) -> _Line:
        """The calling thread's."""
        found: _Line | None = getattr(self._own, "line", None)
        if found is None:
            found = self._own.line = _Line(self.settings)
            with self._lock:
                self._lines.append(found)
        return found

    def gmail(self, user: str, until: datetime | None = None) -> Caller:
        """Gmail in the user's name, for one piece of work of the calling thread.

        No call is begun after ``until``.
        """
        return Caller(self, user, self.settings.gmail_scopes, until)

    def directory(self) -> Caller:
        """The Directory in the administrator's name."""
        groups = (MEMBERS_SCOPE,) if self.settings.watch.groups else ()
        return Caller(self, self.settings.admin_subject, (DIRECTORY_SCOPE, *groups), None)

    def at_once(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """What the jobs return, in their order; several are worked on at once."""
        if len(jobs) < 2:
            return [job() for job in jobs]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_USERS_AT_ONCE, thread_name_prefix="gmail")
        return list(self._pool.map(lambda job: job(), jobs))

    def credentials(self, user: str, scopes: tuple[str, ...]) -> Any:
        """The service account's, in the user's name, with the token it has."""
        with self._lock:
            found = self._credentials.pop((user, scopes), None)
            if found is None:
                found = self._key.with_subject(user).with_scopes(scopes)
            self._credentials[user, scopes] = found
            if len(self._credentials) > _MOST_CREDENTIALS:
                self._credentials.popitem(last=False)
        return found

    def close(self) -> None:
        """Release connections."""
        if self._pool is not None:
            self._pool.shutdown()
        for line in self._lines:
            line.http.close()


class _Line:
    """One thread's connections and services."""

    def __init__(self, settings: GoogleWorkspaceSettings) -> None:
        self.http = httplib2.Http(
            timeout=settings.timeout_seconds,
            ca_certs=str(settings.ca_file) if settings.ca_file else None,
        )
        self.http.follow_redirects = False
        # From the descriptions that the library ships: nothing is asked for here.
        self.gmail = self._service("gmail", "v1", settings.gmail_url)
        self.directory = self._service("admin", "directory_v1", settings.directory_url)
        # The library's own way to a batch does not know of another address.
        self.batch_url = f"{settings.gmail_url}/batch/gmail/v1"
        self._used = 0.0

    def renew(self, now: float) -> None:
        """Before each request: close the connections that lay idle. New ones are made."""
        if now - self._used > _IDLE_SECONDS:
            self.http.close()
        self._used = now

    def _service(self, name: str, version: str, url: str) -> Any:
        return build(
            name,
            version,
            http=self.http,
            client_options={"api_endpoint": f"{url}/"},
            static_discovery=True,
            cache_discovery=False,
        )


class _TooLate(Exception):
    """The time to begin calls is over."""


@dataclass(slots=True)
class _Waits:
    """How long one piece of work may still wait, in seconds."""

    left: float


class Caller:
    """One user's calls, for one piece of work: its waits add up to max_wait_seconds at most.

    For the thread that made it.
    """

    def __init__(
        self,
        api: GoogleApi,
        user: str,
        scopes: tuple[str, ...],
        until: datetime | None,
        waits: _Waits | None = None,
    ) -> None:
        self.user = user
        self._api = api
        self._scopes = scopes
        self._line = api.line
        self._until = until
        self._waits = waits or _Waits(api.settings.max_wait_seconds)
        self._http = google_auth_httplib2.AuthorizedHttp(
            api.credentials(user, scopes), http=self._line.http
        )

    @property
    def get_units(self) -> int:
        """What messages.get costs this project."""
        return self._api.settings.get_units

    @property
    def users(self) -> Any:
        """Gmail's users resource, to make requests with."""
        return self._line.gmail.users()

    @property
    def messages(self) -> Any:
        """Gmail's users.messages resource, to make requests with."""
        return self.users.messages()

    @property
    def directory(self) -> Any:
        """The Directory service, to make requests with."""
        return self._line.directory

    def each(self, work: Callable[[Caller, A], R], asked: Sequence[A]) -> list[R]:
        """What ``work`` makes of each, all at once.

        Not for work that is itself one of several users': the threads would run out.
        """
        if len(asked) < 2:
            return [work(self, one) for one in asked]
        return self._api.at_once([lambda one=one: work(self._beside(), one) for one in asked])  # type: ignore[misc]

    def _beside(self) -> Caller:
        """The same, in another thread."""
        return Caller(self._api, self.user, self._scopes, self._until, self._waits)

    def call(self, call: Call) -> dict[str, Any]:
        """The answer. Raises MailboxError; OutcomeUnknown where a change may have been made."""
        return self._patiently(lambda: self._once(call))

    def answers(self, calls: Sequence[Call]) -> list[dict[str, Any] | MailboxError]:
        """The answer to each, in its turn, in as few requests as is wise.

        What concerns the whole mailbox, or the service, is not found out again call by call.
        """
        found: list[dict[str, Any] | MailboxError] = []
        for begin in range(0, len(calls), _CALLS_PER_BATCH):
            some = calls[begin : begin + _CALLS_PER_BATCH]
            try:
                found += self._batch(some) if len(some) > 1 else [self.call(some[0])]
            except OutcomeUnknown as error:
                found += [error] * len(some)
            except MailboxError as error:
                if len(some) == 1 and not isinstance(error, WHOLE_MAILBOX):
                    found.append(error)
                    continue
                return found + [error] * (len(calls) - len(found))
        return found

    def _batch(self, calls: Sequence[Call]) -> list[dict[str, Any] | MailboxError]:
        answers = self._patiently(lambda: self._batch_once(calls))
        left = self._waits.left
        for number, (call, answer) in enumerate(zip(calls, answers, strict=True)):
            # Not carried out: the service refused this one call, or could not read it now.
            if isinstance(answer, Throttled | TenantUnreachable):
                answers[number] = self._again(call, answer, waited=left - self._waits.left)
        return answers

    def _again(
        self, call: Call, refused: Throttled | TenantUnreachable, waited: float
    ) -> dict[str, Any] | MailboxError:
        """By itself, after what the refusal asked for; so long ago it was refused."""
        first = [refused]
        if isinstance(refused, Throttled) and waited:
            rest = (refused.retry_after or 0) - waited
            first = [Throttled(str(refused), retry_after=rest, code=refused.code)] * (rest > 0)

        def attempt() -> dict[str, Any]:
            if first:
                raise first.pop()
            return self._once(call)

        return answered(lambda: self._patiently(attempt))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        try:
            return Patience(self._patience(), sleep=self._wait).call(attempt)
        except _TooLate:
            raise Throttled(
                f"the time for work on the mailbox of {self.user} is over: "
                "what is left is for the next run"
            ) from None

    def _patience(self) -> float:
        if self._until is None:
            return self._waits.left
        return min(self._waits.left, (self._until - self._api.clock()).total_seconds())

    def _wait(self, seconds: float) -> None:
        self._waits.left -= seconds
        self._api.sleep(seconds)

    def _admit(self, units: int) -> None:
        """Raises Throttled where the service would."""
        if self._until is not None and self._api.clock() > self._until:
            raise _TooLate
        wait = self._api.quota.take(self.user, units) if units else 0
        if wait:
            raise Throttled(
                f"Gmail's quota for {self.user}, or for the whole project, is used up for now",
                retry_after=wait,
            )
        self._line.renew(self._api.seconds())

    def _once(self, call: Call) -> dict[str, Any]:
        self._admit(call.units)
        try:
            # The library's own retries ignore Retry-After, and know no limit in seconds.
            answer = call.request.execute(http=self._http, num_retries=0)
        except HttpError as error:
            raise refusal(error, call.task, call.changing, self._api.clock()) from error
        except RefreshError as error:
            raise token_refusal(error, self.user, call.task) from error
        except _NO_ANSWER as error:
            raise broken(error, call.task, call.changing) from error
        return _body(answer, call)

    def _batch_once(self, calls: Sequence[Call]) -> list[dict[str, Any] | MailboxError]:
        self._admit(sum(call.units for call in calls))
        task, changing = calls[0].task, any(call.changing for call in calls)
        answers: list[dict[str, Any] | MailboxError] = []

        def note(_: str, answer: Any, error: HttpError | None) -> None:
            call = calls[len(answers)]
            if error is not None:
                answers.append(refusal(error, call.task, call.changing, self._api.clock()))
            else:
                answers.append(answered(lambda: _body(answer, call)))

        batch = _Batch(callback=note, batch_uri=self._line.batch_url)
        for call in calls:
            batch.add(call.request)
        try:
            self._sign_in()
            batch.execute(http=self._http)
        except BatchError as error:  # a kind of HttpError
            raise unreadable(task, changing) from error
        except HttpError as error:
            raise refusal(error, task, changing, self._api.clock()) from error
        except RefreshError as error:
            raise token_refusal(error, self.user, task) from error
        except _NO_ANSWER as error:
            raise broken(error, task, changing) from error
        except _NONSENSE as error:
            raise unreadable(task, changing) from error
        return answers

    def _sign_in(self) -> None:
        if not self._http.credentials.valid:
            self._http.credentials.refresh(google_auth_httplib2.Request(self._line.http))


class _Batch(BatchHttpRequest):  # type: ignore[misc]
    """The library's batch, which would get a fresh token past our certificates and timeouts."""

    def _refresh_and_apply_credentials(self, request: Any, http: Any) -> None:
        # The calls inside carry no token of their own: the batch's counts for them.
        if not self._refreshed_credentials:
            self._refreshed_credentials[id(http)] = 1
            http.credentials.refresh(google_auth_httplib2.Request(http.http))


def _body(answer: Any, call: Call) -> dict[str, Any]:
    if isinstance(answer, dict):
        return answer
    if call.changing:  # a deletion is answered with nothing
        return {}
    raise unreadable(call.task, changing=False)


def _credentials(settings: GoogleWorkspaceSettings) -> Any:
    try:
        key = settings.key()
        return service_account.Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, GoogleAuthError) as error:
        # Not the error's own words: they may quote the key.
        raise ConnectionSettingsError(
            "the service account key cannot be read: give the JSON key file as Google Cloud "
            f"hands it out ({type(error).__name__})"
        ) from None
