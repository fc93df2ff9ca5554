"""Exports of advisories as OSV publishes them, small."""

import json
import zipfile


def advisory(name="GHSA-aaaa-bbbb-cccc", package="torch", fixed="2.0", modified="2026-11-20T01:02:03Z"):
    return {
        "schema_version": "1.7.3",
        "id": name,
        "modified": modified,
        "published": "2024-01-01T00:00:00Z",
        "aliases": [],
        "summary": "A weakness",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
                "versions": [],
            }
        ],
    }


def export(file, *documents):
    with zipfile.ZipFile(file, "w") as archive:
        for one in documents:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
    return file
