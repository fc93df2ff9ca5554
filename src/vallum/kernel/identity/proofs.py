"""Proofs that others sign: a service's assertion of itself (RFC 7523, `private_key_jwt`) and DPoP proofs (RFC 9449).

Answers algorithm confusion (asymmetric algorithms alone, each bound to its type of key), keys smuggled in or pointed
to by a header (`jwk`, `jku`, `x5u`, `x5c` and `crit` are refused where they are not the point), audience mix-up, and
replay: each proof has an id that its caller uses up, and a life of minutes, which is how long that is remembered.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from vallum.kernel.errors import Invalid
from vallum.kernel.identity.roca import has_roca

__all__ = [
    "DpopProof",
    "ProofRefused",
    "SignedAssertion",
    "check_assertion",
    "check_dpop",
    "check_signature",
    "parse_jwks",
    "subject_of",
]

ASSERTION_SECONDS = 300  # the longest life accepted; the id is remembered that long
DPOP_SECONDS = 60
_SKEW_SECONDS = 30  # between two machines that keep their clocks
_MAX_PROOF_CHARS = 8192
_MAX_KEYS = 10
_MAX_ID_CHARS = 256
_MIN_RSA_BITS = 2048
_SMUGGLED = ("jku", "x5u", "x5c", "crit", "b64", "zip")
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA", "Ed25519")}
_RSA = ("PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
_MEMBERS = ("kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg")
_KEY_TYPES: Mapping[str, type[Key]] = {"OKP": OKPKey, "EC": ECKey, "RSA": RSAKey}


class ProofRefused(Exception):
    """What was presented proves nothing here; why is nobody's business but the log's."""


class _Registry(JWSRegistry):
    max_header_length = 4096  # a DPoP proof carries its key: an RSA key of 4096 bits takes 700 characters


@dataclass(frozen=True, slots=True)
class SignedAssertion:
    """Use `id` up before believing it; it has to be remembered until `expires_at_seconds`."""

    id: str
    expires_at_seconds: int


@dataclass(frozen=True, slots=True)
class DpopProof:
    """`thumbprint` is the key's (RFC 7638), which a token is bound to as `cnf.jkt`."""

    thumbprint: str
    id: str
    expires_at_seconds: int


def parse_jwks(document: object) -> tuple[dict[str, Any], ...]:
    """The public keys of a JWK set (RFC 7517). Raises Invalid, naming what is wrong with it."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= _MAX_KEYS:
        raise Invalid(f'jwks: write {{"keys": […]}} with 1 to {_MAX_KEYS} public keys')
    found = []
    for number, jwk in enumerate(keys, 1):
        if not isinstance(jwk, dict) or not _is_public(jwk):
            raise Invalid(f"jwks: key {number} is not a public key of type OKP, EC or RSA")
        try:
            key = _import(jwk)
        except ProofRefused:
            raise Invalid(
                f"jwks: key {number} cannot be used to verify; RSA keys have at least {_MIN_RSA_BITS} bits, "
                "and `use`, `key_ops` and `alg`, where they are given, fit the key"
            ) from None
        kept = {**key.as_dict(private=False)}
        kept["kid"] = str(jwk["kid"])[:_MAX_ID_CHARS] if jwk.get("kid") else key.thumbprint()
        found.append(kept)
    if len({key["kid"] for key in found}) != len(found):
        raise Invalid("jwks: two keys have one kid")
    return tuple(found)


def subject_of(assertion: str) -> str:
    """Whom an assertion claims to be of, before anything is verified; empty for what claims nothing."""
    try:
        _header(assertion)
        body = assertion.split(".")[1]
        claims = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ProofRefused, ValueError, binascii.Error, RecursionError):
        return ""
    claimed = claims.get("sub") if isinstance(claims, dict) else None
    known = isinstance(claimed, str) and len(claimed) <= _MAX_ID_CHARS and claimed.isascii() and claimed.isprintable()
    return str(claimed) if known else ""


def check_assertion(
    assertion: str, client_id: str, jwks: Sequence[Mapping[str, Any]], audiences: Iterable[str], now: float
) -> SignedAssertion:
    """`client_id` asserting itself to one of `audiences`, by one of its registered keys. Raises ProofRefused."""
    header = _header(assertion)
    if "jwk" in header:
        raise ProofRefused
    named = [jwk for jwk in jwks if header.get("kid") in (None, jwk["kid"])]
    claims = _claims_by(assertion, [key for jwk in named if header.get("alg") in _algorithms(key := _import(jwk))])
    audience = claims.get("aud")
    heard = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    if claims.get("iss") != client_id or claims.get("sub") != client_id or not set(audiences) & set(map(str, heard)):
        raise ProofRefused
    expires, issued = _time(claims.get("exp")), _time(claims.get("iat", now))
    if issued > now + _SKEW_SECONDS or _time(claims.get("nbf", now)) > now + _SKEW_SECONDS:
        raise ProofRefused
    if not now - _SKEW_SECONDS < expires <= now + ASSERTION_SECONDS + _SKEW_SECONDS:
        raise ProofRefused
    return SignedAssertion(_id_of("assertion", client_id, claims.get("jti")), int(expires) + _SKEW_SECONDS)


def check_signature(token: str, jwks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The claims of a JWT that one of these keys signed; nothing of what they say is checked. Raises ProofRefused."""
    header = _header(token)
    if "jwk" in header:
        raise ProofRefused
    usable = []
    for jwk in jwks:
        named, own = header.get("kid"), jwk.get("kid")
        if named is not None and own is not None and named != own:
            continue
        try:
            key = _import(jwk)
        except ProofRefused:
            continue  # a provider may publish keys of kinds that nobody here knows
        if header["alg"] in _algorithms(key):
            usable.append(key)
    return _claims_by(token, usable)


