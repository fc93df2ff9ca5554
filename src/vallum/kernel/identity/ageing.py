"""Credentials that are in use for too long, or no more: what somebody should replace or revoke.

An API key without an expiry ages from when it was issued, one that ends by itself from when it was last used; a
service's secret from when it was made. Only what is due is listed, since an installation has many that are not.
"""

from sqlalchemy import Connection, or_, select

from vallum.kernel.clock import Clock
from vallum.kernel.identity.records import api_keys, services
from vallum.kernel.keys import Rotation, rotation_of

__all__ = ["ageing_credentials"]


def ageing_credentials(conn: Connection, clock: Clock, max_age_days: int) -> list[Rotation]:
    """API keys, then client secrets, oldest first; 0 days is any age."""
    now = clock.now()
    live_keys = (
        select(api_keys)
        .where(
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at_seconds.is_(None), api_keys.c.expires_at_seconds > int(now.timestamp())),
        )
        .order_by(api_keys.c.created_at)
    )
    with_secrets = (
        select(services.c.id, services.c.created_at)
        .where(services.c.disabled_at.is_(None), services.c.secret_hash.is_not(None))
        .order_by(services.c.created_at)
    )
    found = []
    for key in conn.execute(live_keys):
        lasts = key.expires_at_seconds is None
        since = key.created_at if lasts else key.last_used_at or key.created_at
        found.append(rotation_of("api_key", key.id, since, max_age_days, now))
    found += [
        rotation_of("client_secret", service.id, service.created_at, max_age_days, now)
        for service in conn.execute(with_secrets)
    ]
    return [one for one in found if one.state != "current"]
