from vallum.gateway.providers.breaker import Breaker


def test_it_opens_after_so_many_failures_and_tries_one_then():
    now = [0.0]
    breaker = Breaker(3, 10.0, lambda: now[0])
    for _ in range(2):
        breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    now[0] = 10.0
    assert breaker.allows()  # one tries
    assert not breaker.allows()  # the others wait for it
    breaker.failed()
    assert not breaker.allows()
    now[0] = 20.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.allows()


def test_a_success_forgets_earlier_failures():
    breaker = Breaker(2, 10.0, lambda: 0.0)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows()
