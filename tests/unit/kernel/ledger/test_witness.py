"""A witness written here from the C2SP texts alone, over real HTTP; then a log that lies to it."""

import base64
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vallum.kernel.errors import IntegrityError, Invalid
from vallum.kernel.ledger.merkle import verify_consistency
from vallum.kernel.ledger.note import CosignatureVerifier, NoteVerifier, UntrustedNote, parse_checkpoint, verify_note
from vallum.kernel.ledger.publisher import Publisher
from vallum.kernel.ledger.verify import main, verify_export
from vallum.kernel.ledger.witness import NotWitnessed, Witness, WitnessPolicy, check_witnessed
from vallum.serving.witnesses import open_witnessing

NOW = 1_790_000_000


class ReferenceWitness:
    """Signs a head only if it continues the one it signed before, as tlog-witness says."""

    def __init__(self, name: str) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.verifier = CosignatureVerifier(name, self.private.public_key())
        self.size, self.root, self.asked, self.extra = 0, b"", 0, b""
        self.log: NoteVerifier | None = None
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, body = witness.add(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/w"

    @property
    def policy_line(self) -> str:
        return f"witness {self.verifier.name} {self.verifier.render()} {self.url}"

    def add(self, body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        head, _, note = body.partition(b"\n\n")
        old_line, *proof = head.decode().split("\n")
        old = int(old_line.removeprefix("old "))
        text = verify_note(note, [self.log])
        checkpoint = parse_checkpoint(text)
        if old != self.size:
            return 409, f"{self.size}\n".encode()
        if old and old != checkpoint.size:
            verify_consistency(old, self.root, checkpoint.size, checkpoint.root, [base64.b64decode(p) for p in proof])
        self.size, self.root = checkpoint.size, checkpoint.root
        signature = self.private.sign(f"cosignature/v1\ntime {NOW}\n{text}".encode())
        blob = self.verifier.key_id + NOW.to_bytes(8, "big") + signature
        return 200, self.extra + f"— {self.verifier.name} {base64.b64encode(blob).decode()}\n".encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def witnesses(ledger):
    made = [ReferenceWitness(f"w{n}.example") for n in range(3)]
    for witness in made:
        witness.log = NoteVerifier.parse(ledger.verifier_key)
    yield made
    for witness in made:
        witness.close()


@pytest.fixture
def policy_file(witnesses, tmp_path):
    lines = [w.policy_line for w in witnesses]
    names = " ".join(w.verifier.name for w in witnesses)
    file = tmp_path / "policy"
    file.write_text("# two of three\n" + "\n".join(lines) + f"\ngroup most 2 {names}\nquorum most\n")
    return file


@pytest.fixture
def publisher(ledger, records, files, tmp_path, policy_file):
    return Publisher(ledger, records, files, tmp_path / "checkpoint", open_witnessing(str(policy_file)))


def test_each_published_head_carries_the_cosignatures(
    publisher, witnesses, policy_file, files, append, make_draft, tmp_path
):
    policy = WitnessPolicy.parse(policy_file.read_text())
    for count in (3, 300, 1):
        append((make_draft(n) for n in range(count)), batch=100)
        publisher.run_once()
        note = files.get("checkpoint")
        assert check_witnessed(note, policy) == dict.fromkeys((w.verifier.name for w in witnesses), NOW)
        assert (tmp_path / "checkpoint").read_bytes() == note
    asked = witnesses[0].asked
    publisher.run_once()
    assert witnesses[0].asked == asked == 3  # nothing new, nobody is asked


def test_a_restarted_publisher_learns_what_its_witnesses_hold(
    ledger, records, files, tmp_path, policy_file, witnesses, append, make_draft
):
    for _ in range(2):
        append([make_draft()])
        Publisher(ledger, records, files, tmp_path / "checkpoint", open_witnessing(str(policy_file))).run_once()
    assert [w.size for w in witnesses] == [2, 2, 2]
    assert witnesses[0].asked == 3  # the second time it answered 409 with its size first


def test_a_witness_that_is_away_leaves_a_quorum_and_two_do_not(
    publisher, witnesses, policy_file, files, append, make_draft
):
    policy = WitnessPolicy.parse(policy_file.read_text())
    witnesses[0].close()
    append([make_draft()])
    publisher.run_once()
    assert len(check_witnessed(files.get("checkpoint"), policy)) == 2
    answering, witnesses[1].add = witnesses[1].add, lambda body: (503, b"")
    append([make_draft()])
    publisher.run_once()
    with pytest.raises(NotWitnessed, match="1 of 3"):
        check_witnessed(files.get("checkpoint"), policy)
    witnesses[1].add = answering
    publisher.run_once()  # the same size, asked again
    assert len(check_witnessed(files.get("checkpoint"), policy)) == 2


def test_a_second_history_is_not_cosigned(
    publisher, witnesses, policy_file, files, append, make_draft, records, ledger, tmp_path
):
    append(make_draft(n) for n in range(5))
    publisher.run_once()
    with records.write() as conn:
        for table in ("ledger_contents", "ledger_entries", "ledger_tiles", "ledger_head"):
            conn.exec_driver_sql(f"DELETE FROM {table}")
    append(make_draft(n + 1) for n in range(7))
    (tmp_path / "checkpoint").unlink()
    (files.root / "checkpoint").unlink()  # the forger holds our disk too; the witnesses are not on it
    publisher.run_once()
    with pytest.raises(NotWitnessed, match="0 of 3"):
        check_witnessed(files.get("checkpoint"), WitnessPolicy.parse(policy_file.read_text()))
    assert [w.size for w in witnesses] == [5, 5, 5]


@pytest.mark.parametrize(
    "answer",
    [b"", b"garbage", b"\xff\n", "— w0.example AAAA\n".encode(), "— other.example AAAAAAAAAAAA\n".encode()],
    ids=["empty", "garbage", "not text", "short", "another's"],
)
def test_a_witness_that_answers_nonsense_is_left_out(answer, publisher, witnesses, files, append, make_draft, ledger):
    witnesses[0].add = lambda body: (200, answer)
    append([make_draft()])
    publisher.run_once()
    note = files.get("checkpoint")
    assert verify_note(note, [NoteVerifier.parse(ledger.verifier_key)])
    assert note.count("— ".encode()) == 3  # ours and two


def test_a_witness_cannot_add_lines_of_others_to_the_checkpoint(publisher, witnesses, files, append, make_draft):
    witnesses[0].extra = f"— {witnesses[1].verifier.name} {base64.b64encode(bytes(76)).decode()}\n".encode()
    append([make_draft()])
    publisher.run_once()
    assert files.get("checkpoint").count("— ".encode()) == 4


def test_a_forged_cosignature_is_refused(publisher, policy_file, files, append, make_draft):
    append([make_draft()])
    publisher.run_once()
    policy = WitnessPolicy.parse(policy_file.read_text())
    note = files.get("checkpoint")
    line = note.splitlines(keepends=True)[-1]
    name, encoded = re.fullmatch(r"— (\S+) (\S+)\n", line.decode()).groups()
    blob = bytearray(base64.b64decode(encoded))
    for at in (4 + 7, 4 + 8, len(blob) - 1):  # its time, its first and its last byte
        forged = bytes(blob[:at]) + bytes([blob[at] ^ 1]) + bytes(blob[at + 1 :])
        altered = note.replace(line, f"— {name} {base64.b64encode(forged).decode()}\n".encode())
        with pytest.raises(UntrustedNote):
            check_witnessed(altered, policy)


def test_an_export_verifies_against_the_policy_offline(
    publisher, policy_file, records, ledger, append, make_draft, tmp_path, capsys
):
    append([make_draft()])
    publisher.run_once()
    append([make_draft()])  # the head has grown since the witnesses were asked
    export = tmp_path / "ledger.jsonl"
    with records.read() as conn, export.open("wb") as out:
        ledger.export(conn, out)
    checkpoint = tmp_path / "checkpoint"
    arguments = [str(export), "--witness-policy", str(policy_file)]
    assert main([*arguments, "--checkpoint", str(checkpoint)]) == 0
    assert '"witnesses": ["w0.example", "w1.example", "w2.example"]' in capsys.readouterr().out
    assert main(arguments) == 1  # the export's own head was not cosigned
    with export.open("rb") as lines, pytest.raises(IntegrityError):
        stranger = ReferenceWitness("w0.example")
        policy = WitnessPolicy((Witness("w0.example", stranger.verifier, ""),), "w0.example")
        stranger.close()
        verify_export(lines, None, checkpoint.read_bytes(), policy)


PUBLIC = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
KEY = CosignatureVerifier("a.example", PUBLIC).render()
LOG_KEY = NoteVerifier("a.example", PUBLIC).render()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "quorum"),
        (f"witness a {KEY}", "quorum"),
        (f"witness a {KEY}\nquorum b", "line 2: quorum b is not defined"),
        (f"witness a {KEY}\nwitness a {KEY}\nquorum a", "line 2: the name a is taken"),
        (f"witness a {LOG_KEY}\nquorum a", "line 1: the verifier key is not a witness's"),
        (f"witness a {KEY[:-4]}AAA=\nquorum a", "line 1"),
        (f"witness a {KEY} ftp://x\nquorum a", "line 1: a witness is asked over https"),
        (f"witness a {KEY}\ngroup g 2 a\nquorum g", "line 2: a group of 1"),
        (f"witness a {KEY}\ngroup g 0 a\nquorum g", "line 2"),
        (f"witness a {KEY}\ngroup g ² a\nquorum g", "line 2"),
        (f"witness a {KEY}\ngroup g any g\nquorum g", "line 2: g is not defined"),
        (f"witness a {KEY}\ngroup g any a\ngroup h any a\nquorum h", "line 3: a is already"),
        (f"witness a {KEY}\nquorum a\nquorum a", "line 3"),
        ("whatever", "line 1"),
        ("#" * 70_000, "at most"),
    ],
)
def test_a_wrong_policy_names_its_line(text, said):
    with pytest.raises(Invalid, match=re.escape(said)):
        WitnessPolicy.parse(text)


def test_groups_of_groups():
    keys = {n: CosignatureVerifier(f"{n}.ex", Ed25519PrivateKey.generate().public_key()).render() for n in "abcd"}
    text = "".join(f"witness {n} {key}\n" for n, key in keys.items())
    policy = WitnessPolicy.parse(text + "group x any a b\ngroup y all c d\ngroup z 2 x y\nquorum z\n")
    assert policy.satisfied_by({"a", "c", "d"})
    assert not policy.satisfied_by({"a", "b", "c"})
    assert WitnessPolicy.parse(text + "quorum none").satisfied_by(set())
