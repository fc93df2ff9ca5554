"""Dependencies against advisories: what is affected is found, and what cannot be told never passes."""

import json
import os
import sqlite3
import stat
import struct
import time
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from vallum.kernel.errors import Invalid, Unavailable
from vallum.models.dependencies import (
    AdvisoriesRefused,
    CannotTell,
    DependencyVerdict,
    Level,
    ScanReport,
    Severity,
    VulnerabilityFinding,
    declared_at,
    import_advisories,
    new_findings,
    open_database,
    scan_dependencies,
)
from vallum.models.dependencies.advisories import AffectedPackage, parse_advisory, severity_of
from vallum.models.dependencies.cvss import base_score

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
V3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def advisory(name="GHSA-aaaa-bbbb-cccc", package="torch", events=({"introduced": "0"}, {"fixed": "2.0"}), **more):
    affected = {
        "package": {"ecosystem": "PyPI", "name": package, "purl": f"pkg:pypi/{package}"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": [],
        "database_specific": {"source": "https://example.test"},
    } | more.pop("affected", {})
    return {
        "schema_version": "1.7.3",
        "id": name,
        "modified": "2026-11-20T01:02:03.456Z",
        "published": "2024-01-01T00:00:00Z",
        "aliases": ["CVE-2024-1"],
        "summary": "A weakness",
        "details": "…",
        "severity": [{"type": "CVSS_V3", "score": V3}],
        "affected": [affected],
        "references": [{"type": "WEB", "url": "https://example.test"}],
        "database_specific": {"severity": "CRITICAL", "cwe_ids": ["CWE-502"]},
    } | more


def export(folder, *documents, name="all.zip"):
    file = folder / name
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in documents:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
    return file


@pytest.fixture
def scan(tmp_path):
    """What these requirements come to against these advisories."""

    def scan(requirements, *documents, name="requirements.txt", now=NOW, **options):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(requirements)
        database = tmp_path / "advisories.sqlite"
        import_advisories(export(tmp_path, *(documents or (advisory(),))), database, NOW, accept_older=True)
        with open_database(database) as known:
            return scan_dependencies(declared_at(folder), known, now, **options)

    return scan


# What OSV's schema (1.7) asks of the parts that are used here, in our words.
_EVENT = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"enum": ["introduced", "fixed", "last_affected", "limit"]},
    "additionalProperties": {"type": "string"},
}
_RANGE = {
    "type": "object",
    "required": ["type", "events"],
    "properties": {
        "type": {"enum": ["GIT", "SEMVER", "ECOSYSTEM"]},
        "events": {"type": "array", "minItems": 1, "items": _EVENT, "contains": {"required": ["introduced"]}},
    },
    "if": {"properties": {"type": {"const": "GIT"}}},
    "then": {"required": ["repo"]},
}
OSV = {
    "type": "object",
    "required": ["id", "modified"],
    "properties": {
        "id": {"type": "string"},
        "modified": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
        "withdrawn": {"type": "string"},
        "aliases": {"type": ["array", "null"], "items": {"type": "string"}},
        "severity": {"type": ["array", "null"], "items": {"type": "object", "required": ["type", "score"]}},
        "affected": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {
                    "package": {"type": "object", "required": ["ecosystem", "name"]},
                    "ranges": {"type": "array", "items": _RANGE},
                    "versions": {"type": ["array", "null"], "items": {"type": "string"}},
                },
            },
        },
        "references": {"type": ["array", "null"], "items": {"type": "object", "required": ["type", "url"]}},
    },
}


def test_our_documents_are_such_as_osv_has():
    import jsonschema  # whose grammars take longer to load than all tests here

    git = {"ranges": [{"type": "GIT", "repo": "https://x", "events": [{"introduced": "0"}]}], "versions": None}
    for one in (
        advisory(),
        advisory("MAL-1", events=({"introduced": "0"},), aliases=None),
        advisory(affected=git),
        advisory(severity=None, withdrawn="2025-01-01T00:00:00Z"),
    ):
        jsonschema.validate(one, OSV)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(advisory(events=({"fixed": "1"},)), OSV)


# Verdicts.


