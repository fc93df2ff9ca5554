"""Single sign-on's ID tokens: the right one, and all that a provider, or somebody in its name, could send instead."""

import dataclasses
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from vallum.kernel.errors import Conflict, Invalid
from vallum.kernel.identity import (
    CredentialRefused,
    NameTaken,
    NoRoleLeft,
    OidcConfig,
    SignInRefused,
    SingleSignOn,
    SsoRefused,
    Tokens,
    VerifiedSignIn,
)
from vallum.kernel.identity import records as table
from vallum.kernel.identity.delegations import SubjectTokenRefused
from vallum.kernel.identity.factors import ProvenPasskey

ISSUER = "https://login.example"
KEYS = {
    "RS256": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}
CONFIG = OidcConfig(ISSUER, "vallum", {"eng": "auditor", "sec": "security"}, acr=frozenset({"urn:two"}))


class Provider:
    """Hands out whatever token the test put in."""

    def __init__(self):
        self.token, self.asked_afresh, self.published = "", 0, list(KEYS.values())

    def metadata(self):
        return {"authorization_endpoint": ISSUER + "/auth?tenant=1"}

    def keys(self, *, afresh=False):
        self.asked_afresh += afresh
        return [{**key.as_dict(private=False), "kid": key.thumbprint()} for key in self.published]

    def exchange(self, code, verifier, redirect_uri):
        if code != "the code" or len(verifier) < 43:
            raise Invalid("no such code")
        return self.token


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def sso(provider, records, keyring, clock):
    tokens = Tokens(keyring, clock, "test.example/ledger")
    return SingleSignOn(
        CONFIG, provider, records, keyring, tokens, clock, "https://vallum.example/console/sso/callback"
    )


@pytest.fixture
def finish(sso, provider, clock):
    def _finish(alg="RS256", key=None, header=None, code="the code", answer_iss=None, **changes):
        begun = sso.begin()
        query = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
        now = int(clock.now().timestamp())
        said = {
            "iss": ISSUER, "aud": "vallum", "sub": "u-1", "nonce": query["nonce"], "iat": now, "exp": now + 300,
            "amr": ["pwd", "mfa"], "groups": ["eng"], "preferred_username": "Ada", **changes,
        }  # fmt: skip
        key = key or KEYS[alg]
        head = {"alg": alg, "kid": key.thumbprint(), **(header or {})}
        claims = {name: value for name, value in said.items() if value is not None}
        provider.token = jwt.encode(head, claims, key, algorithms=[alg])
        return sso.check(begun.kept, query["state"], code, answer_iss)

    return _finish


@pytest.fixture
def sign_in(identity, sso, records):
    def _sign_in(verified):
        with records.write() as conn:
            return identity.sessions.open(conn, VerifiedSignIn(sso.admit(conn, verified)[0]))

    return _sign_in


@pytest.mark.parametrize("alg", list(KEYS))
def test_an_id_token_says_who(finish, alg):
    verified = finish(alg)
    assert (verified.subject, verified.name, verified.roles) == ("u-1", "ada", ("auditor",))
    assert finish(alg, answer_iss=ISSUER).subject == "u-1"
    assert finish(aud=["vallum", "other"], azp="vallum").subject == "u-1"
    assert finish(amr=None, acr="urn:two").subject == "u-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"}, {"aud": "somebody-else"}, {"aud": None}, {"aud": []},
        {"aud": ["vallum", "other"]}, {"aud": ["vallum", "other"], "azp": "other"}, {"azp": "other"},
        {"nonce": "another"}, {"nonce": None}, {"sub": None}, {"sub": ""}, {"sub": 5}, {"sub": "x" * 256},
        {"exp": None}, {"exp": "soon"}, {"exp": 1_000_000}, {"exp": 10**11}, {"iat": None}, {"iat": 10**11},
        {"exp": True}, {"code": "another code"}, {"header": {"kid": "unknown"}}, {"header": {"jku": "https://evil"}},
        {"amr": ["pwd"]}, {"amr": None}, {"amr": "mfa"}, {"amr": [["mfa"]]}, {"amr": None, "acr": "urn:one"},
        {"groups": None}, {"groups": []}, {"groups": ["finance"]}, {"groups": [{"eng": 1}]}, {"groups": "engineering"},
    ],
)  # fmt: skip
def test_what_does_not_hold_is_refused(finish, changes):
    with pytest.raises(SsoRefused):
        finish(**changes)


