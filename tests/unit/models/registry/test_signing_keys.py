"""Keys that sign versions: retired ones verify, revoked ones do not, edited rows sign nothing, tokens keep theirs."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from registered_models import tensors
from sqlalchemy import select, update

from vallum.compose import Platform, prepare
from vallum.kernel.clock import format_time
from vallum.kernel.errors import Conflict, IntegrityError, Invalid, NotFound
from vallum.kernel.gate import AccessDenied
from vallum.kernel.keys import SealBroken
from vallum.models.attestations import verify_envelope
from vallum.models.registry import records as table
from vallum.models.registry.signing_keys import KeyPutBack
from vallum.models.registry.uploads import manifest_of, stored_files
from vallum.models.signing import SignatureRefused, TrustedKey, TrustPolicy, sign_model, verify_model
from vallum.models.signing.bundle import render_bundle
from vallum.models.signing.token import SigningToken, TokenKey, TokenRefused
from vallum.settings import InvalidSettings, load_settings

HASH = SHA256()
WHY = "the backup of that day was stolen"
FILES = {"model.safetensors": tensors(10_000)}


@pytest.fixture
def keys(perform, security):
    return lambda: perform("list_model_signing_keys", security)


@pytest.fixture
def security(person_of):
    return person_of("sam", "security")


@pytest.fixture
def rotate(perform, security):
    return lambda: perform("rotate_model_signing_key", security)


@pytest.fixture
def revoke(perform, security):
    return lambda number, since=None: perform(
        "revoke_model_signing_key", security, {"number": str(number)}, reason=WHY, since=since
    )


# One signs, former ones verify.


def test_a_fresh_key_signs_and_the_former_still_verifies(uploaded, rotate, keys, registry, tmp_path, entries):
    uploaded(FILES)
    made = rotate()
    assert (made.signer, made.state, made.custody) == ("platform:2", "signing", "sealed")
    assert uploaded(FILES).signer == "platform:2"
    assert [(key.number, key.state) for key in keys()] == [(2, "signing"), (1, "retired")]
    assert registry.checkout("churn", 1, tmp_path / "one").signer == "platform:1"
    assert registry.checkout("churn", 2, tmp_path / "two").signer == "platform:2"
    assert entries("models:key:rotate")[-1]["outcome"] == "ok"


def test_of_a_revoked_key_nothing_counts(uploaded, revoke, keys, registry, tmp_path, perform, dana, entries):
    uploaded(FILES)
    assert revoke(1).state == "revoked"
    with pytest.raises(SignatureRefused, match="platform:1, which is revoked"):
        registry.checkout("churn", 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(IntegrityError):
        perform("download_model_file", dana, {"name": "churn", "number": "1", "path": "model.safetensors"})
    assert uploaded(FILES).signer == "platform:2"  # whose place was taken at once
    registry.checkout("churn", 2, tmp_path / "two")
    assert [(key.number, key.state, key.revoked_reason) for key in keys()] == [(2, "signing", ""), (1, "revoked", WHY)]
    assert entries("models:key:revoke")[-1]["context"]["reason"] == WHY
    with pytest.raises(Conflict):
        revoke(1)


def test_what_the_ledger_recorded_before_the_theft_counts(
    uploaded, revoke, registry, tmp_path, platform, entries, sequenced
):
    uploaded(FILES)
    uploaded(FILES)
    sequenced()
    made = [one["time"] for one in entries("models:version:upload") if "digest" in one["context"]]
    revoke(1, since=made[1])
    registry.checkout("churn", 1, tmp_path / "before")
    with pytest.raises(SignatureRefused):
        registry.checkout("churn", 2, tmp_path / "after")
    with platform.records.write() as conn:  # the thief, who may write into the database, sets the time back
        conn.execute(update(table.versions).where(table.versions.c.number == 2).values(created_at=made[0]))
    with pytest.raises(SignatureRefused):
        registry.checkout("churn", 2, tmp_path / "after")


def test_a_time_that_says_nothing_is_refused(uploaded, revoke, platform):
    uploaded(FILES)
    future = format_time(platform.clock.now() + timedelta(days=1))
    for since in ("yesterday", "2026-11-01T00:00:00", "0001-01-01T00:00:00+23:59", future):
        with pytest.raises(Invalid, match="since"):
            revoke(1, since=since)
    for none in ("9", "x", "-1"):
        with pytest.raises(NotFound):
            revoke(none)


def test_two_who_rotate_at_once_make_keys_that_all_verify(rotate, keys, uploaded, registry, tmp_path):
    uploaded(FILES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: rotate(), range(4)))
    assert sum(key.state == "signing" for key in keys()) == 1
    uploaded(FILES)
    registry.checkout("churn", 2, tmp_path / "out")


def test_people_of_other_roles_touch_no_keys(perform, dana, person_of):
    for who in (dana, person_of("rita", "approver"), person_of("ada", "auditor")):
        with pytest.raises(AccessDenied):
            perform("rotate_model_signing_key", who)
        with pytest.raises(AccessDenied):
            perform("revoke_model_signing_key", who, {"number": "1"}, reason=WHY)


# Whoever writes into the database.


def forged(platform, number):
    """A row of the thief's own key, with all else as in a true one."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    t = table.signing_keys
    with platform.records.write() as conn:
        true = conn.execute(select(t).where(t.c.number == 1)).one()._mapping
        if number == 1:
            conn.execute(update(t).values(public_key=pem))
        else:
            conn.execute(t.insert().values({**true, "number": number, "public_key": pem}))
    return key


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("is_old", [False, True])
def test_a_key_that_was_put_into_the_database_signs_nothing(
    uploaded, platform, registry, tmp_path, number, is_old, keys
):
    uploaded(FILES)
    key = forged(platform, number)
    v = table.versions
    with platform.records.write() as conn:
        if is_old:
            conn.execute(update(table.signing_keys).where(table.signing_keys.c.number == number).values(state=None))
        row = conn.execute(select(v)).one()
        bundle = render_bundle(manifest_of("churn", [one.file for one in stored_files(conn, row.upload)]), key)
        conn.execute(update(v).values(bundle=bundle, signer=f"platform:{number}"))
    with pytest.raises(SealBroken):
        registry.checkout("churn", 1, tmp_path / "out")
    with pytest.raises(SealBroken):
        keys()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("column", ["revoked_at", "revoked_since", "retired_at", "custody", "created_at"])