def test_what_is_affected_is_found(scan):
    report = scan("torch==1.13.1\nnumpy==2.1.0  # fine\n")
    (found,) = report.findings
    assert report.verdict is DependencyVerdict.VULNERABLE
    assert (found.package, found.version, found.id, found.aliases) == (
        "torch",
        "1.13.1",
        "GHSA-aaaa-bbbb-cccc",
        ("CVE-2024-1",),
    )
    assert found.severity == Severity(Level.CRITICAL, 9.8, V3)
    assert found.fixed_in == ("2.0",)
    assert found.affected == "introduced 0, fixed 2.0"
    assert found.declared_in == ("requirements.txt",)
    assert report.checked == 2


def test_what_is_fixed_is_clear(scan):
    report = scan("torch==2.0\n")
    assert (report.verdict, report.findings, report.cannot_tell) == (DependencyVerdict.CLEAR, (), ())


@pytest.mark.parametrize("name", ["Torch_Vision", "torch.vision", "TORCH--VISION", "torch-vision[extra]"])
def test_one_package_has_many_spellings(scan, name):
    assert scan(f"{name}==1.0", advisory(package="torch_Vision")).findings


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("torchx>=2", "not pinned (>=2): 0 advisories"),
        ("torch>=2", "1 advisories are known"),
        ("torch", "any version"),
        ("torch==2.*", "not pinned"),
        ("torch~=2.0", "not pinned"),
        ("torch @ git+https://github.com/x/torch@v2", "comes from git+https"),
        ("torch @ https://example.test/torch-2.0-py3-none-any.whl", "comes from https"),
        ("torch @ file:///srv/torch.whl", "comes from file"),
        ("git+https://github.com/x/torch", "no requirement of a package"),
        ("./local/package", "no requirement of a package"),
        ("/abs/package.whl", "no requirement of a package"),
        ("torch==not a version", "no requirement of a package"),
        ("-e .", "installed from its source"),
        ("--editable=git+https://x/y#egg=torch", "installed from its source"),
        ("--extra-index-url https://example.test/simple", "another index"),
        ("--index-url=https://example.test/simple", "another index"),
        ("-r ../../etc/passwd", "out of the folder"),
        ("-r /etc/passwd", "out of the folder"),
        ("-r https://example.test/r.txt", "out of the folder"),
        ("-r absent.txt", "cannot be read"),
        ("torch==1!1.nonsense.", "no requirement of a package"),
        ("torch===oddly named", "no requirement of a package"),
    ],
)
def test_what_cannot_be_told_does_not_pass(scan, line, reason):
    report = scan(f"numpy==2.0\n{line}\n")
    assert report.verdict is DependencyVerdict.CANNOT_TELL
    assert any(reason in one.reason for one in report.cannot_tell), report.cannot_tell


def test_a_version_that_nobody_can_compare_cannot_be_told(scan):
    report = scan("torch===1.0-mine-odd")
    assert report.verdict is DependencyVerdict.CANNOT_TELL
    assert "GHSA-aaaa-bbbb-cccc does not say" in report.cannot_tell[0].reason


def test_a_package_that_is_malicious_in_every_version_is_found_without_a_pin(scan):
    evil = advisory("MAL-2026-1", "torchh", events=({"introduced": "0"},), aliases=None)
    report = scan("torchh\n", evil)
    assert [one.id for one in report.findings] == ["MAL-2026-1"]
    assert scan("torchh===what ever\n", evil).verdict is DependencyVerdict.CANNOT_TELL
    assert scan("torchh===what-ever\n", evil).findings


def test_withdrawn_advisories_count_for_nothing(scan):
    gone = advisory("GHSA-gone", withdrawn="2025-01-01T00:00:00Z")
    report = scan("torch==1.0", gone, advisory("PYSEC-2024-9", "other"))
    assert report.verdict is DependencyVerdict.CLEAR


def test_other_ecosystems_and_git_ranges(scan):
    other = advisory(affected={"package": {"ecosystem": "npm", "name": "torch"}})
    assert scan("torch==1.0", other, advisory("GHSA-b", "b")).verdict is DependencyVerdict.CLEAR
    git = {"ranges": [{"type": "GIT", "repo": "https://x", "events": [{"introduced": "0"}]}], "versions": None}
    assert scan("torch==1.0", advisory(affected=git)).verdict is DependencyVerdict.CANNOT_TELL
    listed = advisory(affected=git | {"versions": ["1.0", "1.1"]})
    assert scan("torch==1.0.0", listed).findings
    assert scan("torch==1.2", listed).verdict is DependencyVerdict.CLEAR