def test_an_answer_of_another_provider_is_refused(finish):
    with pytest.raises(SsoRefused, match="another provider"):
        finish(answer_iss="https://evil.example")


def test_forged_signatures_are_refused(finish, provider):
    stranger = RSAKey.generate_key(2048)
    with pytest.raises(SsoRefused):
        finish(key=stranger)
    with pytest.raises(SsoRefused):
        finish(key=stranger, header={"kid": KEYS["RS256"].thumbprint()})
    with pytest.raises(SsoRefused):
        finish(key=stranger, header={"jwk": stranger.as_dict(private=False)})
    with pytest.raises(SsoRefused):  # the client's secret, or a public key, as a shared one
        finish("HS256", OctKey.import_key(KEYS["RS256"].as_dict(private=False)["n"]))
    assert provider.asked_afresh


def test_a_key_that_the_provider_just_made_is_asked_for(finish, provider):
    fresh = RSAKey.generate_key(2048)
    provider.keys = lambda afresh=False: ([{**(fresh if afresh else KEYS["RS256"]).as_dict(private=False)}])
    assert finish(key=fresh).subject == "u-1"


def test_what_was_begun_is_over_after_ten_minutes(sso, clock):
    begun = sso.begin()
    state = parse_qs(urlsplit(begun.url).query)["state"][0]
    clock.pass_(700)
    with pytest.raises(SsoRefused, match="begin again"):
        sso.check(begun.kept, state, "the code", None)


def test_the_request_asks_for_all_that_is_checked(sso):
    query = parse_qs(urlsplit(sso.begin().url).query)
    assert (query["tenant"], query["response_type"], query["code_challenge_method"]) == (["1"], ["code"], ["S256"])
    assert query["acr_values"] == ["urn:two"]
    assert len({sso.begin().url for _ in range(5)}) == 5


def test_the_second_factor_is_as_old_as_the_provider_says(identity, finish, sign_in, clock):
    now = int(clock.now().timestamp())
    issued = sign_in(finish(auth_time=now - 3600))
    subject, _ = identity.sessions.authenticate(issued.secret)
    assert subject.mfa_at_seconds == now - 3600
    silent = sign_in(finish(sub="u-3", preferred_username="eve"))
    assert identity.sessions.authenticate(silent.secret)[0].mfa_at_seconds == 0
    late = sign_in(finish(sub="u-2", preferred_username="bob", auth_time=now + 10_000))
    assert identity.sessions.authenticate(late.secret)[0].mfa_at_seconds == now


def test_it_is_the_subject_that_counts_and_never_the_name(identity, enrol, finish, sign_in):
    enrol("ada")
    with pytest.raises(NameTaken):
        sign_in(finish())
    first = sign_in(finish(preferred_username="ada.b"))
    renamed = sign_in(finish(preferred_username="ada"))
    assert renamed.session.person_id == first.session.person_id
    assert renamed.session.name == "ada.b"


def test_nobody_signs_in_to_such_an_account_with_a_password(identity, finish, sign_in):
    issued = sign_in(finish())
    for password in ("", "nobody has this password", "x" * 20):
        with pytest.raises(SignInRefused):
            identity.sign_in.check(issued.session.name, password, "000000")


def test_an_answer_signs_in_once(finish, sign_in):
    verified = finish()
    sign_in(verified)
    with pytest.raises(SignInRefused):
        sign_in(verified)


def test_a_change_of_groups_is_a_change_of_roles(identity, finish, sign_in):
    first = sign_in(finish(groups=["eng", "sec"]))
    assert first.session.roles == ("auditor", "security")
    again = sign_in(finish(groups=["sec"]))
    assert again.session.roles == ("security",)
    assert identity.people.person(first.session.person_id).version == 2