def test_a_revocation_that_was_edited_is_seen(uploaded, revoke, platform, registry, tmp_path, column):
    uploaded(FILES)
    revoke(1)
    with platform.records.write() as conn:
        value = None if column in ("revoked_at",) else "2099-01-01T00:00:00Z"
        conn.execute(update(table.signing_keys).where(table.signing_keys.c.number == 1).values({column: value}))
    with pytest.raises(SealBroken):
        registry.checkout("churn", 1, tmp_path / "out")


@pytest.mark.parametrize("others_go", [False, True])
def test_a_revoked_key_that_is_put_back_as_it_was_counts_for_nothing(
    uploaded, revoke, platform, registry, tmp_path, keys, sequenced, begin, send, complete, others_go
):
    """Whoever may write into the database, and has a backup of it: the old row is sealed as it should be."""
    uploaded(FILES)
    t = table.signing_keys
    with platform.records.read() as conn:
        before = dict(conn.execute(select(t).where(t.c.number == 1)).one()._mapping)
    revoke(1)
    sequenced()
    with pytest.raises(SignatureRefused):
        registry.checkout("churn", 1, tmp_path / "out")
    with platform.records.write() as conn:
        conn.execute(update(t).where(t.c.number == 1).values(before))
        if others_go:  # and so the one that was put back would sign again
            conn.execute(t.delete().where(t.c.number != 1))
    for attempt in (lambda: registry.checkout("churn", 1, tmp_path / "out"), keys, lambda: registry.verify("churn", 1)):
        with pytest.raises(KeyPutBack, match="model signing key 1 is revoked by the ledger"):
            attempt()
    assert not (tmp_path / "out").exists()
    if others_go:
        intake = begin()
        for path, raw in FILES.items():
            send(intake, path, raw)
        with pytest.raises(KeyPutBack):
            complete(intake)
    fresh = Platform.open(platform.settings)  # a process that has seen nothing of it
    fresh.writer.start()
    with pytest.raises(KeyPutBack):
        fresh.control.services.models.signing_keys()
    fresh.close()
    assert revoke(1).state == "revoked"
    assert [key.state for key in keys() if key.number == 1] == ["revoked"]
    assert uploaded(FILES).signer == "platform:2"


