"""Each way of signing in, against a tenant that checks it; and what a refusal says to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from local_tenant.microsoft.managed_identity import managed_identity
from local_tenant.registration import TOKEN_EXCHANGE, FederatedCredential
from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings, new_state
from retract.errors import (
    AuthenticationFailed,
    ConnectionSettingsError,
    MailboxError,
    TenantUnreachable,
    Throttled,
)
from retract.mailboxes.microsoft365.certificate import read_certificate
from retract.mailboxes.microsoft365.tokens import Tokens
from retract.mailboxes.settings import Microsoft365Settings

PASSWORD = "pass-nobody-may-see"
ISSUER, SUBJECT = "https://oidc.cluster.example/", "system:serviceaccount:mail:retract"
Sign = Callable[..., Tokens]


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTenant]:
    with running_tenant(new_state(TenantSettings(latency_seconds=0))) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: RunningTenant) -> RunningTenant:
    """As new, but for its address."""
    application = running.state.microsoft
    application.certificates.clear()
    application.federated.clear()
    application.issuer_keys.clear()
    return running


@pytest.fixture
def sign_in(tenant: RunningTenant) -> Iterator[Sign]:
    """Makes what asks for tokens, with settings beside the addresses."""
    trust = ssl.create_default_context(cafile=tenant.info["ca_file"])
    with httpx.Client(verify=trust) as http:

        def make(**given: Any) -> Tokens:
            names = ["authority_url", "graph_url", "ca_file"]
            if "managed_identity" not in given:
                names += ["tenant_id", "client_id"]
            known = {name: tenant.info[name] for name in names}
            settings = Microsoft365Settings.model_validate(known | given)
            return Tokens(settings, http, tenant.state.clock)

        yield make


def certified(key: Any, *, begins: int = -1, ends: int = 30) -> x509.Certificate:
    """A self-signed certificate, good from and until these days from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "retract")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .sign(key, hashes.SHA256())
    )


def pem(key: Any, *certificates: x509.Certificate, password: str = "") -> bytes:
    locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)]
    return b"".join(parts + [each.public_bytes(Encoding.PEM) for each in certificates])


def pfx(key: rsa.RSAPrivateKey, certificate: x509.Certificate, password: str = "") -> bytes:
    locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"retract", key, certificate, None, locked)


def register(tenant: RunningTenant, certificate: x509.Certificate) -> None:
    tenant.state.microsoft.register_certificate(certificate.public_bytes(Encoding.PEM))