def check_dpop(proof: str, method: str, urls: Iterable[str], now: float, token: str | None = None) -> DpopProof:
    """A proof for this request, made with the key it carries; with `token`, for that token. Raises ProofRefused."""
    header = _header(proof)
    jwk = header.get("jwk")
    if header.get("typ") != "dpop+jwt" or not isinstance(jwk, dict) or not _is_public(jwk):
        raise ProofRefused
    key = _import(jwk)
    if header.get("alg") not in _algorithms(key):
        raise ProofRefused
    claims = _claims_by(proof, [key])
    if claims.get("htm") != method or _target(claims.get("htu")) not in {_target(url) for url in urls}:
        raise ProofRefused
    issued = _time(claims.get("iat"))
    if not now - DPOP_SECONDS <= issued <= now + _SKEW_SECONDS:
        raise ProofRefused
    if token is not None and claims.get("ath") != _base64url(sha256(token.encode()).digest()):
        raise ProofRefused
    thumbprint = key.thumbprint()
    return DpopProof(
        thumbprint, _id_of("dpop", thumbprint, claims.get("jti")), int(issued) + DPOP_SECONDS + _SKEW_SECONDS
    )


def _header(token: str) -> dict[str, Any]:
    """Read before anything is verified, to refuse what should never get that far."""
    if len(token) > _MAX_PROOF_CHARS or token.count(".") != 2 or not token.isascii():
        raise ProofRefused
    encoded = token.partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, binascii.Error, RecursionError) as e:
        raise ProofRefused from e
    if not isinstance(header, dict) or any(name in header for name in _SMUGGLED):
        raise ProofRefused
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid"), str | None):
        raise ProofRefused
    return header


def _claims_by(token: str, keys: Sequence[Key]) -> dict[str, Any]:
    for key in keys:
        try:
            return dict(jwt.decode(token, key, registry=_Registry(algorithms=list(_algorithms(key)))).claims)
        except (JoseError, ValueError, TypeError, RecursionError):
            continue
    raise ProofRefused


def _import(jwk: Mapping[str, Any]) -> Key:
    kind = _KEY_TYPES.get(str(jwk.get("kty")))
    if kind is None:
        raise ProofRefused
    if kind is RSAKey and len(str(jwk.get("n"))) * 6 < _MIN_RSA_BITS:
        raise ProofRefused  # joserfc only warns
    members = {name: jwk[name] for name in _MEMBERS if name in jwk}
    if members.get("crv") == "Ed25519" and members.get("alg") in _CURVES["Ed25519"]:
        del members["alg"]  # two names of one algorithm (RFC 9864): the key takes either
    try:
        key = kind.import_key(members)
        key.check_use("sig")  # RFC 7517, sections 4.2 and 4.3: what a key is not meant for, it does not prove
        key.check_key_op("verify")
        if not _algorithms(key) or (isinstance(key, RSAKey) and has_roca(key.public_key.public_numbers().n)):
            raise ProofRefused
    except (JoseError, ValueError, TypeError, KeyError) as e:
        raise ProofRefused from e
    return key


def _algorithms(key: Key) -> tuple[str, ...]:
    """Those that fit this key, or the one it names itself: an algorithm is never a sender's choice alone."""
    known = key.as_dict(private=False)
    fitting = _RSA if isinstance(key, RSAKey) else _CURVES.get(str(known.get("crv")), ())
    return fitting if known.get("alg") is None else tuple(name for name in fitting if name == known["alg"])


def _is_public(jwk: Mapping[str, Any]) -> bool:
    return str(jwk.get("kty")) in _KEY_TYPES and not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & jwk.keys()


def _time(value: object) -> float:
    """Unix time. Raises ProofRefused for what is none, infinity and NaN included."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 40:
        return float(value)
    raise ProofRefused


def _id_of(kind: str, owner: str, jti: object) -> str:
    """Ids are their owner's to choose, so that one's cannot use another's up."""
    if not isinstance(jti, str) or not 1 <= len(jti) <= _MAX_ID_CHARS:
        raise ProofRefused
    return f"{kind}:" + sha256(f"{owner}\0{jti}".encode("utf-8", "surrogatepass")).hexdigest()


def _target(url: object) -> tuple[str, str, str]:
    """RFC 9449, section 4.3: without query and fragment, and normalised where that cannot change its meaning."""
    if not isinstance(url, str):
        raise ProofRefused
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower())
    except ValueError as e:
        raise ProofRefused from e
    return parts.scheme.lower(), f"{(parts.hostname or '').lower()}:{port}", parts.path or "/"


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