def test_one_weakness_with_several_advisories_is_one_finding(scan):
    report = scan(
        "torch==1.0",
        advisory("PYSEC-2024-1", aliases=["CVE-2024-1", "GHSA-x"], severity=None, database_specific={}),
        advisory("GHSA-x", aliases=["CVE-2024-1"]),
        advisory("GHSA-y", aliases=[]),
    )
    assert [(one.id, one.aliases) for one in report.findings] == [
        ("GHSA-x", ("CVE-2024-1", "PYSEC-2024-1")),
        ("GHSA-y", ()),
    ]
    assert report.findings[0].severity.score == 9.8


def test_an_old_database_and_an_absent_one_cannot_tell(scan, tmp_path):
    old = scan("numpy==2.0", now=NOW + timedelta(days=8))
    assert old.verdict is DependencyVerdict.CANNOT_TELL
    assert "update it" in old.cannot_tell[0].reason
    assert (
        scan("numpy==2.0", now=NOW + timedelta(days=8), max_age=timedelta(days=30)).verdict is DependencyVerdict.CLEAR
    )
    # an old export is not made new by importing it again
    stale = advisory(modified="2025-01-01T00:00:00Z")
    assert scan("numpy==2.0", stale).verdict is DependencyVerdict.CANNOT_TELL
    # and one that claims to be of the future is as new as its import
    ahead = advisory(modified="2099-01-01T00:00:00Z")
    assert scan("numpy==2.0", ahead, now=NOW + timedelta(days=8)).verdict is DependencyVerdict.CANNOT_TELL
    absent = scan_dependencies(declared_at(tmp_path / "model"), None, NOW)
    assert absent.verdict is DependencyVerdict.CANNOT_TELL
    with pytest.raises(Unavailable, match="import"), open_database(tmp_path / "absent.sqlite"):
        pass


def test_a_folder_that_says_nothing_cannot_be_told(scan):
    report = scan("hello", name="notes.md")
    assert report.verdict is DependencyVerdict.CANNOT_TELL
    assert "no file here" in report.cannot_tell[0].reason


def test_an_empty_list_of_requirements_is_clear(scan):
    assert scan("# nothing\n").verdict is DependencyVerdict.CLEAR


# Ranges.


def outcome(version, *ranges, versions=()):
    said = AffectedPackage(
        "x", tuple(tuple((k, v) for one in r for k, v in one.items()) for r in ranges), tuple(versions)
    )
    return said.outcome(version)


I0 = {"introduced": "0"}


@pytest.mark.parametrize(
    ("version", "events", "expected"),
    [
        ("1.9", [I0, {"fixed": "2.0"}], "affected"),
        ("2.0", [I0, {"fixed": "2.0"}], "not-affected"),
        ("2.0.0", [I0, {"fixed": "2.0"}], "not-affected"),
        ("2.0rc1", [I0, {"fixed": "2.0"}], "affected"),
        ("2.0.post1", [I0, {"fixed": "2.0"}], "not-affected"),
        ("0.dev0", [I0, {"fixed": "2.0"}], "affected"),
        ("1!0.1", [I0, {"fixed": "2.0"}], "not-affected"),
        ("10.0", [I0, {"fixed": "9.0"}], "not-affected"),
        ("2.0", [I0, {"last_affected": "2.0"}], "affected"),
        ("2.0+cu118", [I0, {"last_affected": "2.0"}], "affected"),
        ("2.0+cu118", [I0, {"fixed": "2.0"}], "not-affected"),
        ("2.0.1", [I0, {"last_affected": "2.0"}], "not-affected"),
        ("0.9", [{"introduced": "1.0"}, {"fixed": "2.0"}], "not-affected"),
        ("1.0", [{"introduced": "1.0"}, {"fixed": "2.0"}], "affected"),
        # events in any order, and several spans in one range
        ("3.5", [{"fixed": "4"}, {"introduced": "3"}, {"fixed": "2"}, I0], "affected"),
        ("2.5", [{"fixed": "4"}, {"introduced": "3"}, {"fixed": "2"}, I0], "not-affected"),
        ("2.0", [I0, {"fixed": "2.0"}, {"introduced": "2.0"}], "affected"),
        ("1.0", [I0, {"limit": "1.0"}], "not-affected"),
        ("0.9", [I0, {"limit": "1.0"}], "affected"),
        ("1.0", [I0, {"limit": "*"}], "affected"),
        ("1.0", [I0, {"fixed": "not-a-version"}], "unknown"),
        ("1.0", [I0, {"limit": "x"}], "unknown"),
        ("1.0", [{"fixed": "2.0"}], "unknown"),
        ("1.0", [], "unknown"),
        ("9" * 300, [I0, {"fixed": "2.0"}], "unknown"),
    ],
)
def test_ranges_are_evaluated_as_the_schema_says(version, events, expected):
    assert outcome(version, events) == expected


