"""What goes wrong with keys, by what the caller should do about it."""

from vallum.kernel.errors import Denied, IntegrityError, Invalid, NotFound

__all__ = ["KeyDestroyed", "RootKeyRefused", "SealBroken", "SecretRefused"]


class SealBroken(IntegrityError):
    """The sealed bytes, or the place they were found in, are not what was sealed: stop and look.

    One error for every cause, because a finer one would tell an attacker how far a forgery got.
    """

    code = "seal_broken"


class KeyDestroyed(NotFound):
    """The key was destroyed on purpose, so what it sealed is gone for good."""

    code = "key_destroyed"


class OtherEnvironment(Invalid):
    """The database's keys were made in another environment: nothing of one works in another."""

    code = "other_environment"


class RootKeyRefused(Invalid):
    """The root key cannot be used as it lies there: absent, readable by others, or not opened by this passphrase."""

    code = "root_key_refused"


class SecretRefused(Denied):
    """The secret is bound to others, or to nobody: put it again, naming who may have it."""

    code = "secret_refused"
