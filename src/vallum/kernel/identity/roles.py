"""Which roles there are to hold; what each may do is for policy to say."""

from collections.abc import Iterable

from vallum.kernel.errors import Invalid
from vallum.kernel.policy.rehearse import ROLES

__all__ = ["check_roles"]


def check_roles(roles: Iterable[str]) -> str:
    """The roles as they are stored: sorted, parted by spaces. Raises Invalid for none, or one that is not there."""
    chosen = sorted(set(roles))
    unknown = [role for role in chosen if role not in ROLES]
    if unknown or not chosen:
        raise Invalid(f"roles are one or more of {', '.join(ROLES)}")
    return " ".join(chosen)
