"""A person goes from columns that lie hashed and tokenised too, with the tokens; and what cannot be looked through is
said to be so."""

import json

import pytest
from governed_data import IBANS, contract, visits
from sqlalchemy import select, text

from vallum.data.catalogue import records as table
from vallum.kernel.errors import Invalid, NotFound
from vallum.settings import load_settings

CARE = {"purpose": "care"}
WHOM = "p3@example.org"
REASON = "asked for by letter, identity checked"


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


def treated(email="hash", iban="tokenise", ward=""):
    agreed = contract().decode()
    said = "customProperties: [{property: treatment, value: %s}]"
    agreed = agreed.replace("customProperties: [{property: joinable, value: true}]", said % email)
    agreed = agreed.replace("iban, logicalType: string", "iban, logicalType: string, " + said % iban)
    if ward:
        agreed = agreed.replace(
            "ward, logicalType: string, customProperties: [", "ward, logicalType: string, customProperties: ["
            f"{{property: treatment, value: {ward}}}, ",
        )  # fmt: skip
    return agreed.encode()


def one_iban_each(rows=21, spoil=()):
    """Everybody (p0 to p6) has an account of their own; only the visits say whose."""
    text = visits(rows, spoil=spoil).decode()
    head, *lines = text.splitlines()
    made = [head]
    for line in lines:
        fields = line.split(",")
        fields[2] = f"DE{int(fields[0]) % 7:02}370400440532013000"
        made.append(",".join(fields))
    return "\n".join(made).encode()


def tokens(platform):
    with platform.records.read() as conn:
        return {row.token: row.column for row in conn.execute(select(table.tokens))}


def reveal(perform, stella, column, token, name="visits"):
    return perform("reveal_data_token", stella, {"name": name}, column=column, token=token).value


def erase(perform, by, column, value):
    return perform("erase_data_subject", by, {"name": "visits"}, column=column, value=value, reference="DSR-17")


@pytest.mark.parametrize("email", ["hash", "tokenise"])
def test_a_treated_value_is_found_by_its_plain_form_and_its_tokens_open_nothing_after(
    taken_in, rows, perform, stella, platform, entries, email
):
    version = taken_in(one_iban_each(spoil=(3,)), treated(email))
    got = rows(stella, version, **CARE)
    mine = got.filter(got.get_column("visit") % 7 == 3)  # row 3 itself is held
    assert mine.height == 2
    account = mine.get_column("iban")[0]
    assert reveal(perform, stella, "iban", account).startswith("DE03")
    done = erase(perform, stella, "email", WHOM)
    assert (done.rows, len(done.cases)) == (3, 1)
    assert done.tokens == (2 if email == "tokenise" else 1), "the account stood in no row of anybody else"
    left = rows(stella, perform("read_data_version", stella, {"name": "visits", "number": "2"}), **CARE)
    assert (left.height, set(left.get_column("visit") % 7)) == (18, {0, 1, 2, 4, 5, 6})
    with pytest.raises(NotFound):
        reveal(perform, stella, "iban", account)
    others = left.get_column("iban")[0]
    assert reveal(perform, stella, "iban", others).startswith("DE00"), "nobody else's token went"
    if email == "tokenise":
        with pytest.raises(NotFound):
            reveal(perform, stella, "email", mine.get_column("email")[0])
    assert WHOM not in json.dumps(entries("data:subject:erase"))
    assert entries("data:subject:erase")[-1]["context"]["tokens"] == done.tokens


def test_a_token_that_others_share_still_opens_what_is_theirs(taken_in, rows, perform, stella, platform):
    taken_in(visits(21), treated())
    before = tokens(platform)
    done = erase(perform, stella, "email", WHOM)
    assert (done.rows, done.tokens) == (3, 0)
    assert tokens(platform) == before


def test_a_person_goes_from_treated_columns_everywhere(taken_in, rows, perform, stella, stan, platform):
    """Known by an address in capitals and by an account: hashed here, tokenised there, in the clear elsewhere."""
    erasures = platform.control.services.subject_erasures
    hashed = taken_in(one_iban_each(), treated("hash"))
    token = taken_in(one_iban_each(), treated("tokenise"), name="stays")
    taken_in(one_iban_each(), contract(), name="plain")
    theirs = rows(stella, token, **CARE).row(3, named=True)
    asked = perform(
        "request_erasure", stella, identifiers=(WHOM, "DE03370400440532013000"), reference="DSR-17"
    )  # fmt: skip
    found = {one.place: (one.count, one.columns) for one in asked.found}
    assert found["visits/1"] == (3, {"email": 3, "iban": 3})
    assert found["stays/1"] == (3, {"email": 3, "iban": 3})
    assert found["stays, tokens"] == (2, {"email": 1, "iban": 1})
    assert found["visits, tokens"] == (1, {"iban": 1})
    perform("approve_erasure", stan, {"erasure": asked.id}, reason=REASON)
    assert erasures.go_on() == 1
    done = perform("read_erasure", stella, {"erasure": asked.id})
    assert {step.place: step.told["tokens"] for step in done.steps} == {"plain": 0, "stays": 2, "visits": 1}
    for column in ("email", "iban"):
        with pytest.raises(NotFound):
            reveal(perform, stella, column, theirs[column], "stays")
    report = json.loads(perform("read_erasure_report", stella, {"erasure": asked.id}).report)
    assert (report["left"], report["unsearchable"]) == (0, [])
    assert hashed.rows == 21
    again = perform("request_erasure", stella, identifiers=(WHOM.upper(),), reference="DSR-18")
    assert again.found == ()


