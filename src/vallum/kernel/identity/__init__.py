"""Identity: who is asking, proven. People by password and one-time code, applications by key, services by token.

Owns credentials and what they prove; leaves what a subject may do to policy, and writing it down to the caller's
transaction. Makes every `Subject` but the system's own.
"""

from dataclasses import dataclass

from vallum.kernel.clock import Clock
from vallum.kernel.errors import NotFound
from vallum.kernel.identity.api_keys import ApiKeys
from vallum.kernel.identity.certificates import IssuedCertificate, WorkloadAuthority
from vallum.kernel.identity.delegations import Delegated, Delegation, Delegations, IssuedDelegation
from vallum.kernel.identity.factors import Proof
from vallum.kernel.identity.grants import Grant, GrantEnded, Grants
from vallum.kernel.identity.hand_over import HandOver, HandOverCode
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
    RecoveryCodes,
    Service,
    Session,
    SignInRefused,
)
from vallum.kernel.identity.oidc import (
    NoRoleLeft,
    OidcConfig,
    OidcProvider,
    SingleSignOn,
    SsoBegin,
    SsoRefused,
    VerifiedSso,
)
from vallum.kernel.identity.passkeys import Passkey, PasskeyChallenge, Passkeys, VerifiedPasskey
from vallum.kernel.identity.passwords import Passwords
from vallum.kernel.identity.people import EPOCH, People
from vallum.kernel.identity.proofs import DpopProof, SignedAssertion
from vallum.kernel.identity.secrets import API_KEY_PREFIX, SESSION_PREFIX
from vallum.kernel.identity.services import Services
from vallum.kernel.identity.sessions import IDLE_SECONDS, SESSION_SECONDS, Sessions
from vallum.kernel.identity.sign_in import SignIn, VerifiedSignIn
from vallum.kernel.identity.throttle import Peer, network_of
from vallum.kernel.identity.tokens import Tokens
from vallum.kernel.keys import Keyring
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.policy.rehearse import ROLES
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef

__all__ = [
    "API_KEY_PREFIX",
    "EPOCH",
    "ROLES",
    "SESSION_PREFIX",
    "AccessToken",
    "ApiKey",
    "ApiKeys",
    "CredentialRefused",
    "Delegated",
    "Delegation",
    "Delegations",
    "DpopProof",
    "Enrolment",
    "EnrolmentRefused",
    "Grant",
    "GrantEnded",
    "Grants",
    "HandOver",
    "HandOverCode",
    "Identity",
    "IssuedCertificate",
    "IssuedDelegation",
    "IssuedKey",
    "IssuedService",
    "IssuedSession",
    "NameTaken",
    "NoRoleLeft",
    "OidcConfig",
    "OidcProvider",
    "Passkey",
    "PasskeyChallenge",
    "Passkeys",
    "Passwords",
    "Peer",
    "People",
    "Person",
    "Proof",
    "RecoveryCodes",
    "Service",
    "Services",
    "Session",
    "Sessions",
    "SignIn",
    "SignInRefused",
    "SignedAssertion",
    "SingleSignOn",
    "SsoBegin",
    "SsoRefused",
    "Tokens",
    "VerifiedPasskey",
    "VerifiedSignIn",
    "VerifiedSso",
    "WorkloadAuthority",
    "network_of",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """The three kinds of subject, side by side, and what people are given for a while."""

    people: People
    sign_in: SignIn
    sessions: Sessions
    passkeys: Passkeys
    api_keys: ApiKeys
    services: Services
    grants: Grants
    delegations: Delegations
    hand_over: HandOver
    single_sign_on: SingleSignOn | None = None

    @classmethod
    def open(
        cls,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        issuer: str,
        passwords: Passwords | None = None,
        *,
        url: str = "",
        trust_domain: str = "vallum.local",
        session_seconds: int = SESSION_SECONDS,
        idle_seconds: int = IDLE_SECONDS,
        sso: tuple[OidcConfig, OidcProvider] | None = None,
    ) -> "Identity":
        """`issuer` names this installation in its tokens, `trust_domain` its services in their certificates; passkeys
        and single sign-on are bound to `url`.
        """
        tokens = Tokens(keyring, clock, issuer)
        hashing = passwords or Passwords()
        return cls(
            People(records, keyring, clock, hashing),
            SignIn(records, keyring, clock, hashing),
            Sessions(records, clock, session_seconds, idle_seconds),
            Passkeys(records, tokens, clock, url),
            ApiKeys(records, clock),
            Services(records, tokens, clock, WorkloadAuthority(keyring, clock, trust_domain)),
            Grants(records, clock),
            Delegations(records, tokens, clock),
            HandOver(tokens),
            SingleSignOn(*sso, records, keyring, tokens, clock, f"{url}/console/sso/callback")
            if sso is not None
            else None,
        )

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """What policy knows of a person, service, key or grant; None for one that does not exist."""
        try:
            match ref.kind:
                case "Person":
                    person = self.people.person(ref.id)
                    return AssetFacts(
                        {"tenant": person.tenant, "holder": person.holder, "inviter": person.inviter}, person.version
                    )
                case "Grant":
                    return self.grants.facts(ref.id)
                case "Service":
                    service = self.services.service(ref.id)
                    return AssetFacts({"tenant": service.tenant}, service.version)
                case "ApiKey":
                    key = self.api_keys.key(ref.id)
                    return AssetFacts({"tenant": key.tenant, "application": key.application_id})
        except NotFound:
            pass
        return None

    def refresh(self) -> None:
        """Forget what is held in memory; subscribe to the epoch `identity`."""
        self.api_keys.refresh()
        self.services.refresh()
        self.delegations.refresh()
