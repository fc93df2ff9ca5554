"""A service with a key of its own: assertions, tokens bound to a key, and what a thief gets of either."""

import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from vallum.kernel.errors import Invalid

KEY, BOUND = OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256")
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Caller:
    """As any HTTP client: no part of Vallum's own."""

    def __init__(self, server):
        self.url = server.url + "/api/v1"
        self._tls = ssl.create_default_context(cafile=server.ca_file)

    def __call__(self, method, path, form=None, headers=None):
        data = urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as e:
            with e:
                return e.code, json.loads(e.read())

    def assertion(self, client_id, key=KEY, **changes):
        now = int(time.time())
        said = {"iss": client_id, "sub": client_id, "aud": self.url + "/tokens", "jti": uuid.uuid4().hex,
                "iat": now, "exp": now + 60, **changes}  # fmt: skip
        return jwt.encode({"alg": "Ed25519"}, said, key, algorithms=["Ed25519"])

    def proof(self, method, path, token=None, key=BOUND, **changes):
        said = {"htm": method, "htu": self.url + path, "iat": int(time.time()), "jti": uuid.uuid4().hex, **changes}
        if token is not None:
            said["ath"] = urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
        return jwt.encode(head, said, key, algorithms=["ES256"])

    def token(self, assertion, headers=None, **more):
        form = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": assertion}
        return self("POST", "/tokens", form | more, headers)


@pytest.fixture(scope="module")
def service(server, tmp_path_factory):
    file = tmp_path_factory.mktemp("jwks") / "jwks.json"
    file.write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    made = server.vallum("services", "create", "signer", "--role", "auditor", "--jwks-file", file, "--json")
    issued = json.loads(made.stdout)
    assert issued["client_secret"] is None
    assert issued["service"]["method"] == "private_key_jwt"
    return issued["service"]["id"]


@pytest.fixture
def call(server):
    return Caller(server)


def test_an_assertion_gives_a_token_and_works_once(call, service):
    assertion = call.assertion(service)
    status, token = call.token(assertion)
    assert (status, token["token_type"]) == (200, "Bearer")
    assert call("GET", "/status", headers={"authorization": f"Bearer {token['access_token']}"})[0] == 200
    status, refused = call.token(assertion)
    assert (status, refused["error"]) == (401, "invalid_client")
    assert "used before" in refused["error_description"]


def test_what_proves_nothing_is_refused_in_oauths_words(call, service):
    stranger = OKPKey.generate_key("Ed25519")
    refusals = set()
    for assertion in (
        call.assertion(service, stranger),
        call.assertion("svc_01NOBODY"),
        call.assertion(service, aud="https://evil.example/api/v1/tokens"),
        call.assertion(service, exp=int(time.time()) + 86_400),
        call.assertion(service, iss="svc_01OTHER"),
        "not.a.jwt",
    ):
        status, refused = call.token(assertion)
        assert (status, refused["error"], refused["code"]) == (401, "invalid_client", "sign_in_refused")
        refusals.add(refused["error_description"])
    assert len(refusals) == 1  # and which it was is nobody's business
    assert call.token(call.assertion(service), client_id="svc_01OTHER")[0] == 401
    assert call.token(call.assertion(service), grant_type="password")[1]["error"] == "unsupported_grant_type"
    assert call("POST", "/tokens", {"grant_type": "client_credentials"})[1]["error"] == "invalid_client"
    secret = {"grant_type": "client_credentials", "client_id": service, "client_secret": "vlc_" + "0" * 42}
    assert call("POST", "/tokens", secret)[1]["error"] == "invalid_client"