def test_a_hash_is_found_in_the_usual_capitals_and_a_token_in_any(taken_in, perform, stella):
    taken_in(visits(21).replace(b"p3@example", b"p3@eXample"), treated("hash"))
    taken_in(visits(21).replace(b"p3@example", b"p3@eXample"), treated("tokenise"), name="stays")

    def found(who):
        asked = perform("request_erasure", stella, identifiers=(who,), reference=f"DSR-{len(who)}")
        return {one.place for one in asked.found}

    assert found("P4@EXAMPLE.org") == {"visits/1", "stays/1", "stays, tokens"}
    assert found("p3@eXample.org") == {"visits/1", "stays/1", "stays, tokens"}
    assert found("P3@Example.Org") == {"stays/1", "stays, tokens"}, "a hash is of one spelling: docs/data-sets.md"


def test_what_cannot_be_looked_through_is_said_and_never_nothing(taken_in, perform, stella, stan, platform):
    taken_in(visits(21, spoil=(3,)), treated("mask", "tokenise", "redact"))
    for column, how in (("email", "mask"), ("ward", "redact")):
        with pytest.raises(Invalid, match=rf"lies treated \({how}\)"):
            erase(perform, stella, column, WHOM)
    asked = perform("request_erasure", stella, identifiers=(WHOM,), reference="DSR-17")
    assert {one.kind for one in asked.found} == {"unsearchable"}
    assert [one.treated for one in asked.found] == [{"email": "mask", "ward": "redact"}] * 2, (
        "the version, and its case"
    )
    perform("approve_erasure", stan, {"erasure": asked.id}, reason=REASON)
    assert platform.control.services.subject_erasures.go_on() == 1
    report = json.loads(perform("read_erasure_report", stella, {"erasure": asked.id}).report)
    assert [one["treated"] for one in report["unsearchable"]] == [{"email": "mask", "ward": "redact"}] * 2
    taken_in(visits(21), treated("hash"))
    done = erase(perform, stella, "email", WHOM)
    assert (done.rows, done.not_searched) == (3, ("email (mask)",)), "found where it can be, and the rest said"


def test_tokens_are_found_and_open_after_their_key_was_rotated(taken_in, rows, perform, stella, catalogue, platform):
    version = taken_in(one_iban_each(), treated())
    with platform.records.write() as conn:
        catalogue.field_keys.rotate(conn, "visits", classification="tokens", column="iban")
    token = rows(stella, version, **CARE).get_column("iban")[3]
    assert reveal(perform, stella, "iban", token).startswith("DE03")
    done = erase(perform, stella, "iban", "DE03370400440532013000")
    assert (done.rows, done.tokens) == (3, 1)
    assert token not in tokens(platform)


def kept_keys(platform):
    with platform.records.read() as conn:
        of = ("SELECT count(*) FROM data_treatment_keys", "SELECT count(*) FROM data_tokens",
              "SELECT count(*) FROM data_class_keys WHERE classification = 'tokens'")  # fmt: skip
        return [conn.execute(text(each)).scalar_one() for each in of]


def test_the_last_versions_end_destroys_the_keys_and_tokens(taken_in, begin, catalogue, platform, perform, stella):
    """Not while an intake is under way, which has hashed under that key; and nobody else's."""
    taken_in(visits(21), treated())
    first = next(iter(tokens(platform)))
    taken_in(visits(21), treated(), name="stays")
    coming = begin(treated())
    held = platform.records
    with held.write() as conn:
        v = table.versions.c
        past = table.versions.update().where(v.dataset == "visits").values(expires_at="2020-01-01T00:00:00.000Z")
        conn.execute(past)
    with held.write() as conn:
        retention = catalogue.retention
        assert retention.expire(conn, retention.due(conn)) == 1
    assert kept_keys(platform) == [2, 6, 2], "an intake is under way"
    perform("abandon_data_intake", stella, {"name": "visits", "intake": coming.id})
    catalogue.tidy()
    assert kept_keys(platform) == [1, 3, 1]
    with pytest.raises(NotFound):
        reveal(perform, stella, "iban", first)
    with held.read() as conn:
        assert set(conn.execute(select(table.treatment_keys.c.dataset)).scalars()) == {"stays"}
    again = taken_in(visits(21), treated())
    assert catalogue.treatments.stored_form("visits", "care", "iban", "tokenise", IBANS[0]) is not None
    assert again.state == "available"
