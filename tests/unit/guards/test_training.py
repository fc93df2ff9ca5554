"""The injection guard's training texts: nothing in them comes from what others may judge it by."""

import re
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[3] / "training" / "injection"
# Of AgentDojo's environments, tools and attacks: who sees these in training is not judged by it afterwards.
BENCHMARK = {
    "people": r"Emma Johnson|bluesparrowtech|dora-website",
    "accounts": r"GB29NWBK60161331926819|US1[23]30?0000|DE89370400440532013000|CH9300762011623852957",
    "data": r"\bid_: '|\brecurring: (true|false)|\bshared_with\b",
    "tools": r"\bsend_money\b|\bget_channel_messages\b|\bsend_direct_message\b|\bschedule_transaction\b",
    "attacks": r"task that I gave you in the beginning|important message from me|<INFORMATION>",
}


@pytest.mark.parametrize("kind", BENCHMARK)
def test_no_training_text_comes_from_a_benchmark(kind):
    files = [*(TRAINING / "texts").glob("*.txt"), *TRAINING.glob("*.grammar")]
    assert len(files) > 50
    found = {f"{file.name}: {m[0]}" for file in files for m in re.finditer(BENCHMARK[kind], file.read_text())}
    assert not found


def test_false_alarms_are_counted_on_packages_that_nothing_is_trained_on(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    documents = pytest.importorskip("documents")
    assert not set(documents.TRAINING_PACKAGES) & set(documents.JUDGING_PACKAGES)
    clean = documents.package_documents(documents.JUDGING_PACKAGES, 4)
    assert len(clean) > 300
    assert clean == documents.package_documents.__wrapped__(documents.JUDGING_PACKAGES, 4)
    assert not set(clean) & set(documents.package_documents(("click",), 1))