def test_a_list_of_versions_is_enough_whatever_the_ranges_say():
    assert outcome("1.0.0", [I0, {"fixed": "odd"}], versions=["1.0"]) == "affected"
    assert outcome("1.0+local", versions=["1.0"]) == "affected"
    assert outcome("weird-one", versions=["weird-one"]) == "affected"


versions = st.builds(
    lambda release, end: ".".join(map(str, release)) + end,
    st.lists(st.integers(0, 30), min_size=1, max_size=3),
    st.sampled_from(["", "rc1", ".post2", ".dev3", "a1"]),
)


@given(versions, versions.filter(lambda version: version != "0"), versions)  # "0" is before all versions
def test_a_span_is_what_lies_between(one, introduced, fixed):
    expected = Version(introduced) <= Version(one) < Version(fixed)
    assert (outcome(one, [{"introduced": introduced}, {"fixed": fixed}]) == "affected") is (
        expected or (Version(introduced) <= Version(one) and Version(fixed) <= Version(introduced))
    )


def test_huge_range_lists_are_evaluated_soon():
    events = [{"introduced" if n % 2 == 0 else "fixed": f"{n}.0"} for n in range(20_000)]
    started = time.process_time()
    assert outcome("10000.5", events) == "affected"
    assert outcome("10001.5", events, versions=[f"{n}.1" for n in range(20_000)]) == "not-affected"
    assert time.process_time() - started < 5


# Severity.


@pytest.mark.parametrize(
    ("vector", "score"),
    [  # FIRST's own examples
        (V3, 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),
        ("CVSS:3.0/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        (V3 + "/E:P/RL:O/RC:C", 9.8),
        ("AV:N/AC:L/Au:N/C:N/I:N/A:C", 7.8),
        ("(AV:N/AC:L/Au:N/C:C/I:C/A:C)", 10.0),
        ("AV:L/AC:H/Au:N/C:C/I:C/A:C", 6.2),
        ("AV:N/AC:L/Au:N/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("CVSS:3.1/AV:N", None),
        (V3 + "/AV:P", None),
        (V3.replace("AV:N", "AV:X"), None),
        ("", None),
        ("x" * 1000, None),
    ],
)
def test_scores_are_those_of_the_specification(vector, score):
    assert base_score(vector) == score


@given(st.text(alphabet="CVSS:3.1/AVNLHPRUIScoAu()", max_size=80))
def test_a_vector_of_noise_has_no_score_or_one(vector):
    assert base_score(vector) is None or 0 <= base_score(vector) <= 10


def test_without_a_vector_that_scores_the_databases_word_counts():
    only = parse_advisory(json.dumps(advisory(severity=[{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}])).encode())
    assert severity_of(only, only.affected[0]) == Severity(Level.CRITICAL, None, "CVSS:4.0/AV:N")
    nothing = parse_advisory(json.dumps(advisory(severity=None, database_specific=None)).encode())
    assert severity_of(nothing, nothing.affected[0]) == Severity()
    own = {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N"}]}
    packages = parse_advisory(json.dumps(advisory(affected=own)).encode())
    assert severity_of(packages, packages.affected[0]).level is Level.LOW


# Imports.


def refused(source, tmp_path, match):
    database = tmp_path / "db" / "advisories.sqlite"
    with pytest.raises(AdvisoriesRefused, match=match):
        import_advisories(source, database, NOW)
    assert not list((tmp_path / "db").glob("*")) if (tmp_path / "db").exists() else True


def raw_zip(tmp_path, members, name="all.zip"):
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, raw in members:
            archive.writestr(member, raw)
    return tmp_path / name


GOOD = json.dumps(advisory()).encode()


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"", "no OSV"),
        (b"{}", "no OSV"),
        (b"[" * 100_000, "no OSV"),
        (b'{"id":"x","modified":"2026-01-01T00:00:00Z","database_specific":{"a":' + b"[" * 200_000, "no OSV"),
        (b'{"id":"x","modified":"2026-01-01T00:00:00Z","zzz":' + b"[" * 200_000, "no OSV"),
        (GOOD[:-10], "no OSV"),
        (b"\xff\xfe" + GOOD, "no OSV"),
        (GOOD.replace(b'"aliases": [', b'"aliases": {', 1), "no OSV"),
        (GOOD.replace(b'"introduced": "0"', b'"introduced": 0'), "not one thing"),
        (GOOD.replace(b'{"introduced": "0"}', b'{"introduced": "0", "fixed": "1"}'), "not one thing"),
        (GOOD.replace(b'{"introduced": "0"}', b"{}"), "not one thing"),
        (GOOD.replace(b'"GHSA-aaaa-bbbb-cccc"', b'""'), "no id"),
        (GOOD.replace(b'"GHSA-aaaa-bbbb-cccc"', b'"a\\nb"'), "no id"),
        (GOOD.replace(b"2026-11-20T01:02:03.456Z", b"yesterday"), "no time"),
        (b" " * ((16 << 20) + 1), "larger than 16 MiB"),
    ],
    ids=range(15),
)
def test_one_document_that_cannot_be_read_refuses_the_whole(tmp_path, raw, match):
    refused(
        raw_zip(tmp_path, [("GHSA-good.json", GOOD.replace(b"aaaa", b"dddd")), ("GHSA-x.json", raw)]), tmp_path, match
    )


