"""Identity: who is asking, proven. People by password and one-time code, applications by key, services by token.

Owns credentials and what they prove; leaves what a subject may do to policy, and writing it down to the caller's
transaction. Makes every `Subject` but the system's own.
"""

from dataclasses import dataclass

from vallum.kernel.clock import Clock
from vallum.kernel.errors import NotFound
from vallum.kernel.identity.api_keys import ApiKeys
from vallum.kernel.identity.grants import Grant, GrantEnded, Grants
from vallum.kernel.identity.model import (
    AccessToken,
    ApiKey,
    CredentialRefused,
    Enrolment,
    EnrolmentRefused,
    IssuedKey,
    IssuedService,
    IssuedSession,
    NameTaken,
    Person,
    Service,
    Session,
    SignInRefused,
)
from vallum.kernel.identity.passwords import Passwords
from vallum.kernel.identity.people import EPOCH, People, VerifiedCode, VerifiedSignIn
from vallum.kernel.identity.secrets import API_KEY_PREFIX, SESSION_PREFIX
from vallum.kernel.identity.services import Services
from vallum.kernel.keys import Keyring
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef

__all__ = [
    "API_KEY_PREFIX",
    "EPOCH",
    "SESSION_PREFIX",
    "AccessToken",
    "ApiKey",
    "ApiKeys",
    "CredentialRefused",
    "Enrolment",
    "EnrolmentRefused",
    "Grant",
    "GrantEnded",
    "Grants",
    "Identity",
    "IssuedKey",
    "IssuedService",
    "IssuedSession",
    "NameTaken",
    "Passwords",
    "People",
    "Person",
    "Service",
    "Services",
    "Session",
    "SignInRefused",
    "VerifiedCode",
    "VerifiedSignIn",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """The three kinds of subject, side by side, and what people are given for a while."""

    people: People
    api_keys: ApiKeys
    services: Services
    grants: Grants

    @classmethod
    def open(
        cls, records: Records, keyring: Keyring, clock: Clock, issuer: str, passwords: Passwords | None = None
    ) -> "Identity":
        return cls(
            People(records, keyring, clock, passwords or Passwords()),
            ApiKeys(records, clock),
            Services(records, keyring, clock, issuer),
            Grants(records, clock),
        )

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """What policy knows of a person, service, key or grant; None for one that does not exist."""
        try:
            match ref.kind:
                case "Person":
                    person = self.people.person(ref.id)
                    return AssetFacts({"tenant": person.tenant, "holder": person.holder}, person.version)
                case "Grant":
                    return self.grants.facts(ref.id)
                case "Service":
                    service = self.services.service(ref.id)
                    return AssetFacts({"tenant": service.tenant}, service.version)
                case "ApiKey":
                    return AssetFacts({"tenant": self.api_keys.key(ref.id).tenant})
        except NotFound:
            pass
        return None

    def refresh(self) -> None:
        """Forget what is held in memory; subscribe to the epoch `identity`."""
        self.api_keys.refresh()
