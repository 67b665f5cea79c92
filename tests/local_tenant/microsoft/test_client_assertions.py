"""Signing in without a secret: with a certificate, or with another issuer's word."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from local_tenant.microsoft.client_assertions import ASSERTION_TYPE
from local_tenant.registration import TOKEN_EXCHANGE, FederatedCredential

ISSUER, SUBJECT = "https://issuer.example", "system:serviceaccount:mail:retract"
GRAPH = "https://graph.microsoft.com/.default"


def make_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def key():
    return make_key()


def make_certificate(key, *, begins=timedelta(days=-1), ends=timedelta(days=30)):
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "retract")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now + begins).not_valid_after(now + ends)
    return builder.sign(key, hashes.SHA256())


def pem_of(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def ask(tenant):
    """Posts this assertion to the token endpoint; the status and the answer."""

    def ask(assertion, kind=ASSERTION_TYPE):
        form = {
            "grant_type": "client_credentials",
            "client_id": tenant.info["client_id"],
            "client_assertion_type": kind,
            "client_assertion": assertion,
            "scope": GRAPH,
        }
        with tenant.http_client() as client:
            answer = client.post(f"{tenant.info['authority_url']}/oauth2/v2.0/token", data=form)
        return answer.status_code, answer.json()

    return ask


@pytest.fixture
def refusal(ask):
    def refusal(assertion, **more):
        status, body = ask(assertion, **more)
        return status, body["error"], body["error_codes"]

    return refusal


@pytest.fixture
def by_certificate(tenant, key):
    """A right assertion, but for what is told to be different; the certificate is registered."""
    certificate = make_certificate(key)
    tenant.state.microsoft.register_certificate(pem_of(certificate))
    thumbprint = msal.oauth2cli.assertion._encode_thumbprint(
        certificate.fingerprint(hashes.SHA256()).hex()
    )

    def by_certificate(*, signed_by=key, algorithm="PS256", headers=None, **claims):
        now = int(tenant.state.clock().timestamp())
        client_id = tenant.info["client_id"]
        right = {
            "aud": f"{tenant.info['authority_url']}/oauth2/v2.0/token",
            "iss": client_id,
            "sub": client_id,
            "jti": str(uuid.uuid4()),
            "nbf": now,
            "exp": now + 600,
        }
        stated = {name: value for name, value in (right | claims).items() if value is not None}
        headers = {"x5t#S256": thumbprint} if headers is None else headers
        return jwt.encode(stated, signed_by, algorithm, headers=headers)

    return by_certificate


@pytest.fixture
def federated(tenant, key):
    """A right assertion of a trusted issuer, but for what is told to be different."""
    tenant.state.microsoft.trust(FederatedCredential(ISSUER, SUBJECT), key.public_key())

    def federated(*, signed_by=key, **claims):
        now = int(tenant.state.clock().timestamp())
        right = {"aud": TOKEN_EXCHANGE, "iss": ISSUER, "sub": SUBJECT, "iat": now, "exp": now + 600}
        return jwt.encode(right | claims, signed_by, "RS256")

    return federated


def sign_in_with(tenant, credential):
    session = requests.Session()
    session.trust_env = False
    session.verify = str(tenant.connection.ca_file)
    with session:
        client = msal.ConfidentialClientApplication(
            tenant.info["client_id"],
            client_credential=credential,
            authority=tenant.info["authority_url"],
            instance_discovery=False,
            http_client=session,
        )
        return client.acquire_token_for_client([GRAPH])


@pytest.mark.parametrize("thumbprint", ["sha256", "sha1"])
def test_msal_signs_in_with_a_registered_certificate(tenant, key, thumbprint):
    certificate = make_certificate(key)
    tenant.state.microsoft.register_certificate(pem_of(certificate))
    credential = {"private_key": key_pem(key), "public_certificate": pem_of(certificate).decode()}
    if thumbprint == "sha1":
        credential = {
            "private_key": key_pem(key),
            "thumbprint": certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303  its name
        }
    assert "access_token" in sign_in_with(tenant, credential)


def test_msal_signs_in_with_a_trusted_issuer_s_assertion(tenant, federated):
    assert "access_token" in sign_in_with(tenant, {"client_assertion": federated})


def test_a_certificate_that_is_not_registered_is_refused_with_its_thumbprint(
    tenant, key, by_certificate
):
    other = make_certificate(key)
    answer = sign_in_with(
        tenant, {"private_key": key_pem(key), "public_certificate": pem_of(other).decode()}
    )
    assert answer["error"] == "invalid_client"
    assert answer["error_codes"] == [700027]
    assert "The key was not found." in answer["error_description"]
    assert other.fingerprint(hashes.SHA256()).hex().upper() in answer["error_description"]


def test_right_assertions_are_taken(ask, by_certificate, federated):
    for assertion in (by_certificate(), by_certificate(algorithm="RS256"), federated()):
        assert ask(assertion)[0] == 200


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"aud": "https://login.microsoftonline.com/other/oauth2/v2.0/token"}, 700023),
        ({"iss": "11111111-2222-4333-8444-555555555555"}, 700021),
        ({"exp": 1_700_000_000, "nbf": 1_699_999_000}, 700024),
        ({"nbf": 4_000_000_000, "exp": 4_000_000_600}, 700024),
    ],
)
def test_a_certificate_s_assertion_that_says_something_wrong(
    refusal, by_certificate, changes, number
):
    assert refusal(by_certificate(**changes)) == (401, "invalid_client", [number])


@pytest.mark.parametrize(
    "changes",
    [{"headers": {}}, {"jti": None}, {"exp": None}, {"aud": None}, {"exp": "soon"}],
)
def test_a_certificate_s_assertion_that_says_too_little(refusal, by_certificate, changes):
    assert refusal(by_certificate(**changes)) == (400, "invalid_request", [50027])


def test_another_key_than_the_certificate_s_is_refused(ask, by_certificate):
    _, body = ask(by_certificate(signed_by=make_key()))
    assert body["error_codes"] == [700027]
    assert "did not match the expected signature value" in body["error_description"]


def test_an_expired_certificate_is_refused(tenant, ask, key):
    certificate = make_certificate(key, begins=timedelta(days=-30), ends=timedelta(days=-1))
    tenant.state.microsoft.register_certificate(pem_of(certificate))
    credential = {"private_key": key_pem(key), "public_certificate": pem_of(certificate).decode()}
    answer = sign_in_with(tenant, credential)
    assert answer["error_codes"] == [700027]
    assert "The key used is expired." in answer["error_description"]


@pytest.mark.parametrize(
    ("changes", "number", "says"),
    [
        ({"iss": "https://issuer.example/"}, 700211, "issuer 'https://issuer.example/'"),
        ({"aud": "api://other"}, 700212, "audience 'api://other'"),
        ({"sub": SUBJECT.title()}, 700213, f"subject '{SUBJECT.title()}'"),
        ({"exp": 1_700_000_000, "iat": 1_699_999_000}, 700024, "not within its valid time range"),
    ],
)
def test_an_issuer_s_assertion_that_matches_no_record(ask, federated, changes, number, says):
    status, body = ask(federated(**changes))
    assert (status, body["error"], body["error_codes"]) == (401, "invalid_client", [number])
    assert says in body["error_description"]


def test_an_assertion_that_the_issuer_did_not_sign_is_refused(refusal, federated):
    assert refusal(federated(signed_by=make_key())) == (401, "invalid_client", [50013])


def test_without_federated_credentials_no_issuer_is_believed(refusal, key):
    assertion = jwt.encode({"iss": "a", "sub": "b", "aud": "c", "exp": 1}, key, "RS256")
    assert refusal(assertion) == (401, "invalid_client", [70025])


@pytest.mark.parametrize("assertion", ["", "x", "a.b.c", "e30.e30.", "💥"])
def test_what_is_no_assertion_is_refused(refusal, assertion):
    assert refusal(assertion) == (400, "invalid_request", [50027])


def test_the_type_of_assertion_must_be_told(refusal, by_certificate):
    assert refusal(by_certificate(), kind="") == (400, "invalid_request", [50027])


def test_an_unsigned_assertion_is_refused(refusal, by_certificate):
    claims = jwt.decode(by_certificate(), options={"verify_signature": False})
    headers = {"x5t#S256": jwt.get_unverified_header(by_certificate())["x5t#S256"]}
    unsigned = jwt.encode(claims, None, "none", headers=headers)
    assert refusal(unsigned) == (401, "invalid_client", [700027])
