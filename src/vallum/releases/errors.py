"""What goes wrong with releases, by what its caller does next."""

from vallum.kernel.errors import Conflict, IntegrityError, Invalid

__all__ = ["ManifestRefused", "NothingToRollBackTo", "PromotionRefused", "ReleaseBroken", "ReleaseRevoked"]


class ManifestRefused(Invalid):
    """What a release was declared from does not fit; the message names every problem."""

    code = "manifest_refused"


class PromotionRefused(Conflict):
    """A check that the environment demands does not pass; the message says which, and what satisfies it."""

    code = "promotion_refused"


class ReleaseRevoked(Conflict):
    """The release, or a model version in it, was revoked, and does not come back: build another."""

    code = "release_revoked"


class NothingToRollBackTo(Conflict):
    """No earlier release of that product is good."""

    code = "nothing_to_roll_back_to"


class ReleaseBroken(IntegrityError):
    """A manifest, its signature or a deployment is not what was signed."""

    code = "release_broken"
