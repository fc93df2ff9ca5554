"""The published example key, then the attacker's edits: each is refused by name."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import IntegrityError
from vallum.kernel.ledger.note import (
    Checkpoint,
    NoteMalformed,
    NoteSigner,
    NoteVerifier,
    UntrustedNote,
    parse_checkpoint,
    sign_note,
    verify_note,
)

SIGNER = NoteSigner("example.org/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HEAD = Checkpoint("example.org/log", 7, bytes(range(32)))
NOTE = sign_note(HEAD.render(), [SIGNER])

# The example of Go's golang.org/x/mod/sumdb/note, an independent implementation of the format.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_signed_by_another_implementation_verifies():
    text = verify_note(GO_NOTE.encode(), [NoteVerifier.parse(GO_VKEY)])
    assert text.endswith("your problem is.\n")


def test_a_checkpoint_makes_the_round_trip():
    assert parse_checkpoint(verify_note(NOTE, [SIGNER.verifier])) == HEAD
    assert NoteVerifier.parse(SIGNER.verifier.render()).render() == SIGNER.verifier.render()


def test_a_stranger_s_signature_is_not_enough():
    stranger = NoteSigner("example.org/log", Ed25519PrivateKey.generate())
    with pytest.raises(UntrustedNote):
        verify_note(sign_note(HEAD.render(), [stranger]), [SIGNER.verifier])


def test_a_witness_may_sign_beside_the_log():
    witness = NoteSigner("witness.example", Ed25519PrivateKey.generate())
    both = sign_note(HEAD.render(), [SIGNER, witness])
    assert verify_note(both, [SIGNER.verifier]) == verify_note(both, [witness.verifier]) == HEAD.render()


def test_no_single_flipped_bit_goes_unseen():
    for bit in range(len(NOTE) * 8):
        altered = (int.from_bytes(NOTE, "big") ^ 1 << bit).to_bytes(len(NOTE), "big")
        with pytest.raises(IntegrityError):
            verify_note(altered, [SIGNER.verifier])


@given(st.binary(max_size=300))
def test_noise_is_refused_and_never_crashes(noise):
    with pytest.raises(IntegrityError):
        verify_note(noise, [SIGNER.verifier])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n",
        "log\n1\n",
        "\n1\n" + "A" * 43 + "=\n",
        "log\n-1\n" + "A" * 43 + "=\n",
        "log\n01\n" + "A" * 43 + "=\n",
        "log\n²\n" + "A" * 43 + "=\n",
        "log\n1\nAAAA\n",
        "log\n9223372036854775808\n" + "A" * 43 + "=\n",
        "log\n1\n" + "A" * 42 + "B=\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_malformed(text):
    with pytest.raises(NoteMalformed):
        parse_checkpoint(text)


def test_a_verifier_key_whose_id_belongs_to_another_name_is_refused():
    with pytest.raises(NoteMalformed, match="does not belong"):
        NoteVerifier.parse(SIGNER.verifier.render().replace("example.org", "evil.org"))


def test_the_private_key_does_not_show():
    assert repr(SIGNER) == "NoteSigner('example.org/log')"
