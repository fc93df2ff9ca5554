"""Providers' secrets: leased to the provider they are bound to, asked for anew, and tried in both versions."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from vallum.gateway.protocols import OpenAiChat
from vallum.gateway.providers import ProviderPool
from vallum.gateway.providers.failures import UpstreamFailed
from vallum.gateway.providers.port import Call
from vallum.kernel.keys import Lease, SecretRefused


def put(gateway, value, **body):
    return gateway.perform("put_secret", path={"name": "up"}, body={"value": value, **body})


def keys_sent(upstream):
    return [headers.get("authorization", "").removeprefix("Bearer ") for _, headers, _ in upstream.requests]


@pytest.fixture(autouse=True)
def fresh(upstream):
    upstream.requests.clear()
    upstream.unknown_keys.clear()


async def test_a_secret_bound_to_another_provider_is_not_sent(gateway, upstream, caplog):
    put(gateway, "another-value-entirely", consumers=["provider:claude"], overlap_seconds=0)
    refused = await gateway.chat("hello")
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_credentials")
    assert upstream.requests == []
    assert gateway.entry(refused.headers["x-vallum-entry"]).outcome == "upstream_credentials"
    assert "provider:up" in caplog.text
    assert "another-value" not in caplog.text + refused.text


async def test_a_secret_that_was_deleted_is_sent_no_more(gateway, upstream):
    assert (await gateway.chat("hello")).status_code == 200
    gateway.perform("delete_secret", path={"name": "up"})
    upstream.requests.clear()
    assert (await gateway.chat("hello")).json()["error"]["code"] == "upstream_credentials"
    assert upstream.requests == []


async def test_a_fresh_version_is_sent_at_once_and_its_use_is_told(gateway, upstream):
    await gateway.chat("hello")
    assert put(gateway, "fresh").version == 2
    await gateway.chat("hello")
    assert keys_sent(upstream) == ["upstream-credential", "fresh"]
    gateway.platform.vault.flush_uses()
    versions = gateway.perform("list_secret_versions", path={"name": "up"})
    assert [v.last_used_by for v in versions] == ["provider:up", "provider:up"]


@pytest.mark.parametrize("stream", [False, True])
async def test_while_both_are_readable_the_other_is_tried_once(gateway, upstream, caplog, stream):
    put(gateway, "not-known-yet")
    upstream.unknown_keys = {"not-known-yet"}
    assert (await gateway.chat("hello", stream=stream)).status_code == 200
    assert keys_sent(upstream) == ["not-known-yet", "upstream-credential"]
    assert "version 2" in caplog.text
    assert "not-known-yet" not in caplog.text
    await gateway.chat("hello", stream=stream)
    assert keys_sent(upstream)[2:] == ["upstream-credential"]  # kept, until its lease is over
    upstream.unknown_keys = {"upstream-credential", "not-known-yet"}
    assert (await gateway.chat("hello", stream=stream)).status_code == 502
    assert keys_sent(upstream)[3:] == ["upstream-credential"]
    upstream.unknown_keys = {"upstream-credential"}
    assert (await gateway.chat("hello", stream=stream)).status_code == 200
    assert keys_sent(upstream)[4:] == ["not-known-yet"]


async def test_without_another_version_a_refusal_is_a_refusal(gateway, upstream):
    put(gateway, "wrong", overlap_seconds=0)
    upstream.unknown_keys = {"wrong"}
    assert (await gateway.chat("hello")).json()["error"]["code"] == "upstream_credentials"
    assert keys_sent(upstream) == ["wrong"]


class SetClock:
    def __init__(self):
        self.at = datetime(2026, 1, 2, tzinfo=UTC)

    def now(self):
        return self.at


@dataclass
class FakeLeases:
    clock: SetClock
    value: str = "first"
    asked: int = 0
    refuses: bool = False

    async def current(self, name, consumer):
        assert (name, consumer) == ("up", "provider:up")
        self.asked += 1
        if self.refuses:
            raise SecretRefused("not for you")
        return Lease(self.value.encode(), 1, self.clock.at.timestamp() + 60)

    async def other(self, name, consumer):
        return None


async def test_a_lease_that_is_over_is_asked_for_anew(gateway, upstream):
    clock = SetClock()
    leases = FakeLeases(clock)
    pool = ProviderPool(gateway.platform.inventory, leases, lambda: None, clock)
    call = Call(OpenAiChat(), {"messages": [{"role": "user", "content": "hello"}]}, "", {})

    async def ask():
        await pool.call(list(pool.candidates("echo", frozenset())), call)

    await ask()
    leases.value = "second"  # as in a process that heard of no change
    clock.at += timedelta(seconds=59)
    await ask()
    assert leases.asked == 1
    clock.at += timedelta(seconds=1)
    await ask()
    await ask()
    assert (leases.asked, keys_sent(upstream)) == (2, ["first", "first", "second", "second"])
    clock.at += timedelta(seconds=60)
    leases.refuses = True
    for _ in range(2):
        with pytest.raises(UpstreamFailed):
            await ask()
    assert len(upstream.requests) == 4
    await pool.close()