@pytest.mark.parametrize(
    "name", ["../x.json", "/etc/x.json", "a/../b.json", "a/b/c.json", "x.exe", "a\\b.json", "x.json\n"]
)
def test_members_that_no_export_has_are_refused(tmp_path, name):
    refused(raw_zip(tmp_path, [(name, GOOD)]), tmp_path, "is called")


def test_damaged_empty_and_other_files_are_refused(tmp_path):
    whole = export(tmp_path, advisory())
    for name, raw in (("cut.zip", whole.read_bytes()[:-30]), ("none.zip", b""), ("text.zip", b"hello" * 100)):
        (tmp_path / name).write_bytes(raw)
        refused(tmp_path / name, tmp_path, "no zip")
    refused(tmp_path / "absent.zip", tmp_path, "cannot be read")
    refused(raw_zip(tmp_path, [], "empty.zip"), tmp_path, "no advisories")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", tmp_path, "no advisories")
    other = advisory(affected={"package": {"ecosystem": "npm", "name": "x"}})
    refused(export(tmp_path, other, name="npm.zip"), tmp_path, "no advisory about a package of PyPI")


def test_a_byte_changed_in_a_zip_is_found(tmp_path):
    raw = bytearray(export(tmp_path, advisory()).read_bytes())
    raw[80] ^= 0xFF
    (tmp_path / "all.zip").write_bytes(raw)
    refused(tmp_path / "all.zip", tmp_path, "no zip|no OSV")


def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path):
    bomb = raw_zip(tmp_path, [("GHSA-x.json", b" " * (64 << 20))])
    assert bomb.stat().st_size < 100_000
    refused(bomb, tmp_path, "larger than 16 MiB")
    # and where the header promises little
    raw = bytearray(bomb.read_bytes())
    at = raw.index(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 10)
    (tmp_path / "all.zip").write_bytes(raw)
    refused(tmp_path / "all.zip", tmp_path, "no zip|no OSV|larger")


def test_encrypted_and_linked_members_are_refused(tmp_path):
    raw = bytearray(raw_zip(tmp_path, [("GHSA-x.json", GOOD)]).read_bytes())
    for at in (6, raw.index(b"PK\x01\x02") + 8):
        raw[at] |= 1
    (tmp_path / "all.zip").write_bytes(raw)
    refused(tmp_path / "all.zip", tmp_path, "encrypted")
    member = zipfile.ZipInfo("GHSA-x.json")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(raw_zip(tmp_path, [(member, "/etc/passwd")]), tmp_path, "link")


def test_a_folder_is_read_as_a_zip_is(tmp_path):
    folder = tmp_path / "osv"
    folder.mkdir()
    (folder / "a.json").write_bytes(GOOD)
    (folder / "README.md").write_text("not an advisory")
    assert import_advisories(folder, tmp_path / "x.sqlite", NOW).advisories == 1
    (folder / "b.json").symlink_to("/etc/passwd")
    refused(folder, tmp_path, "cannot be read")
    (folder / "b.json").unlink()
    os.mkfifo(folder / "b.json")
    refused(folder, tmp_path, "no file")
    (folder / "b.json").unlink()
    (folder / "b.json").write_bytes(GOOD)
    refused(folder, tmp_path, "twice")


