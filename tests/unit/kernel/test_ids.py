import pytest

from vallum.kernel.ids import new_id


def test_an_id_carries_its_kind_and_is_never_repeated():
    ids = {new_id("ent") for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(i.startswith("ent_") and len(i) == 30 for i in ids)


@pytest.mark.parametrize("kind", ["", "E", "ENT", "en_t", "toolongkind", "é" * 3])
def test_a_kind_that_would_confuse_the_id_is_refused(kind):
    with pytest.raises(ValueError, match="id kind"):
        new_id(kind)