def test_a_revocation_that_was_undone_in_its_own_transaction_revoked_nothing(uploaded, registry, platform, keys):
    uploaded(FILES)

    class Undone(Exception):
        pass

    with pytest.raises(Undone), platform.records.write() as conn:
        registry.revoke_signing_key(conn, 1, WHY, None)
        raise Undone
    assert [(key.number, key.state) for key in keys()] == [(1, "signing")]


def test_a_key_of_before_states_were_sealed_goes_on(uploaded, platform, registry, tmp_path, keys, rotate):
    uploaded(FILES)
    with platform.records.write() as conn:
        conn.execute(update(table.signing_keys).values(state=None))
    registry.checkout("churn", 1, tmp_path / "out")
    assert uploaded(FILES).signer == "platform:1"
    rotate()
    with platform.records.read() as conn:
        assert None not in conn.execute(select(table.signing_keys.c.state)).scalars().all()


# On a token.

PIN = "9876"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    found = [path for path in MODULES if os.path.exists(path)]
    assert found, "install softhsm2: the tests speak to it"
    yield found[0]
    os.environ.pop("SOFTHSM2_CONF")
    if before is not None:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def token(module, request):
    label = f"m{abs(hash(request.node.nodeid)) % 10**9}"
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    pkcs11.lib(module).reinitialize()
    return label


@pytest.fixture
def on_token(module, token, tmp_path, migrated_url, request):
    """The settings of a platform whose signing keys lie on the token."""
    (tmp_path / "pin").write_text(PIN + "\n")

    def _settings(**more):
        given = {
            "data": str(tmp_path / "data"), "records.url": migrated_url, "models.signing": "token",
            "keys.pkcs11_module": module, "keys.pkcs11_token": token, "keys.pkcs11_pin_file": str(tmp_path / "pin"),
        }  # fmt: skip
        return load_settings(None, {}, {**given, **more})

    return _settings


@pytest.fixture
def settings(request, migrated_url, tmp_path):
    """Those of the token for the tests that ask for it."""
    if "on_token" in request.fixturenames:
        curve = getattr(request.node, "callspec", None)
        more = {"models.signing_curve": curve.params["curve"]} if curve and "curve" in curve.params else {}
        return request.getfixturevalue("on_token")(**more)
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.mark.parametrize("curve", ["P-256", "P-384"])
def test_a_version_signed_on_a_token_verifies_everywhere(
    on_token, uploaded, registry, keys, tmp_path, module, token, platform, curve
):
    version = uploaded(FILES)
    (key,) = keys()
    assert (key.custody, key.state, key.signer) == ("token", "signing", version.signer)
    assert key.algorithm == {"P-256": "ecdsa-p256-sha256", "P-384": "ecdsa-p384-sha384"}[curve]
    out = tmp_path / "out"
    registry.checkout("churn", 1, out)
    (tmp_path / "churn.sig").write_bytes(registry.signature("churn", 1))
    (tmp_path / "platform.pem").write_text(key.public_key)
    verify_model(out, tmp_path / "churn.sig", TrustPolicy((TrustedKey("platform", key.public_key.encode()),)))
    with platform.records.read() as conn:  # the scan is attested by the same key
        (attested,) = registry.attestations(conn, "churn", 1)
    verify_envelope(attested.envelope, {version.signer: load_pem_public_key(key.public_key.encode())})
    with pkcs11.lib(module).get_token(token_label=token).open() as session:
        (private,) = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
        assert private[pkcs11.Attribute.EXTRACTABLE] is False
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            private[pkcs11.Attribute.VALUE]