@given(st.binary(max_size=300))
def test_noise_is_no_advisory_and_never_crashes(noise):
    with pytest.raises(AdvisoriesRefused):
        parse_advisory(noise)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    plain,
    st.sampled_from(["id", "aliases", "affected", "severity", "summary", "modified", "database_specific", "withdrawn"]),
)
def test_a_document_of_any_shape_is_read_or_refused(value, place):
    try:
        said = parse_advisory(json.dumps(advisory() | {place: value}).encode())
    except AdvisoriesRefused:
        return
    for one in said.affected:
        one.outcome("1.0")
        severity_of(said, one)


# Updates.


def test_an_update_replaces_the_whole_and_a_failed_one_nothing(tmp_path):
    database = tmp_path / "advisories.sqlite"
    facts = import_advisories(
        export(tmp_path, advisory(), advisory("B", "b"), advisory("C", withdrawn="2025-01-01")), database, NOW
    )
    assert (facts.advisories, facts.withdrawn, facts.packages, facts.imported_at) == (2, 1, 2, NOW)
    before = database.read_bytes()
    with pytest.raises(AdvisoriesRefused):
        import_advisories(raw_zip(tmp_path, [("a.json", GOOD), ("b.json", b"{")]), database, NOW)
    assert database.read_bytes() == before
    assert [one.name for one in tmp_path.glob("advisories*")] == ["advisories.sqlite"]
    with open_database(database) as reading:
        import_advisories(export(tmp_path, advisory("D", "d"), advisory("E", "e")), database, NOW)
        assert reading.about("torch")  # who had it open goes on reading what was there
    with open_database(database) as known:
        assert not known.about("torch")
        assert known.about("d")


def test_older_and_far_fewer_advisories_are_refused_unless_it_is_said(tmp_path):
    database = tmp_path / "advisories.sqlite"
    import_advisories(export(tmp_path, *(advisory(f"GHSA-{n}", f"p{n}") for n in range(10))), database, NOW)
    older = export(tmp_path, *(advisory(f"GHSA-{n}", modified="2026-01-01T00:00:00Z") for n in range(10)))
    with pytest.raises(AdvisoriesRefused, match="ends at 2026-01-01"):
        import_advisories(older, database, NOW)
    fewer = export(tmp_path, advisory(), advisory("B", "b"))
    with pytest.raises(AdvisoriesRefused, match="2 advisories, and here are 10"):
        import_advisories(fewer, database, NOW)
    assert import_advisories(fewer, database, NOW, accept_older=True).advisories == 2


def test_another_file_is_not_taken_for_a_database(tmp_path):
    for name, raw in (("text", b"hello"), ("noise", os.urandom(8192)), ("empty", b"")):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(Invalid, match="import it again"), open_database(tmp_path / name):
            pass
    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.execute("create table facts (a)")
    foreign.commit()
    foreign.close()
    with pytest.raises(Invalid, match="no database"), open_database(tmp_path / "foreign"):
        pass


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="cannot be written"):
        import_advisories(export(tmp_path, advisory()), tmp_path / "file" / "advisories.sqlite", NOW)


# What files say.


LOCKS = {
    "poetry.lock": '[[package]]\nname = "Torch"\nversion = "1.0"\n',
    "uv.lock": '[[package]]\nname = "me"\nversion = "0"\nsource = { virtual = "." }\n'
    '[[package]]\nname = "torch"\nversion = "1.0"\nsource = { registry = "https://pypi.org/simple" }\n',
    "pylock.toml": 'lock-version = "1.0"\n[[packages]]\nname = "torch"\nversion = "1.0"\n[[packages.wheels]]\nurl = "https://x"\n',
    "pylock.gpu.toml": '[[packages]]\nname = "torch"\nversion = "1.0"\n',
    "Pipfile.lock": '{"default": {"torch": {"version": "==1.0", "index": "pypi"}}, "develop": {}}',
    "pyproject.toml": '[project]\nname = "x"\ndependencies = ["torch==1.0"]\n',
    "deep/er/pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.11"\ntorch = "1.0"\n',
    "a/b/c/MLmodel": "flavors:\n  pytorch:\n    pytorch_version: '1.0'\n",
    "conda.yaml": "dependencies:\n- python=3.11\n- pip:\n  - torch==1.0\n",
    "python_env.yaml": "python: 3.11\ndependencies:\n- torch==1.0\n",
    "MLmodel": "mlflow_version: 2.9\nflavors:\n  pytorch:\n    pytorch_version: '1.0'\n    model_data: data\n",
    "config.json": '{"architectures": ["X"], "torch_version": "1.0"}',
    "requirements-gpu.txt": "torch==1.0 ; python_version > '3' \\\n  --hash=sha256:aa \\\n  --hash=sha256:bb\n",
    "dev_requirements.in": "torch == 1.0\n",
}


