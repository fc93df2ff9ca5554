from threading import Event

import pytest

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.renewal import renewed


def test_a_claim_is_renewed_while_the_block_runs_and_not_after(records):
    calls, often = [], Event()

    def renew(conn):
        calls.append(conn)
        if len(calls) == 1:
            raise Unavailable("away for a moment")
        if len(calls) == 3:
            often.set()

    with pytest.raises(KeyError), renewed(records, renew, 0.01):
        assert often.wait(20)
        raise KeyError
    count = len(calls)
    assert not Event().wait(0.1)
    assert len(calls) == count
