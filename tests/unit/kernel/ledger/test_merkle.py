"""Published vectors, then the laws: every proof verifies, and no altered one does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import IntegrityError
from vallum.kernel.ledger import merkle

# The eight-leaf tree used by the Certificate Transparency implementations as a reference.
LEAVES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_published_tree_heads():
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    assert [merkle.root_of(hashes[: n + 1]).hex() for n in range(8)] == ROOTS


def test_an_empty_tree_is_the_hash_of_nothing():
    assert merkle.Frontier().root() == merkle.EMPTY_ROOT


trees = st.lists(st.binary(max_size=8), min_size=1, max_size=70).map(
    lambda entries: [merkle.leaf_hash(e) for e in entries]
)


@given(trees, st.data())
def test_inclusion_holds_and_any_flipped_bit_changes_the_head(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle.root_of(leaves), merkle.inclusion_path(leaves, index)
    assert merkle.root_from_inclusion(leaves[index], index, len(leaves), path) == root
    if path:
        which, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
        path[which] = (int.from_bytes(path[which], "big") ^ 1 << bit).to_bytes(32, "big")
        assert merkle.root_from_inclusion(leaves[index], index, len(leaves), path) != root


@given(trees, st.data())
def test_consistency_holds_and_a_rewritten_past_is_refused(leaves, data):
    old_size = data.draw(st.integers(1, len(leaves)))
    old_root, new_root = merkle.root_of(leaves[:old_size]), merkle.root_of(leaves)
    path = merkle.consistency_path(leaves, old_size)
    merkle.verify_consistency(old_size, old_root, len(leaves), new_root, path)
    other = [merkle.leaf_hash(b"rewritten"), *leaves[1:]]
    if other[:old_size] != leaves[:old_size]:
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(old_size, merkle.root_of(other[:old_size]), len(leaves), new_root, path)


@given(trees, st.integers(0, 69), st.integers(-2, 2))
def test_a_path_of_the_wrong_length_is_malformed(leaves, index, change):
    index %= len(leaves)
    path = merkle.inclusion_path(leaves, index)
    wrong = path[:change] if change < 0 else path + [bytes(32)] * change
    if len(wrong) != len(path):
        with pytest.raises(merkle.ProofMalformed):
            merkle.root_from_inclusion(leaves[index], index, len(leaves), wrong)


@given(trees)
def test_a_frontier_resumes_from_its_peaks(leaves):
    half = len(leaves) // 2
    first = merkle.Frontier()
    for leaf in leaves[:half]:
        first.append(leaf)
    resumed = merkle.Frontier(first.size, first.peaks)
    for leaf in leaves[half:]:
        resumed.append(leaf)
    assert resumed.root() == merkle.root_of(leaves)


@pytest.mark.parametrize(("size", "peaks"), [(1, []), (2, [bytes(32)] * 2), (1, [b"short"]), (-1, [])])
def test_a_frontier_that_does_not_fit_its_size_is_refused(size, peaks):
    with pytest.raises(merkle.ProofMalformed):
        merkle.Frontier(size, peaks)