@pytest.mark.parametrize("name", LOCKS)
def test_every_kind_of_file_is_read(scan, name):
    report = scan(LOCKS[name], name=name)
    assert [(one.package, one.version) for one in report.findings] == [("torch", "1.0")]
    assert report.cannot_tell == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "poetry.lock",
            '[[package]]\nname = "torch"\nversion = "2.1"\n[package.source]\ntype = "git"\nurl = "https://x"\n',
        ),
        ("uv.lock", '[[package]]\nname = "torch"\nversion = "2.1"\nsource = { git = "https://x" }\n'),
        ("uv.lock", '[[package]]\nname = "torch"\nversion = "2.1"\nsource = { registry = "https://x.test/" }\n'),
        ("uv.lock", '[[package]]\nname = "torch"\nversion = "2.1"\n'),
        ("pylock.toml", '[[packages]]\nname = "torch"\nversion = "2.1"\n[packages.vcs]\nurl = "https://x"\n'),
        ("pylock.toml", '[[packages]]\nname = "torch"\nversion = "2.1"\nindex = "https://elsewhere.test/"\n'),
        ("pylock.toml", '[[packages]]\nname = "torch"\n'),
        ("pylock.toml", '[[packages]]\nversion = "1"\n'),
        ("Pipfile.lock", '{"default": {"torch": {"git": "https://x"}}}'),
        ("Pipfile.lock", '{"default": {"torch": {"version": "==2.1", "index": "private"}}}'),
        ("conda.yaml", "dependencies: [numpy=1.26]\n"),
        ("conda.yaml", "dependencies: [conda-forge::numpy==1.26=py311_0, 7]\n"),
        ("conda.yaml", "dependencies: &a [numpy]\nb: *a"),
        ("pyproject.toml", '[project]\ndependencies = ["torch>=2"]\n'),
        ("pyproject.toml", "[project]\ndependencies = 7\n"),
        ("pyproject.toml", "project = 7\n"),
        ("pyproject.toml", '[project]\ndynamic = ["dependencies"]\n'),
        ("pyproject.toml", '[project.optional-dependencies]\ngpu = ["torch>=2"]\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.11"\ntorch = "^2.1"\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\ntorch = { git = "https://x", version = "2.1" }\n'),
        ("pyproject.toml", "[tool.poetry.dependencies]\ntorch = 7\n"),
        ("setup.py", "setup(install_requires=['torch'])"),
        ("setup.cfg", "[options]\ninstall_requires =\n  torch\n"),
        ("poetry.lock", "package = 7\n"),
        ("uv.lock", "a = " + "[" * 3000),
        ("Pipfile.lock", "[" * 3000),
        ("config.json", '{"a": 1, "a": 2}'),
        ("requirements.txt", "\x00\x01\x02"),
    ],
)
def test_what_a_file_does_not_tell_does_not_pass(scan, name, text):
    report = scan(text, name=name)
    assert report.verdict is DependencyVerdict.CANNOT_TELL, report


def test_a_package_of_condas_is_looked_up_by_its_name_and_never_clear(scan):
    report = scan("dependencies: [pytorch::torch=1.0=py_0]\n", name="conda.yaml")
    assert report.verdict is DependencyVerdict.VULNERABLE
    assert "conda" in report.cannot_tell[0].reason


def test_a_lock_answers_for_the_project_beside_it(scan, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "uv.lock").write_text(LOCKS["uv.lock"].replace('"1.0"', '"2.1"'))
    assert scan('[project]\ndependencies = ["torch>=2"]\n', name="pyproject.toml").verdict is DependencyVerdict.CLEAR
    # but a list that pip reads by itself is not answered by a lock that pip does not read
    assert scan("torch>=2", name="requirements.txt").verdict is DependencyVerdict.CANNOT_TELL


