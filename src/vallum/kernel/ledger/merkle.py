"""RFC 6962 Merkle tree hashing, inclusion and consistency proofs.

Pure arithmetic over 32-byte SHA-256 digests; it never compares with a trusted head, its caller does. The
distinct prefixes for leaves (0x00) and nodes (0x01) answer second-preimage attacks that pass an inner node
off as an entry. Sources: RFC 6962 section 2.1; RFC 9162 sections 2.1.3 and 2.1.4.
"""

from collections.abc import Sequence
from hashlib import sha256

from vallum.kernel.errors import IntegrityError

__all__ = [
    "EMPTY_ROOT",
    "Frontier",
    "ProofMalformed",
    "consistency_path",
    "inclusion_path",
    "leaf_hash",
    "node_hash",
    "root_from_inclusion",
    "root_of",
    "verify_consistency",
]

DIGEST_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


class ProofMalformed(IntegrityError):
    """The proof cannot belong to the sizes it claims."""

    code = "proof_malformed"


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree: enough to append and to know the root, in O(log n) space.

    `peaks` are the roots of the perfect subtrees that the size's binary form names, largest first.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if size < 0 or size.bit_count() != len(peaks) or any(len(p) != DIGEST_BYTES for p in peaks):
            raise ProofMalformed(f"a tree of {size} leaves has {max(size, 0).bit_count()} peaks of 32 bytes")
        self._size = size
        self._peaks = list(peaks)

    @property
    def size(self) -> int:
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf *hash*. Amortised two hashes."""
        carried, digest = self._size, leaf
        while carried & 1:  # each trailing one bit is a perfect subtree that the new leaf completes
            digest = node_hash(self._peaks.pop(), digest)
            carried >>= 1
        self._peaks.append(digest)
        self._size += 1

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        digest = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            digest = node_hash(peak, digest)
        return digest


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (`size` >= 2)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index`, lowest level first. Costs O(n): for logs held whole in memory."""
    if not 0 <= index < len(leaves):
        raise ProofMalformed(f"leaf {index} is not in a tree of {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_path(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_path(leaves[split:], index - split), root_of(leaves[:split])]


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Recompute the tree head that `path` implies for one leaf hash; `0 <= index < size`.

    Raises ProofMalformed if the path's length does not fit. Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofMalformed(f"leaf {index} is not in a tree of {size}")
    node, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofMalformed(f"{len(path)} hashes are too many for leaf {index} of {size}")
        if node & 1 or node == last:
            digest = node_hash(sibling, digest)
            while not node & 1 and node:  # skip the levels at which the right edge has no sibling
                node >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ProofMalformed(f"{len(path)} hashes are too few for leaf {index} of {size}")
    return digest


def consistency_path(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the tree over `leaves[:old_size]` is a prefix of the tree over `leaves`. O(n)."""
    if not 0 < old_size <= len(leaves):
        raise ProofMalformed(f"no consistency proof from size {old_size} to {len(leaves)}")
    return _subproof(leaves, old_size, whole=True)


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = _split(len(leaves))
    if old_size <= split:
        return [*_subproof(leaves[:split], old_size, whole=whole), root_of(leaves[split:])]
    return [*_subproof(leaves[split:], old_size - split, whole=False), root_of(leaves[:split])]


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise IntegrityError unless the older head is a prefix of the newer one.

    Source: RFC 9162, section 2.1.4.2. An empty older tree is a prefix of anything and has an empty path.
    """
    if not 0 <= old_size <= new_size:
        raise ProofMalformed(f"a tree cannot shrink from {old_size} to {new_size}")
    if old_size in (0, new_size):
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if path or old_root != expected:
            raise IntegrityError(f"the head at size {old_size} is not a prefix of the head at {new_size}")
        return
    hashes = list(path)
    if old_size & (old_size - 1) == 0:  # a perfect older tree is its own first node
        hashes.insert(0, old_root)
    if not hashes:
        raise ProofMalformed("an empty consistency proof between different sizes")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_digest = new_digest = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofMalformed(f"{len(path)} hashes are too many from {old_size} to {new_size}")
        if node & 1 or node == last:
            old_digest, new_digest = node_hash(sibling, old_digest), node_hash(sibling, new_digest)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new_digest = node_hash(new_digest, sibling)
        node >>= 1
        last >>= 1
    if last or old_digest != old_root or new_digest != new_root:
        raise IntegrityError(f"the head at size {old_size} is not a prefix of the head at {new_size}")
