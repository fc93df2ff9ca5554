"""Folders of documents and arrays of vectors as tables; what is none is refused by name, and never unpickled."""

import pickle

import pytest

np = pytest.importorskip("numpy")
pl = pytest.importorskip("polars")

from vallum.data.readers import Staging, documents_as_parquet, vectors_as_parquet  # noqa: E402
from vallum.data.table import BadData  # noqa: E402


@pytest.fixture
def staging(tmp_path):
    with Staging(tmp_path) as made:
        yield made


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "corpus"
    (made / "b").mkdir(parents=True)
    (made / "a.md").write_text("first")
    (made / "b" / "c.TXT").write_text("zwei\nZeilen")
    (made / "image.png").write_bytes(b"\x89PNG")
    return made


def test_each_document_is_a_row(folder, staging):
    got = pl.read_parquet(documents_as_parquet(folder, staging))
    assert got.rows() == [("a.md", "first"), ("b/c.TXT", "zwei\nZeilen")]


def test_links_lead_nowhere(folder, staging, tmp_path):
    (tmp_path / "secret.txt").write_text("not of this corpus")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "all").symlink_to(tmp_path)
    got = pl.read_parquet(documents_as_parquet(folder, staging))
    assert "not of this corpus" not in got.get_column("text").to_list()


def test_a_document_that_is_no_text_is_named(folder, staging):
    (folder / "b" / "d.txt").write_bytes(b"ab\xff")
    with pytest.raises(BadData, match=r"b/d.txt: is not UTF-8 at byte 2"):
        documents_as_parquet(folder, staging)


def test_a_folder_without_documents_is_said_so(tmp_path, staging):
    (tmp_path / "none").mkdir()
    with pytest.raises(BadData, match="nothing in it"):
        documents_as_parquet(tmp_path / "none", staging)


def test_each_vector_is_a_row(tmp_path, staging):
    array = np.arange(12_000 * 3, dtype=np.float64).reshape(-1, 3)
    np.save(tmp_path / "v.npy", array)
    got = pl.read_parquet(vectors_as_parquet(tmp_path / "v.npy", staging))
    assert got.get_column("row").to_list() == list(range(12_000))
    assert got.get_column("vector")[11_999].to_list() == [35997.0, 35998.0, 35999.0]


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda f: np.save(f, np.zeros(4)), "a row of numbers"),
        (lambda f: np.save(f, np.zeros((2, 2), "U3")), "a row of numbers"),
        (lambda f: np.save(f, np.array([[1.0, 2.0], [np.nan, 1.0]])), "row 2, column 'vector': is not finite"),
        (lambda f: np.save(f, np.array([[Bomb()]], dtype=object)), "is no array of numbers"),
        (lambda f: f.write(pickle.dumps(Bomb())), "is no array of numbers"),
        (lambda f: f.write(b"\x93NUMPY\x01\x00"), "is no array of numbers"),
        (lambda f: f.write(b""), "is no array of numbers"),
    ],
)
def test_what_is_no_array_of_vectors_is_refused(tmp_path, staging, make, why):
    with (tmp_path / "v.npy").open("wb") as file:
        make(file)
    with pytest.raises(BadData, match=why):
        vectors_as_parquet(tmp_path / "v.npy", staging)