def is_accepted(tenant: RunningTenant, token: str) -> bool:
    with tenant.http_client() as http:
        answer = http.get("/v1.0/users", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code == httpx.codes.OK


def refusal(tokens: Tokens) -> MailboxError:
    with pytest.raises(MailboxError) as caught:
        tokens.current()
    return caught.value


# ---- a secret ---------------------------------------------------------------------------


def test_a_secret_signs_in(tenant: RunningTenant, sign_in: Sign) -> None:
    tokens = sign_in(client_secret=tenant.info["client_secret"])
    token = tokens.current()
    assert is_accepted(tenant, token)
    assert tokens.current() == token, "kept while it is good"


def test_a_secret_that_is_mended_counts_at_the_next_try(
    tenant: RunningTenant, sign_in: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = sign_in(client_secret=PASSWORD)
    told = refusal(tokens)
    assert isinstance(told, AuthenticationFailed)
    assert "use the secret's value, not its id" in str(told)
    assert PASSWORD not in str(told)
    monkeypatch.setattr(tenant.state.microsoft, "client_secret", SecretStr(PASSWORD))
    assert is_accepted(tenant, tokens.current())


# ---- a certificate ----------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pem", "pem with a chain", "pfx", "locked pem", "locked pfx"])
def test_a_certificate_signs_in_from_whatever_file_it_is_in(
    tenant: RunningTenant, sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path, form: str
) -> None:
    certificate, above = certified(key), certified(rsa.generate_private_key(65537, 2048))
    register(tenant, certificate)
    file = tmp_path / "certificate"
    file.write_bytes(
        {
            "pem": lambda: pem(key, certificate),
            "pem with a chain": lambda: pem(key, above, certificate),
            "pfx": lambda: pfx(key, certificate),
            "locked pem": lambda: pem(key, certificate, password=PASSWORD),
            "locked pfx": lambda: pfx(key, certificate, PASSWORD),
        }[form]()
    )
    more = {"certificate_password": PASSWORD} if "locked" in form else {}
    assert is_accepted(tenant, sign_in(certificate_file=file, **more).current())


def test_an_unregistered_certificate_is_told_with_what_to_do_and_without_its_key(
    sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    file = tmp_path / "certificate.pem"
    file.write_bytes(pem(key, certified(key)))
    told = refusal(sign_in(certificate_file=file))
    assert (told.code, type(told)) == ("AADSTS700027", AuthenticationFailed)
    assert "upload the certificate" in str(told)
    assert "PRIVATE KEY" not in str(told)


def test_an_expired_certificate_is_told_before_anybody_is_asked(
    tenant: RunningTenant, sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    expired = certified(key, begins=-9, ends=-2)
    file = tmp_path / "certificate.pem"
    file.write_bytes(pem(key, expired))
    assert "the certificate has expired: make a new one" in str(
        refusal(sign_in(certificate_file=file))
    )


def test_a_certificate_that_was_renewed_on_disk_is_read_before_a_refusal_is_told(
    tenant: RunningTenant, sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    old, new = certified(key), rsa.generate_private_key(65537, 2048)
    file = tmp_path / "certificate.pem"
    file.write_bytes(pem(key, old))
    register(tenant, old)
    tokens = sign_in(certificate_file=file)
    tokens.current()

    renewed = certified(new)
    tenant.state.microsoft.certificates.clear()
    register(tenant, renewed)
    file.write_bytes(pem(new, renewed))
    tokens.forget()
    assert is_accepted(tenant, tokens.current())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda key: b"", "is neither a PEM file"),
        (lambda key: b"-----BEGIN PRIVATE KEY-----\nhunter2\n", "is neither a PEM file"),
        (lambda key: pem(key), "is neither a PEM file"),
        (lambda key: pem(key, certified(key), password=PASSWORD), "certificate_password"),
        (lambda key: pfx(key, certified(key), PASSWORD), "certificate_password"),
        (
            lambda key: pem(key, certified(rsa.generate_private_key(65537, 2048))),
            "not the certificate that belongs to it",
        ),
        (
            lambda key: pem(curve := ec.generate_private_key(ec.SECP256R1()), certified(curve)),
            "no RSA private key",
        ),
    ],
)
def test_a_certificate_file_that_will_not_do_is_told_when_it_is_opened_and_never_quoted(
    sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path, content: Any, told: str
) -> None:
    file = tmp_path / "certificate"
    file.write_bytes(content(key))
    with pytest.raises(ConnectionSettingsError, match=r"^certificate_file: ") as caught:
        sign_in(certificate_file=file)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_a_certificate_says_until_when_and_hides_its_key(
    key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    file = tmp_path / "certificate.pem"
    file.write_bytes(pem(key, certified(key, ends=3)))
    found = read_certificate(file)
    assert timedelta(days=2) < found.valid_until - datetime.now(UTC) < timedelta(days=4)
    assert "PRIVATE KEY" in found.private_key
    assert "PRIVATE KEY" not in repr(found)


# ---- a token of another issuer ----------------------------------------------------------


def federated(key: rsa.RSAPrivateKey, ends: int = 600, **claims: Any) -> str:
    now = int(datetime.now(UTC).timestamp())
    right = {"iss": ISSUER, "sub": SUBJECT, "aud": TOKEN_EXCHANGE, "iat": now - 900}
    return jwt.encode(right | {"exp": now + ends} | claims, key, "RS256")


def trust(tenant: RunningTenant, key: rsa.RSAPrivateKey) -> None:
    tenant.state.microsoft.trust(FederatedCredential(ISSUER, SUBJECT), key.public_key())


def test_another_issuers_token_is_read_anew_at_each_sign_in(
    tenant: RunningTenant, sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    trust(tenant, key)
    file = tmp_path / "token"
    file.write_text(federated(key) + "\n")
    tokens = sign_in(federated_token_file=file)
    assert is_accepted(tenant, tokens.current())

    file.write_text(federated(key, ends=-900))
    tokens.forget()
    told = refusal(tokens)
    assert told.code == "AADSTS700024"
    assert "set the clock of this machine, and see that the token" in str(told)

    file.write_text(federated(key))
    assert is_accepted(tenant, tokens.current())


@pytest.mark.parametrize(
    ("claims", "code", "advice"),
    [
        ({"aud": "api://else"}, "AADSTS700212", "have it issued for api://AzureADTokenExchange"),
        ({"iss": "https://else.example/"}, "AADSTS700211", "does not trust the issuer"),
        ({"sub": "else"}, "AADSTS700213", "the subject of the token"),
    ],
)
def test_a_token_that_the_application_does_not_trust_is_told_by_what_is_wrong_with_it(
    tenant: RunningTenant,
    sign_in: Sign,
    key: rsa.RSAPrivateKey,
    tmp_path: Path,
    claims: dict[str, str],
    code: str,
    advice: str,
) -> None:
    trust(tenant, key)
    file = tmp_path / "token"
    file.write_text(federated(key, **claims))
    told = refusal(sign_in(federated_token_file=file))
    assert told.code == code
    assert advice in str(told)
    assert file.read_text() not in str(told)


def test_an_application_without_federated_credentials_is_told(
    sign_in: Sign, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(federated(key))
    told = refusal(sign_in(federated_token_file=file))
    assert "add one for the issuer, subject and audience" in str(told)


@pytest.mark.parametrize("content", ["", "hunter2", "ä.b.c"])
def test_a_token_file_without_a_token_is_told_and_not_quoted(
    sign_in: Sign, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    told = refusal(sign_in(federated_token_file=file))
    assert isinstance(told, AuthenticationFailed)
    assert "holds no token" in str(told)
    assert not content or content not in str(told)


# ---- a managed identity -----------------------------------------------------------------


@pytest.mark.parametrize("app_service", [True, False])
@pytest.mark.parametrize("assigned", ["system", "user"])
def test_a_managed_identity_signs_in_from_the_machine_s_own_endpoint(
    tenant: RunningTenant,
    sign_in: Sign,
    monkeypatch: pytest.MonkeyPatch,
    app_service: bool,
    assigned: str,
) -> None:
    # Were a proxy asked, nothing would answer.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    identity = "system" if assigned == "system" else tenant.state.microsoft.managed_identity
    with managed_identity(tenant.state, app_service=app_service) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        tokens = sign_in(managed_identity=identity)
        token = tokens.current()
        assert is_accepted(tenant, token)
        assert tokens.current() == token, "kept while it is good"
        tokens.forget()
        assert is_accepted(tenant, tokens.current())


def test_an_identity_that_is_not_assigned_is_told_and_counts_once_it_is(
    tenant: RunningTenant, sign_in: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    with managed_identity(tenant.state, app_service=False) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        tokens = sign_in(managed_identity="another-identity")
        told = refusal(tokens)
        assert isinstance(told, AuthenticationFailed)
        assert "see that the identity in managed_identity is assigned" in str(told)
        monkeypatch.setattr(tenant.state.microsoft, "managed_identity", "another-identity")
        assert is_accepted(tenant, tokens.current())


def test_a_machine_without_an_identity_endpoint_is_told(
    sign_in: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    told = refusal(sign_in(managed_identity="system"))
    assert isinstance(told, TenantUnreachable)
    assert "nothing on this machine gives out tokens" in str(told)


# ---- an identity platform that will not answer now --------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("body", ["", '{"error": "temporarily_unavailable"}', "<html>"])
def test_patience_that_is_asked_for_is_told_in_seconds_and_no_failure_is_remembered(
    tenant: RunningTenant, status: int, body: str
) -> None:
    answers = [httpx.Response(status, headers={"Retry-After": "1800"}, text=body)]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openid-configuration"):
            base = "https://login.invalid/t"
            names = ("token_endpoint", "authorization_endpoint")
            return httpx.Response(200, json={n: f"{base}/{n}" for n in names} | {"issuer": base})
        good = {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
        return answers.pop() if answers else httpx.Response(200, json=good)

    settings = Microsoft365Settings(
        tenant_id="t",
        client_id="c",
        client_secret=SecretStr(PASSWORD),
        authority_url="https://login.invalid/{tenant_id}",
    )
    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        tokens = Tokens(settings, http, tenant.state.clock)
        told = refusal(tokens)
        assert isinstance(told, Throttled)
        assert told.retry_after == 1800
        assert tokens.current() == "token", "whoever waits is this program's business, not msal's"
