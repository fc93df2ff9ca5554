import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.settings import InvalidSettings, Settings, describe_settings, load_settings


def test_nothing_at_all_is_a_closed_working_system():
    settings = load_settings(None, {})
    assert settings == Settings()
    assert settings.server.host == "127.0.0.1"
    assert not settings.server.unsafe_plain_http
    assert settings.records_url.startswith("sqlite:///")


def test_command_line_wins_over_environment_over_file(tmp_path):
    file = tmp_path / "vallum.toml"
    file.write_text('data = "/srv/a"\n[server]\nport = 1000\nhost = "localhost"\n')
    settings = load_settings(
        file, {"VALLUM_SERVER_PORT": "2000", "VALLUM_DATA": "/srv/b", "HOME": "/root"}, {"server.port": 3000}
    )
    assert (settings.server.port, settings.data, settings.server.host) == (3000, "/srv/b", "localhost")


def test_every_problem_is_reported_together(tmp_path):
    file = tmp_path / "vallum.toml"
    file.write_text('typo = 1\n[server]\nport = 99999\nprot = 1\n[log]\nlevel = "loud"\n')
    with pytest.raises(InvalidSettings) as caught:
        load_settings(file, {"VALLUM_SERVER_WORKERS": "many", "VALLUM_NOPE": "1"})
    for place in ("typo", "server.port", "server.prot", "log.level", "server.workers", "VALLUM_NOPE"):
        assert place in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"server.unsafe_plain_http": True, "server.host": "0.0.0.0"}, "server.unsafe_plain_http"),
        ({"server.workers": 2}, "server.workers"),
        ({"server.key_file": "key.pem"}, "server.certificate_file"),
        ({"ledger.origin": "two words"}, "ledger.origin"),
        ({"models.osv_url": "http://osv.example/v1/query"}, "models.osv_url"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides, place):
    with pytest.raises(InvalidSettings, match=place):
        load_settings(None, {}, overrides)


def test_a_file_that_is_absent_large_or_no_toml_is_named(tmp_path):
    for content in (None, b"[", b"\xff", b"a" * 300_000):
        file = tmp_path / "vallum.toml"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidSettings, match=r"vallum\.toml"):
            load_settings(file, {})


def test_a_section_given_as_a_value_is_a_problem_not_a_crash(tmp_path):
    file = tmp_path / "vallum.toml"
    file.write_text("server = 3\n")
    with pytest.raises(InvalidSettings, match="server"):
        load_settings(file, {"VALLUM_SERVER_PORT": "1"}, {"server.host": "::1"})


@given(
    st.dictionaries(
        st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=8), st.none(), st.lists(st.booleans()))
    )
)
def test_no_table_crashes_the_loader(tree):
    with contextlib.suppress(InvalidSettings):
        load_settings(None, {}, tree)


def test_every_setting_says_what_it_is():
    rows = list(describe_settings())
    assert len(rows) > 20
    assert all(description for _, _, _, description in rows)
