"""Vallum's own guards conform; guards that do not are told why; plug-ins are found by their entry point."""

from importlib.metadata import EntryPoint

import pytest

from vallum.guards import (
    DenyList,
    Finding,
    InvisibleText,
    Mode,
    Segment,
    StreamInspector,
    build_code_guard,
    build_links_guard,
    build_markup_guard,
    build_pii_guard,
    build_runner,
    build_secrets_guard,
    plugins,
)
from vallum.guards.conformance import NotConforming, check_guard
from vallum.guards.segment import Channel
from vallum.kernel.errors import Invalid


@pytest.mark.parametrize(
    ("guard", "found"),
    [
        (build_pii_guard(), ["jane@mail.example.com", "PESEL 72080442151"]),
        (build_secrets_guard(), ["pass" + "word = hunter2!aB3xyz"]),
        (InvisibleText(), ["a\u200bb"]),
        (DenyList(["project bluebird"]), ["Project  Bluebird"]),
        (build_links_guard(), ["![x](https://evil.test/?d=1) "]),
        (build_markup_guard(), ["<script>alert(1)</script>"]),
        (build_code_guard(), ["rm -rf / "]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_our_own_guards_conform(guard, found):
    check_guard(guard, found=found, clean=["A clean text about the weather in May."])


class Shouting:
    """Finds a word in capitals; each flaw is one promise broken."""

    name, version = "shouting", "1"

    def __init__(self, flaw=""):
        self.flaw = flaw

    def find(self, text):
        if self.flaw == "raises" and "\ud800" in text:
            raise ValueError("no")
        at = text.find("SHOUT")
        if at < 0:
            return []
        end = len(text) + 1 if self.flaw == "outside" else at + 5
        name = "other" if self.flaw == "name" else self.name
        return [Finding(name, self.version, "capitals", at, end)]

    def cursor(self):
        guard = self

        class Cursor:
            settled = 0

            def advance(self, text, origin, *, final):
                found = [f for f in guard.find(text) if f.start + origin >= self.settled]
                held = 0 if guard.flaw == "splits" else 4
                before, self.settled = self.settled, origin + len(text) - (0 if final else held)
                moved = [Finding(f.guard, f.version, f.kind, f.start + origin, f.end + origin) for f in found]
                kept = [f for f in moved if before <= f.start < self.settled]
                return kept, max(before, self.settled)

        return Cursor()


def test_a_guard_that_conforms():
    check_guard(Shouting(), found=["they SHOUT here"], clean=["they whisper"])


@pytest.mark.parametrize("flaw", ["raises", "outside", "name", "splits"])
def test_a_guard_that_does_not_is_told(flaw):
    with pytest.raises(NotConforming):
        check_guard(Shouting(flaw), found=["they SHOUT here"], clean=["they whisper"])


def test_an_example_that_is_not_found_is_no_example():
    with pytest.raises(NotConforming, match="nothing was found"):
        check_guard(Shouting(), found=["quiet"], clean=["they whisper"])


@pytest.fixture
def installed(monkeypatch):
    def offer(**named):
        points = [EntryPoint(name, value, plugins.GROUP) for name, value in named.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == plugins.GROUP else [])
        plugins.load_plugin.cache_clear()

    yield offer
    plugins.load_plugin.cache_clear()


def test_an_installed_guard_runs(installed, monkeypatch):
    installed(shouting="vallum_test_plugin:make")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Shouting)
    runner = build_runner({}, max_chars=1000, plugins=[("shouting", Mode.BLOCK)])
    assert runner.inspect([Segment("they SHOUT", Channel.USER, "a")]).action == "block"
    assert StreamInspector(runner).feed("now they SHOUT, and go on for quite a while after it").blocked


def test_a_guard_that_is_not_installed_or_is_none_is_refused(installed, monkeypatch):
    installed(other="vallum_test_plugin:make")
    with pytest.raises(Invalid, match="no installed package offers a guard named shouting; there are other"):
        build_runner({}, max_chars=1000, plugins=[("shouting", Mode.BLOCK)])
    with pytest.raises(Invalid, match="cannot be loaded: ModuleNotFoundError"):
        build_runner({}, max_chars=1000, plugins=[("other", Mode.BLOCK)])
    monkeypatch.setattr(EntryPoint, "load", lambda self: dict)
    with pytest.raises(Invalid, match="no guard of that name"):
        build_runner({}, max_chars=1000, plugins=[("other", Mode.BLOCK)])


def test_a_guard_of_segments_lets_no_stream_through_unread(installed, monkeypatch):
    class Reader:
        name, version = "reader", "1"

        def find_in(self, segments):
            return [()] * len(segments)

    installed(reader="vallum_test_plugin:make")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Reader)
    runner = build_runner({}, max_chars=1000, plugins=[("reader", Mode.DETECT)])
    assert runner.inspect([Segment("hello", Channel.USER, "a")]).action == "allow"
    text = "a text that arrives in pieces, and is long enough to leave"
    inspector = StreamInspector(runner)
    assert (inspector.feed(text).text, inspector.finish().text) == ("", text)  # held until it could be read
    long = StreamInspector(runner)
    assert any(long.feed(text * 100).blocked for _ in range(10))  # and one that is too long to be held is refused
    monkeypatch.setattr(Reader, "find_in", lambda self, segments: 1 / 0)
    broken = StreamInspector(runner)
    broken.feed(text)
    assert broken.finish().blocked
