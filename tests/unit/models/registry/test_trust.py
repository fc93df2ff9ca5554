"""Whose signatures count is what one file says, whole or not at all."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vallum.kernel.errors import Invalid
from vallum.models.registry import load_trust


@pytest.fixture
def key(tmp_path):
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "ci.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_nobody_without_a_file():
    trust = load_trust(None)
    assert (trust.keys, trust.certificates) == ((), ())


def test_keys_are_named(tmp_path, key):
    (tmp_path / "signers.toml").write_text('[[keys]]\nname = "ci"\npublic_key_file = "ci.pem"\n')
    (trusted,) = load_trust(tmp_path / "signers.toml").keys
    assert trusted.name == "ci"
    assert trusted.pem.startswith(b"-----BEGIN PUBLIC KEY")


@pytest.mark.parametrize(
    "text",
    [
        "[[keys]",
        '[[keys]]\nname = "ci"\n',
        '[[keys]]\nname = "ci"\npublic_key_file = "absent.pem"\n',
        '[[keys]]\nname = "platform:1"\npublic_key_file = "ci.pem"\n',
        '[[keys]]\nname = ""\npublic_key_file = "ci.pem"\n',
        '[[keys]]\nname = "ci"\npublic_key_file = "ci.pem"\n[[keys]]\nname = "ci"\npublic_key_file = "ci.pem"\n',
        "everybody = true\n",
        '[[certificates]]\nidentity = "x"\nroots_file = "ci.pem"\n',
    ],
)
def test_what_is_unclear_trusts_nobody(tmp_path, key, text):
    (tmp_path / "signers.toml").write_text(text)
    with pytest.raises(Invalid, match="trusted_signers_file"):
        load_trust(tmp_path / "signers.toml")


def test_a_file_that_is_not_there_is_no_empty_one(tmp_path):
    with pytest.raises(Invalid, match="cannot be read"):
        load_trust(tmp_path / "absent.toml")
