from vallum.kernel.identity.ageing import ageing_credentials

DAY = 86_400


def ageing(records, clock, days=100):
    with records.read() as conn:
        return [(one.kind, one.name, one.state) for one in ageing_credentials(conn, clock, days)]


def issue(records, identity, clock, expires_days=None):
    expires = None if expires_days is None else int(clock.now().timestamp()) + expires_days * DAY
    with records.write() as conn:
        return identity.api_keys.issue(conn, "app", label="a", expires_at_seconds=expires)


def test_a_key_without_an_expiry_ages_though_it_is_used(records, identity, clock):
    issued = issue(records, identity, clock)
    clock.pass_(99 * DAY)
    identity.api_keys.authenticate(issued.secret)
    identity.api_keys.flush_uses()
    assert ageing(records, clock) == []
    clock.pass_(DAY)
    assert ageing(records, clock) == [("api_key", issued.key.id, "due")]
    assert ageing(records, clock, 0) == []


def test_a_key_with_an_expiry_ages_while_nobody_uses_it(records, identity, clock):
    issued = issue(records, identity, clock, expires_days=1000)
    clock.pass_(110 * DAY)
    assert ageing(records, clock) == [("api_key", issued.key.id, "overdue")]
    identity.api_keys.authenticate(issued.secret)
    identity.api_keys.flush_uses()
    assert ageing(records, clock) == []


def test_what_ended_is_not_reported(records, identity, clock):
    expired, revoked = issue(records, identity, clock, expires_days=50), issue(records, identity, clock)
    with records.write() as conn:
        identity.api_keys.revoke(conn, revoked.key.id)
        made = identity.services.create(conn, "robot", ["auditor"])
        identity.services.disable(conn, made.service.id)
    clock.pass_(1000 * DAY)
    assert ageing(records, clock) == []
    assert expired.key.expires_at_seconds is not None


def test_a_services_secret_ages(records, identity, clock):
    with records.write() as conn:
        made = identity.services.create(conn, "robot", ["auditor"])
    clock.pass_(108 * DAY)
    assert ageing(records, clock) == [("client_secret", made.service.id, "overdue")]