def test_the_directorys_people_make_themselves_no_other_way_in(identity, records, finish, sign_in):
    person_id = sign_in(finish()).session.person_id
    with pytest.raises(Conflict, match="provider"):
        identity.people.hash_password(person_id, "a way around the directory")
    with pytest.raises(Conflict), records.write() as conn:
        identity.people.new_recovery_codes(conn, person_id)
    passkey = ProvenPasskey(person_id, "pky_1", 0, "tok_passkey", 2_000_000_000)
    with records.write() as conn:
        row = {"id": "pky_1", "person_id": person_id, "label": "x", "credential_id": b"1", "credential": b"1"}
        conn.execute(table.passkeys.insert().values(**row, sign_count=0, backed_up=0, created_at="2026"))
    with pytest.raises(SignInRefused, match="steps up"), records.write() as conn:
        identity.sessions.open(conn, VerifiedSignIn(passkey))
    with records.write() as conn:
        issued = sign_in_session = identity.sessions.list(person_id)[0]
        assert identity.sessions.step_up(conn, sign_in_session, passkey).session.id == issued.id


def test_who_loses_every_group_loses_what_they_hold_at_once(identity, records, sso, finish, sign_in):
    issued = sign_in(finish())
    with pytest.raises(NoRoleLeft) as left:
        finish(groups=["finance"])
    with records.write() as conn:
        assert sso.withdraw(conn, left.value.subject) == issued.session.person_id
        assert sso.withdraw(conn, "somebody unknown") is None
    assert identity.people.person(issued.session.person_id).roles == ("member",)
    with pytest.raises(CredentialRefused):
        identity.sessions.authenticate(issued.secret)


def test_time_tells_nobody_who_signs_in_elsewhere(identity):
    """An account without a password costs the work of one with."""
    hashes = []
    passwords = identity.sign_in._passwords
    passwords._hasher = type("H", (), {"verify": lambda self, hashed, text: hashes.append(hashed)})()
    assert not passwords.matches("", "anything at all")
    assert hashes == [passwords._nobody]


# An ID token of another client's, in exchange.


@pytest.fixture
def exchanging(provider, records, keyring, clock):
    config = dataclasses.replace(CONFIG, applications={"handbook-web": "app_handbook", "other-web": "app_other"})
    tokens = Tokens(keyring, clock, "test.example/ledger")
    sso = SingleSignOn(config, provider, records, keyring, tokens, clock, "https://vallum.example/console/sso/callback")

    def _check(application="app_handbook", key=KEYS["RS256"], **changes):
        now = int(clock.now().timestamp())
        said = {"iss": ISSUER, "aud": "handbook-web", "sub": "u-1", "iat": now, "exp": now + 300, **changes}
        claims = {name: value for name, value in said.items() if value is not None}
        token = jwt.encode({"alg": "RS256", "kid": key.thumbprint()}, claims, key, algorithms=["RS256"])
        return sso.check_subject(token, application)

    return _check


def test_an_application_exchanges_its_own_clients_id_tokens(exchanging, finish, sign_in, clock):
    until = int(clock.now().timestamp()) + 300
    assert exchanging() == (None, until)  # vouched for, and nobody here yet
    person_id = sign_in(finish()).session.person_id
    assert exchanging() == (person_id, until)
    assert exchanging("app_other", aud="other-web") == (person_id, until)
    assert exchanging(aud=["handbook-web", "api"], azp="handbook-web") == (person_id, until)


@pytest.mark.parametrize(
    "changes",
    [
        {"application": "app_other"}, {"application": "app_unmapped"}, {"application": ""}, {"aud": "vallum"},
        {"aud": "stranger"}, {"aud": None}, {"azp": "other-web"}, {"aud": ["handbook-web", "other-web"]},
        {"aud": ["handbook-web", "vallum"], "azp": "vallum"}, {"iss": "https://evil.example"}, {"exp": 1},
        {"exp": None}, {"sub": None}, {"key": RSAKey.generate_key(2048)},
    ],
)  # fmt: skip
def test_an_id_token_for_somebody_else_is_not_exchanged(exchanging, changes):
    with pytest.raises(SubjectTokenRefused):
        exchanging(**changes)