def test_requirements_include_each_other_inside_of_the_folder(scan, tmp_path):
    folder = tmp_path / "model"
    (folder / "reqs").mkdir(parents=True)
    (folder / "reqs" / "base.txt").write_text("-r deep.txt\n")
    (folder / "reqs" / "deep.txt").write_text("torch==1.0\n-r base.txt\n")
    report = scan("-rreqs/base.txt\n--requirement reqs/base.txt\n-r requirements.txt\n")
    assert report.findings[0].declared_in == ("reqs/deep.txt",)
    assert report.cannot_tell == ()  # they go round in a circle, and each is read once


def test_requirements_that_include_themselves_many_times_end(tmp_path):
    (tmp_path / "a.txt").write_text("-r a.txt\n-r b.txt\n" * 50 + "torch==1.0\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n-r b.txt\n" * 50)
    assert len(declared_at(tmp_path / "a.txt").dependencies) == 1
    for n in range(40):
        (tmp_path / f"c{n}.txt").write_text(f"-r c{n + 1}.txt\n")
    assert "too deep" in declared_at(tmp_path / "c0.txt").cannot_tell[0].reason


def test_a_link_on_the_way_leads_nowhere(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.txt").write_text("the-secret==1\n")
    (tmp_path / "model" / "up").symlink_to(tmp_path)
    (tmp_path / "model" / "loop").symlink_to("loop")
    (tmp_path / "model" / "requirements.txt").write_text(
        "-r up/secret.txt\n-r loop/x.txt\n-r a\x00b.txt\n-r up/model/x\n"
    )
    declared = declared_at(tmp_path / "model")
    assert declared.dependencies == ()
    assert len(declared.cannot_tell) == 4
    assert "secret==" not in str(declared)


def test_links_and_large_files_are_not_read(tmp_path):
    (tmp_path / "requirements.txt").symlink_to("/etc/passwd")
    (tmp_path / "uv.lock").write_bytes(b"#" * ((16 << 20) + 1))
    os.mkfifo(tmp_path / "poetry.lock")
    (tmp_path / "conda.yaml").write_bytes(b"\xff\xfe")
    declared = declared_at(tmp_path)
    assert declared.dependencies == ()
    assert {one.about for one in declared.cannot_tell} == {"requirements.txt", "uv.lock", "poetry.lock", "conda.yaml"}


def test_one_file_of_any_name_is_read_as_requirements(tmp_path):
    (tmp_path / "needs.txt").write_text("torch==1.0\n")
    assert [one.name for one in declared_at(tmp_path / "needs.txt").dependencies] == ["torch"]
    with pytest.raises(OSError, match="No such file"):
        declared_at(tmp_path / "absent.txt")


@given(st.sampled_from(sorted(LOCKS)), st.text(max_size=200))
def test_any_text_in_any_file_never_crashes(tmp_path_factory, name, text):
    folder = tmp_path_factory.mktemp("noise")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, errors="surrogatepass")
    declared_at(folder)


# Alerts.


def finding(package="torch", version="1.0", name="GHSA-1", aliases=()):
    return VulnerabilityFinding(package, version, name, aliases, Severity(), "all")


def test_only_what_nobody_was_told_of_is_new():
    before = ScanReport((finding(), finding("numpy", aliases=("CVE-1",))), (), 2, NOW)
    after = ScanReport(
        (
            finding(version="1.1"),  # still there in the next version
            finding("numpy", name="CVE-1"),  # known by another name
            finding("scipy"),  # the same weakness in another package
            finding(name="GHSA-2"),
        ),
        (CannotTell("x", "y"),),
        4,
        NOW,
    )
    assert [(one.package, one.id) for one in new_findings(before, after)] == [("scipy", "GHSA-1"), ("torch", "GHSA-2")]
    assert new_findings(None, after) == after.findings
    assert new_findings(after, after) == ()


def test_an_import_streams(tmp_path):
    """What is in memory does not grow with what the documents say."""
    import tracemalloc

    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for n in range(3_000):
            said = advisory(f"PYSEC-2026-{n}", f"package-{n % 1000}", aliases=[f"CVE-2026-{n}"])
            said["details"] = "words and words " * 1_500
            said["affected"][0]["versions"] = [f"1.{v}" for v in range(40)]
            archive.writestr(f"PYSEC-2026-{n}.json", json.dumps(said))
    tracemalloc.start()
    facts = import_advisories(tmp_path / "all.zip", tmp_path / "advisories.sqlite", NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert facts.advisories == 3_000
    assert peak < 20 << 20  # of 75 MB of documents
    with open_database(tmp_path / "advisories.sqlite") as known:
        assert len(known.about("package-1")) == 3
