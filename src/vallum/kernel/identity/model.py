"""The words of identity: persons, sessions, API keys, services and tokens, as everybody else may see them.

None holds a secret but the ones named `Issued…`, which exist once, when the secret is handed over.
"""

import msgspec

from vallum.kernel.errors import Conflict, Invalid, NotFound, Unauthenticated

__all__ = [
    "AccessToken",
    "ApiKey",
    "CredentialRefused",
    "Enrolment",
    "EnrolmentRefused",
    "IssuedKey",
    "IssuedService",
    "IssuedSession",
    "NameTaken",
    "Person",
    "RecoveryCodes",
    "Service",
    "Session",
    "SignInRefused",
]


class SignInRefused(Unauthenticated):
    """Name, password or code is wrong; which one is never said."""

    code = "sign_in_refused"


class CredentialRefused(Unauthenticated):
    """The key, session or token is unknown, expired, revoked or malformed; which one is never said."""

    code = "credential_refused"


class EnrolmentRefused(NotFound):
    """The enrolment link is unknown, used or expired: ask for another."""

    code = "enrolment_refused"


class NameTaken(Conflict):
    code = "name_taken"


class Person(msgspec.Struct, frozen=True):
    """Somebody who signs in. `version` moves whenever roles or state change; `holder` is the same in every account
    of one human being, `inviter` that of who let them in."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    version: int
    created_at: str
    disabled_at: str | None
    holder: str
    inviter: str


class Enrolment(msgspec.Struct, frozen=True):
    """What an invited person needs to set up the second factor. Shown to the holder of the link alone."""

    totp_uri: str
    totp_secret: str
    roles: tuple[str, ...]
    expires_at_seconds: int


class Session(msgspec.Struct, frozen=True):
    """A signed-in person. `mfa_at_seconds` is when the second factor was last proven, Unix time.

    `device` is what the client said of itself, `network` a prefix of its address, `method` the second factor.
    """

    id: str
    person_id: str
    name: str
    roles: tuple[str, ...]
    created_at: str
    expires_at_seconds: int
    mfa_at_seconds: int
    last_seen_seconds: int
    device: str
    network: str
    method: str


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Each signs in once in place of a one-time code. Shown this once, and in place of all there were."""

    codes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"RecoveryCodes({len(self.codes)})"


class IssuedSession(msgspec.Struct, frozen=True):
    session: Session
    secret: str

    def __repr__(self) -> str:
        return f"IssuedSession({self.session.id})"


class ApiKey(msgspec.Struct, frozen=True):
    """An application's key, without its secret. `last4` tells keys apart; `last_used_at` is to the minute.

    `models` are those that it is for; None: all that the application has.
    """

    id: str
    application_id: str
    tenant: str
    label: str
    last4: str
    created_at: str
    expires_at_seconds: int | None
    revoked_at: str | None
    last_used_at: str | None
    models: tuple[str, ...] | None


class IssuedKey(msgspec.Struct, frozen=True):
    """`secret` is shown once; only its hash is kept."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.key.id})"


class Service(msgspec.Struct, frozen=True):
    """A program with roles of its own, by OAuth 2.0 client credentials; `id` is its client_id.

    `method` is how it proves itself: `client_secret`, `private_key_jwt` with the keys named in `key_ids`, or
    `tls_client_auth` with certificates for `spiffe_id`.
    """

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    version: int
    created_at: str
    disabled_at: str | None
    method: str
    key_ids: tuple[str, ...]
    spiffe_id: str | None


class IssuedService(msgspec.Struct, frozen=True):
    """`client_secret` is shown once; None for a service that has a key of its own."""

    service: Service
    client_secret: str | None

    def __repr__(self) -> str:
        return f"IssuedService({self.service.id})"


class AccessToken(msgspec.Struct, frozen=True):
    """The answer of RFC 6749, section 5.1, and of RFC 8693."""

    access_token: str
    expires_in: int  # seconds
    token_type: str = "Bearer"  # noqa: S105  the type's name
    issued_token_type: str | msgspec.UnsetType = msgspec.UNSET  # of an exchange (RFC 8693, section 2.2.1)

    def __repr__(self) -> str:
        return "AccessToken(…)"


_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._@-")


def parse_name(text: str) -> str:
    """A sign-in name, lower-cased: 1 to 64 of a-z, 0-9 and `._@-`. Raises Invalid."""
    name = text.strip().lower()
    if not 1 <= len(name) <= 64 or not set(name) <= _NAME_CHARS or not name[0].isalnum():
        raise Invalid("a name is 1 to 64 of a-z, 0-9 and ._@-, and starts with a letter or digit")
    return name
