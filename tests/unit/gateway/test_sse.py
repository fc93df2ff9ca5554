"""Events are the same however their bytes are cut, and noise ends in an error or nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.gateway.sse import MAX_EVENT_BYTES, Event, EventReader, StreamMalformed, render_event


def read(chunks):
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)] + list(reader.finish())


names = st.sampled_from(["", "message_start", "response.output_text.delta"])
datas = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=40)


@given(st.lists(st.tuples(names, datas), max_size=6), st.lists(st.integers(0, 400), max_size=8), st.sampled_from("nr2"))
def test_what_is_rendered_is_read_at_every_split(events, cuts, ending):
    raw = b"".join(render_event(name, data.encode()) for name, data in events)
    raw = raw.replace(b"\n", {"n": b"\n", "r": b"\r", "2": b"\r\n"}[ending])
    places = [0, *sorted(min(c, len(raw)) for c in cuts), len(raw)]
    chunks = [raw[a:b] for a, b in pairwise(places)]
    assert read(chunks) == [Event(name, data.encode()) for name, data in events]


@given(st.binary(max_size=300), st.integers(1, 7))
def test_noise_never_crashes(raw, step):
    read([raw[at : at + step] for at in range(0, len(raw), step)])


def test_comments_and_unknown_fields_are_dropped():
    assert read([b": keep-alive\n\nid: 5\nretry: 10\n\ndata: x\n\n"]) == [Event("", b"x")]


def test_data_on_several_lines_is_joined():
    assert read([b"event: e\ndata: a\ndata:b\n\n"]) == [Event("e", b"a\nb")]


def test_a_last_event_without_its_blank_line_is_read():
    assert read([b"data: a\n\ndata: b"]) == [Event("", b"a"), Event("", b"b")]


def test_a_line_without_end_is_refused():
    reader = EventReader()
    with pytest.raises(StreamMalformed):
        for _ in range(MAX_EVENT_BYTES // 65_536 + 2):
            list(reader.feed(b"x" * 65_536))