def test_noise_is_refused_and_never_an_error(call, service):
    encode = lambda value: urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    odd = f"{encode({'alg': 'ES256', 'typ': 'dpop+jwt', 'jwk': {'kty': []}})}.{encode({})}.AAAA"
    assert call.token(call.assertion(service), {"dpop": odd})[0] == 401
    assert call("GET", "/status", headers={"authorization": "DPoP x", "dpop": odd})[0] == 401
    for sub in ("a\ud800b", "a\0b"):
        assert call.token(f"{encode({'alg': 'Ed25519'})}.{encode({'sub': sub})}.AAAA")[0] == 401
    assert call.token("x", client_id="a\0b")[0] == 400
    basic = {"authorization": "Basic " + b64encode(b"a\0b:c").decode()}
    assert call("POST", "/tokens", {"grant_type": "client_credentials"}, basic)[0] == 400


def test_a_proof_made_for_another_server_does_nothing_here(call, service, server):
    """That server sends what it got on to this one, under its own name."""
    elsewhere = f"https://evil.example:{server.port}/api/v1/tokens"
    host = {"host": f"evil.example:{server.port}"}
    assert call.token(call.assertion(service, aud=elsewhere), headers=host)[0] == 401
    proof = call.proof("POST", "/tokens", htu=elsewhere)
    assert call.token(call.assertion(service), headers={**host, "dpop": proof})[0] == 401


def test_a_bound_token_is_worth_nothing_to_a_thief(call, service):
    status, token = call.token(call.assertion(service), {"dpop": call.proof("POST", "/tokens")})
    assert (status, token["token_type"]) == (200, "DPoP")
    bound = token["access_token"]
    proof = call.proof("GET", "/status", bound)
    own = {"authorization": f"DPoP {bound}", "dpop": proof}
    assert call("GET", "/status", headers=own)[0] == 200
    thief = ECKey.generate_key("P-256")
    for stolen in (
        {"authorization": f"Bearer {bound}"},
        {"authorization": f"DPoP {bound}"},
        own,  # replayed as it was
        {"authorization": f"DPoP {bound}", "dpop": call.proof("GET", "/status", bound, thief)},
        {"authorization": f"DPoP {bound}", "dpop": call.proof("GET", "/entries", bound)},
        {"authorization": f"DPoP {bound}", "dpop": call.proof("POST", "/status", bound)},
        {"authorization": f"DPoP {bound}", "dpop": call.proof("GET", "/status", "another token")},
        {"authorization": f"DPoP {bound}", "dpop": call.proof("GET", "/status", bound, iat=int(time.time()) - 120)},
    ):
        assert call("GET", "/status", headers=stolen)[0] == 401, stolen
    status, plain = call.token(call.assertion(service))
    unbound = {"authorization": f"DPoP {plain['access_token']}",
               "dpop": call.proof("GET", "/status", plain["access_token"])}  # fmt: skip
    assert (status, call("GET", "/status", headers=unbound)[0]) == (200, 401)


def test_a_service_that_signs_has_no_secret_to_steal_and_bad_keys_are_refused(server, tmp_path):
    file = tmp_path / "private.json"
    file.write_text(json.dumps({"keys": [KEY.as_dict(private=True)]}))
    refused = server.vallum("services", "create", "leaky", "--role", "auditor", "--jwks-file", file, check=False)
    assert (refused.returncode, "not a public key" in refused.stderr) == (2, True)
    with pytest.raises(Invalid), server.client() as client:
        server.newcomer("pia", "administrator").sign_in(client)
        client.request("POST", "/services", {"name": "x", "roles": ["auditor"], "jwks": {"keys": []}})


def test_a_disabled_service_is_refused_within_a_second(server, call, tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    made = server.vallum("services", "create", "ends", "--role", "auditor", "--jwks-file", file, "--json")
    service = json.loads(made.stdout)["service"]["id"]
    bearer = {"authorization": f"Bearer {call.token(call.assertion(service))[1]['access_token']}"}
    assert call("GET", "/status", headers=bearer)[0] == 200
    server.vallum("services", "disable", service)
    deadline = time.monotonic() + 1
    while call("GET", "/status", headers=bearer)[0] == 200:
        assert time.monotonic() < deadline
    assert call.token(call.assertion(service))[0] == 401
