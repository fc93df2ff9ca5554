"""Policies in force: applied, found again by digest, refused when altered or without return."""

import pytest

from vallum.kernel.errors import IntegrityError, NotFound
from vallum.kernel.policy import PolicyRefused, PolicyStore, shipped_policies
from vallum.kernel.store.epochs import read_epochs

MORE = '@id("more")\npermit (principal is Vallum::System, action, resource);\n'


@pytest.fixture
def store(clock):
    return PolicyStore(clock)


def test_the_shipped_ones_are_in_force_until_others_are(records, store):
    with records.read() as conn:
        assert dict(store.load(conn).files) == shipped_policies()


def test_applied_ones_are_in_force_and_found_by_digest(records, store):
    first = store.check({"a.cedar": MORE})
    second = store.check({"a.cedar": MORE, "b.cedar": MORE.replace("more", "b")})
    for applied in (first, second, first):
        with records.write() as conn:
            store.apply(conn, applied, "person:x")
        with records.read() as conn:
            assert store.load(conn).digest == applied.digest
    with records.read() as conn:
        assert store.version(conn, second.digest).files == second.files
        assert read_epochs(conn)["policy"] == 3
        with pytest.raises(NotFound):
            store.version(conn, "0" * 64)


def test_an_edit_of_the_stored_text_is_found(records, store):
    with records.write() as conn:
        store.apply(conn, store.check({"a.cedar": MORE}), "x")
        conn.exec_driver_sql("UPDATE policy_sets SET files = replace(files, 'System', 'Person')")
    with records.read() as conn, pytest.raises(IntegrityError):
        store.load(conn)


def test_a_digest_in_force_that_was_never_applied_is_found(records, store):
    with records.write() as conn:
        store.apply(conn, store.check({"a.cedar": MORE}), "x")
        conn.exec_driver_sql("DELETE FROM policy_sets")
    with records.read() as conn, pytest.raises(IntegrityError):
        store.load(conn)


@pytest.mark.parametrize("text", ["// nothing", MORE + '@id("never")\nforbid (principal, action, resource);\n'])
def test_a_set_that_nobody_could_change_again_is_refused(store, text):
    with pytest.raises(PolicyRefused, match="nobody could change"):
        store.check({"a.cedar": text})


def test_the_bounds_are_part_of_every_set_and_cannot_be_changed(store):
    assert store.check({"a.cedar": MORE}).files["bounds.cedar"] == shipped_policies()["bounds.cedar"]
    with pytest.raises(PolicyRefused, match=r"bounds\.cedar"):
        store.check({"a.cedar": MORE, "bounds.cedar": "// gone"})


@pytest.mark.parametrize(
    "text",
    [
        '@note("tidy") // as in @id("more")\n@id("evil") permit (principal is Vallum::System, action, resource);\n'
        + MORE,
        '// @id("evil")\n' + MORE,
        '@id("a") permit (principal is Vallum::System, action, resource) when { "@id(\\"b\\")" != "" };',
        '@note("@id(\\"more\\")") @id("evil") permit (principal is Vallum::System, action, resource);\n' + MORE,
    ],
)
def test_no_policy_passes_for_another(store, text):
    """Ids in comments and strings, in front of a policy that somebody wants to hide."""
    texts = store.check({"a.cedar": text}).texts()
    ids = {name: policy for name, policy in texts.items() if name in ("more", "evil", "a", "b")}
    assert "b" not in ids
    if "evil" in text and not text.startswith("//"):
        assert "evil" in ids["evil"]
        assert "evil" not in ids["more"]
    assert len(ids) == text.count("permit (")


@pytest.mark.parametrize(
    "name", ["..", "", "/etc/x.cedar", "a/roles.cedar", "x\n.cedar", ".bashrc", "roles.txt", "-x.cedar"]
)
def test_files_are_named_like_files(store, name):
    with pytest.raises(PolicyRefused, match="named like"):
        store.check({name: MORE})


@pytest.mark.parametrize("hidden", ["\x1b[8m", "\r", "\u202e", "\u200b", "\u2066", "\x00", "\ufeff"])
def test_nothing_is_hidden_from_who_reads_them(store, hidden):
    with pytest.raises(PolicyRefused, match="hides or turns around"):
        store.check({"a.cedar": MORE + f"// {hidden}\n"})
