import gzip

import pytest
from scanned_files import judged, techniques

from vallum.models.scan import Verdict, scan
from vallum.models.scan.formats.foreign_objects import ForeignObjects

_MAP = b"\xac\xed\0\x05sr\0\x11java.util.HashMap" + bytes(60)


def test_javas_objects_are_refused(tmp_path):
    assert techniques(judged(_MAP, [ForeignObjects()]), Verdict.BLOCK) == {"serialised-objects"}
    (tmp_path / "model.ser.gz").write_bytes(gzip.compress(_MAP))
    assert scan(tmp_path / "model.ser.gz").verdict is Verdict.BLOCK


@pytest.mark.parametrize("data", [_MAP[:4], _MAP[:4] + b"\x20" + bytes(9), b"\0" + _MAP])
def test_a_mark_that_no_stream_goes_on_from(data):
    assert techniques(judged(data, [ForeignObjects()]), Verdict.BLOCK) == set()
