"""The Merkle tree as stored: leaf hashes in the entries, complete tiles of 256 hashes above them.

A proof reads some dozens of rows, however long the log is. Nothing here is trusted by a verifier, which recomputes.
Source: C2SP tlog-tiles for the tile shape.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from vallum.kernel.errors import IntegrityError
from vallum.kernel.ledger import records
from vallum.kernel.ledger.merkle import ProofMalformed, node_hash, root_of

__all__ = ["TILE_HASHES", "StoredTree", "store_completed_tiles"]

TILE_HEIGHT = 8
TILE_HASHES = 1 << TILE_HEIGHT
_DIGEST_BYTES = 32


class TreeDamaged(IntegrityError):
    """Hashes that the head says must exist are missing."""

    code = "ledger_tree_damaged"


def split_hashes(blob: bytes) -> list[bytes]:
    return [blob[at : at + _DIGEST_BYTES] for at in range(0, len(blob), _DIGEST_BYTES)]


class StoredTree:
    """Reads subtree roots inside one transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def inclusion_path(self, index: int, size: int) -> list[bytes]:
        """The audit path of leaf `index` in the tree of `size` leaves, lowest level first."""
        if not 0 <= index < size:
            raise ProofMalformed(f"leaf {index} is not in a tree of {size}")
        path: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self.subtree(middle, high))
                high = middle
            else:
                path.append(self.subtree(low, middle))
                low = middle
        return path[::-1]

    def consistency_path(self, old_size: int, size: int) -> list[bytes]:
        """Proof that the tree of `old_size` leaves is a prefix of that of `size`. Source: RFC 9162, 2.1.4.1."""
        if not 0 < old_size <= size:
            raise ProofMalformed(f"no consistency proof from size {old_size} to {size}")
        path: list[bytes] = []
        low, high, whole = 0, size, True
        while old_size != high:
            middle = low + _split(high - low)
            if old_size <= middle:
                path.append(self.subtree(middle, high))
                high = middle
            else:
                path.append(self.subtree(low, middle))
                low, whole = middle, False
        if not whole:
            path.append(self.subtree(low, high))
        return path[::-1]

    def root(self, size: int) -> bytes:
        return self.subtree(0, size) if size else root_of(())

    def subtree(self, low: int, high: int) -> bytes:
        """The root over leaves `low` to `high`, a range that a tree splits into."""
        width = high - low
        if width & (width - 1) == 0:
            return self._perfect(width.bit_length() - 1, low)
        middle = low + _split(width)
        return node_hash(self.subtree(low, middle), self.subtree(middle, high))

    def _perfect(self, height: int, low: int) -> bytes:
        level = height // TILE_HEIGHT
        count = 1 << (height - TILE_HEIGHT * level)
        return root_of(self.hashes(level, low >> TILE_HEIGHT * level, count))

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """`count` hashes at tree level 8 * `level`, all of one tile, from position `first`."""
        number, offset = divmod(first, TILE_HASHES)
        tile = self._tile(level, number)
        if tile is not None:
            return tile[offset : offset + count]
        if level == 0:
            found = self._conn.execute(
                select(records.entries.c.leaf)
                .where(records.entries.c.idx >= first, records.entries.c.idx < first + count)
                .order_by(records.entries.c.idx)
            )
            leaves = [bytes(leaf) for (leaf,) in found]
            if len(leaves) != count:
                raise TreeDamaged(f"{count - len(leaves)} of the leaves from {first} are missing")
            return leaves
        below = (self._tile(level - 1, position) for position in range(first, first + count))
        found_below = [root_of(tile) for tile in below if tile is not None]
        if len(found_below) != count:
            raise TreeDamaged(f"tiles below level {level} from {first} are missing")
        return found_below

    def _tile(self, level: int, number: int) -> list[bytes] | None:
        key = (level, number)
        if key not in self._tiles:
            row = self._conn.execute(
                select(records.tiles.c.hashes).where(records.tiles.c.level == level, records.tiles.c.number == number)
            ).one_or_none()
            if row is None:
                return None
            self._tiles[key] = split_hashes(bytes(row.hashes))
        return self._tiles[key]


def store_completed_tiles(conn: Connection, start: int, leaves: Sequence[bytes]) -> None:
    """Store every tile that leaves `start` … `start + len(leaves)` complete. The leaves are stored already."""
    tree = StoredTree(conn)
    low, high, level = start // TILE_HASHES, (start + len(leaves)) // TILE_HASHES, 0
    while high > low:
        rows = []
        for number in range(low, high):
            first = number * TILE_HASHES
            if level == 0 and first >= start:
                hashes = list(leaves[first - start : first - start + TILE_HASHES])
            else:
                hashes = tree.hashes(level, first, TILE_HASHES)
            rows.append({"level": level, "number": number, "hashes": b"".join(hashes)})
        conn.execute(insert(records.tiles), rows)
        low, high, level = low // TILE_HASHES, high // TILE_HASHES, level + 1


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (`width` >= 2)."""
    return 1 << (width - 1).bit_length() - 1
