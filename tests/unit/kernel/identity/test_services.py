import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.identity import CredentialRefused, NameTaken, SignInRefused
from vallum.kernel.identity.services import Services
from vallum.kernel.identity.tokens import Tokens


@pytest.fixture
def service(identity, records):
    with records.write() as conn:
        return identity.services.create(conn, "nightly-export", ["auditor"])


def grant(identity, client_id, client_secret):
    service = identity.services.check_secret(client_id, client_secret)
    return identity.services.grant(service).access_token


@pytest.fixture
def token(identity, service):
    return grant(identity, service.service.id, service.client_secret)


def test_client_credentials_give_a_token_that_proves_the_service(identity, service, token):
    subject = identity.services.authenticate_token(token)
    assert subject.render() == f"service:{service.service.id}"
    assert subject.roles == {"auditor"}
    assert service.client_secret not in repr(service)


@pytest.mark.parametrize("secret", ["", "vlc_" + "a" * 42, "wrong"])
def test_a_wrong_secret_is_refused(identity, service, secret):
    with pytest.raises(SignInRefused):
        identity.services.check_secret(service.service.id, secret)


def test_an_unknown_client_is_refused_alike(identity, service):
    with pytest.raises(SignInRefused, match="could not prove itself"):
        identity.services.check_secret("svc_nobody", service.client_secret)


def test_a_token_ends_after_ten_minutes(identity, token, clock):
    clock.pass_(604)
    identity.services.authenticate_token(token)
    clock.pass_(2)
    with pytest.raises(CredentialRefused):
        identity.services.authenticate_token(token)


def test_a_token_from_the_future_is_refused(identity, token, clock):
    clock.pass_(-10)
    with pytest.raises(CredentialRefused):
        identity.services.authenticate_token(token)


def test_disabling_a_service_stops_the_tokens_it_holds(identity, open_identity, records, service, token):
    with records.write() as conn:
        identity.services.disable(conn, service.service.id)
    with pytest.raises(CredentialRefused):
        open_identity().services.authenticate_token(token)
    with pytest.raises(SignInRefused):
        identity.services.check_secret(service.service.id, service.client_secret)
    with pytest.raises(NotFound), records.write() as conn:
        identity.services.disable(conn, service.service.id)


def test_a_revoked_token_is_refused_and_others_go_on(identity, open_identity, records, service, token):
    other = grant(identity, service.service.id, service.client_secret)
    with records.write() as conn:
        identity.services.revoke_token(conn, token)
        identity.services.revoke_token(conn, token)
    with pytest.raises(CredentialRefused):
        open_identity().services.authenticate_token(token)
    open_identity().services.authenticate_token(other)


def test_a_token_of_another_installation_is_refused(identity, records, keyring, clock, service, token):
    other = Services(records, Tokens(keyring, clock, "other.example/ledger"), clock, identity.services.authority)
    with pytest.raises(CredentialRefused):
        other.authenticate_token(token)


def _parts(token):
    head, body, signature = token.split(".")
    pad = lambda text: json.loads(urlsafe_b64decode(text + "=="))  # noqa: E731
    return pad(head), pad(body), signature


def test_algorithm_confusion_is_refused(identity, token):
    head, body, _ = _parts(token)
    public = identity.services._tokens._key.as_dict(private=False)
    encode = lambda value: urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    none = f"{encode({**head, 'alg': 'none'})}.{encode(body)}."
    symmetric = jwt.encode({**head, "alg": "HS256"}, body, OctKey.import_key(public["x"] * 2), algorithms=["HS256"])
    foreign = jwt.encode(head, body, OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"])
    untyped = jwt.encode({"alg": "Ed25519"}, body, identity.services._tokens._key, algorithms=["Ed25519"])
    for forged in (none, symmetric, foreign, untyped, "", "a.b.c", "." * 10, "x" * 5000):
        with pytest.raises(CredentialRefused):
            identity.services.authenticate_token(forged)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_any_changed_character_is_refused(identity, token, data):
    place = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= "))
    changed = token[:place] + char + token[place + 1 :]
    if changed == token or place == len(token) - 1:  # the last character of 64 bytes in base64 has unused bits
        return
    with pytest.raises(CredentialRefused):
        identity.services.authenticate_token(changed)


def test_names_and_roles_are_checked(identity, records, service):
    with pytest.raises(NameTaken), records.write() as conn:
        identity.services.create(conn, "nightly-export", ["auditor"])
    with pytest.raises(Invalid), records.write() as conn:
        identity.services.create(conn, "other", ["superuser"])
    assert [s.name for s in identity.services.list()] == ["nightly-export"]