@pytest.mark.parametrize("curve", ["P-256", "P-384"])
def test_model_signing_verifies_what_a_token_signed(module, token, tmp_path, curve):
    pytest.importorskip("model_signing")
    place = SigningToken(module, token, lambda: PIN, "models")
    _, key = place.make(curve)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(tensors(10_000))
    sign_model(model, tmp_path / "model.sig", key)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "token.pem").write_bytes(pem)
    command = ["verify", "key", str(model), "--signature", str(tmp_path / "model.sig"), "--public_key"]
    script = "from model_signing._cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *command, str(tmp_path / "token.pem")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    place.close()


def test_a_platform_moves_to_a_token_and_what_it_signed_before_verifies(on_token, migrated_url, tmp_path, keys):
    before = load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})
    prepare(before)
    opened = Platform.open(before)
    opened.writer.start()
    opened.control.services.models.signing_keys()
    opened.close()
    moved = Platform.open(on_token())
    moved.writer.start()
    registry = moved.control.services.models
    assert registry._signing_keys.current()[0] == "platform:2"
    states = [(key.custody, key.state) for key in registry.signing_keys()]
    assert states == [("token", "signing"), ("sealed", "retired")]
    moved.close()


def test_a_token_that_is_gone_signs_nothing_and_says_so(on_token, begin, send, complete, registry, tmp_path, module):
    upload = begin()
    send(upload, "a.json", b"{}")
    Path(tmp_path / "pin").write_text("0000\n")
    pkcs11.lib(module).reinitialize()  # as after a restart: nobody is signed in
    with pytest.raises(TokenRefused, match="PIN"):
        complete(upload)
    with registry._records.read() as conn:
        assert registry.versions(conn, "churn") == []
    (tmp_path / "pin").write_text(PIN)
    assert complete(upload).signer == "platform:1"  # the upload is as it was


def test_the_database_cannot_turn_a_token_key_into_another(on_token, uploaded, platform, complete, begin, send):
    uploaded(FILES)
    with platform.records.write() as conn:
        conn.execute(update(table.signing_keys).values(custody="sealed", state=None))
    upload = begin()
    send(upload, "a.json", b"{}")
    with pytest.raises((SealBroken, ValueError)):
        complete(upload)


def test_a_token_key_does_nothing_but_sign(module, token):
    place = SigningToken(module, token, lambda: PIN, "models")
    key_id, key = place.make("P-256")
    key.public_key().verify(key.sign(b"said", ec.ECDSA(HASH)), b"said", ec.ECDSA(HASH))
    for refused in (key.private_numbers, lambda: key.private_bytes(None, None, None), lambda: key.exchange(None, None)):
        with pytest.raises(Invalid):
            refused()
    place.forget(key_id)
    with pytest.raises(TokenRefused, match="does not hold"):
        key.sign(b"said", ec.ECDSA(HASH))
    place.close()
    absent = SigningToken(module, "no such token", lambda: PIN, "models")
    with pytest.raises(TokenRefused, match="no token"):
        absent.make("P-256")
    with pytest.raises(TokenRefused, match="no PKCS#11 module"):
        SigningToken("/no/such/module.so", token, lambda: PIN, "models").make("P-256")
    assert isinstance(key, TokenKey)


def test_a_token_that_nobody_names_is_said_at_once():
    with pytest.raises(InvalidSettings, match=r"models\.signing"):
        load_settings(None, {}, {"models.signing": "token"})
