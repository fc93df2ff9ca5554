"""Fields encrypted by themselves: a key for each column of a data set, wrapped by the data set's key for its class.

A reader who may have one column is handed that column's cipher and can open nothing else. Documented, with the
formats, in docs/data-privacy.md.
"""

from vallum.data.fields.cipher import BATCH_FIELDS, ColumnCipher, SealedBatch
from vallum.data.fields.keys import ClassKey, ColumnKey, FieldKeys, Sealer
from vallum.data.fields.place import ColumnPlace

__all__ = [
    "BATCH_FIELDS",
    "ClassKey",
    "ColumnCipher",
    "ColumnKey",
    "ColumnPlace",
    "FieldKeys",
    "SealedBatch",
    "Sealer",
]
