"""The root key in an HSM: SoftHSM2, which is one in software, through its real PKCS#11 module."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pkcs11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vallum.kernel.errors import Conflict
from vallum.kernel.keys import Keyring, Pkcs11Root, Purpose, RootKeyRefused, SealBroken

PIN = "9876"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """Tokens of this module's own; PKCS#11 modules read their configuration once a process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    found = [path for path in MODULES if os.path.exists(path)]
    assert found, "install softhsm2: the tests speak to it"
    yield found[0]
    del os.environ["SOFTHSM2_CONF"]


@pytest.fixture
def token(module, request):
    """A fresh token; slots are found anew."""
    label = f"t{abs(hash(request.node.nodeid)) % 10**9}"
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    pkcs11.lib(module).reinitialize()
    return label


@pytest.fixture
def root(module, token):
    made = Pkcs11Root.create(module, token, PIN, "vallum")
    yield made
    made.close()


def test_what_is_wrapped_unwraps_after_a_restart(module, token, root):
    wrapped = root.wrap(b"k" * 32, b"context")
    assert b"k" * 8 not in wrapped
    again = Pkcs11Root(module, token, PIN, "vallum")
    assert again.unwrap(wrapped, b"context") == b"k" * 32
    again.close()


def test_every_wrapping_differs_and_is_bound_to_its_context(root):
    first, second = root.wrap(b"k" * 32, b"context"), root.wrap(b"k" * 32, b"context")
    assert first != second
    with pytest.raises(SealBroken):
        root.unwrap(first, b"another context")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_any_changed_byte_is_refused(root, data):
    wrapped = root.wrap(b"k" * 32, b"context")
    place = data.draw(st.integers(0, len(wrapped) - 1))
    changed = bytearray(wrapped)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        root.unwrap(bytes(changed), b"context")


@pytest.mark.parametrize("noise", [b"", b"\2", b"\2" + b"x" * 20, b"x" * 100, b"\2" + b"x" * 100])
def test_noise_is_refused(root, noise):
    with pytest.raises(SealBroken):
        root.unwrap(noise, b"context")


def test_a_fresh_root_key_wraps_and_the_former_still_unwraps_in_every_process(module, token, root):
    other = Pkcs11Root(module, token, PIN, "vallum")
    before = root.wrap(b"a" * 32, b"")
    root.rotate()
    after = root.wrap(b"b" * 32, b"")
    assert before[1:9] != after[1:9]
    assert (other.unwrap(before, b""), other.unwrap(after, b"")) == (b"a" * 32, b"b" * 32)
    other.close()


def test_the_key_cannot_be_read_from_the_token(module, token, root):
    with pkcs11.lib(module).get_token(token_label=token).open() as session:  # the process is signed in already
        (key,) = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY})
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_it_is_made_once(module, token, root):
    with pytest.raises(Conflict):
        Pkcs11Root.create(module, token, PIN, "vallum")


def test_what_is_not_there_or_does_not_fit_is_said(module, token):
    for wrong in ((module, "no such token", PIN), (module, token, "0000"), ("/no/such/module.so", token, PIN)):
        with pytest.raises(RootKeyRefused):
            Pkcs11Root(*wrong, "vallum")
    empty = Pkcs11Root(module, token, PIN, "vallum")
    with pytest.raises(RootKeyRefused, match="no root key"):
        empty.wrap(b"k" * 32, b"")
    empty.close()


def test_too_much_is_refused(root):
    with pytest.raises(ValueError):
        root.wrap(b"k" * 5000, b"")


def test_many_threads_share_it(root):
    def round_trip(number):
        key = bytes([number]) * 32
        return root.unwrap(root.wrap(key, b"c"), b"c") == key

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(64)))


def test_a_keyring_on_an_hsm(records, root, clock):
    keyring = Keyring(records, root, clock)
    sealed = keyring.seal("default", Purpose.CONTENT, b"said in confidence", b"place")
    root.rotate()
    with records.write() as conn:
        assert keyring.rewrap(conn) >= 1
    assert Keyring(records, root, clock).open("default", Purpose.CONTENT, sealed, b"place") == b"said in confidence"
