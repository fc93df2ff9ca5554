"""The model card: what the model is for, what it was made of, how it does, and what it cannot do."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

__all__ = ["render_card"]

_INTRODUCTION = """\
# Injection guard, model {version}

Logistic regression on hashed n-grams of words and letters. Two heads weigh what users write (the whole text; windows of
it), one what tools and searches return (windows; and sentences, lines and cells). int8 weights in safetensors, signed
(`manifest`), made by `make guards`. A score of 0.5 is the threshold in every channel; it was fixed on development data.

**Meant for** flagging prompt injection and jailbreaks in the texts of a request, as one of several defences.
**Not meant for** judging people, nor as the only thing between untrusted text and a powerful tool.

**Made of** labelled texts under open licences (listed in the data's own README; none of their text is here), texts
written for it (`training/injection/texts`), texts generated from grammars (`training/injection/*.grammar`), and, as
clean documents, docstrings, code, settings, licences and descriptions of the packages that the training has installed.
Documents come clean and injected in pairs. One in seven of the written documents and orders, and one in five of the
packages, are kept back from the head that weighs documents: what is made of its logits is fitted on them. `judged`
texts are by authors who saw neither. One half of them fixed the thresholds and showed which kinds of texts were still
to be written, so its figures flatter; the other half was only measured. It is small: read its figures with their
intervals. `doc_plain`, `doc_buried` and `doc_hard` came with model 8, by two more authors: ordinary documents, orders
mostly without any word that gives them away, and harmless documents of which most speak of injections and quote some.
Model 7 flagged 0, 62 and 57 % of their test half.

**Tried and left out.** A transformer of two layers on pretrained word pieces, trained for one pass of the same texts
to judge what is near the threshold: it parted the judged development texts worse (area under the curve 0.940 for
users' texts and 0.716 for documents, where model 3 has 0.975 and 0.941). Clusters of words with like meaning, line
breaks as tokens and four times the weights changed nothing that could be told from chance. For documents, with whole
families of documents and of orders held out: a head of their own for sentences, lines and cells found fewer orders at
the same false alarms than the head of the windows does on them; so did training that head on both; a regularisation
six times as strong, and other weights of a document's length and of the rest of it, changed nothing that could be
told from chance. More windows of clean packages, all or the worst of each, took false alarms from technical documents
and brought as many on prose, and orders in documents unlike them were found less; users' prompts, questions and
jailbreaks put into documents as orders found no more of BIPIA's. A regression or boosted trees over seventeen measures
of a document, in place of the few that count now, found no more orders at the same false alarms.

**Reports and asides** (`texts/reports*`, `texts/asides*`) are new in model 8: 1,595 documents of many hands, and 3,060
orders in the voice of what they stand in. They count for little (`_REPORT_TIMES`, `_ASIDE_PAIRS`): with more of them
judged documents were parted better, and orders of BIPIA, held out, found less. As they count now, at 2 % of
packages' excerpts flagged and BIPIA held out, 53 % of its orders are found (57 % without them), 81 % of `doc_buried`'s
development half (78 %), and 45 % of `doc_hard`'s are flagged (70 %).

**What is strange in a document** counts since model 7: a sentence whose words stand nowhere else in it, where it reads
harmless. With BIPIA and the texts kept back held out, at 2 % false alarms on packages, written, given and judged
documents together (judged ones for half), a head of the same texts finds 55 % of their orders with it (mean of the
four), 50 % without.

**False alarms aimed at** (`FALSE_ALARMS`) were made stricter after model 3's test half had shown too many; of
documents they are 0.4 % of each kind of ordinary ones: given, `doc_plain`, packages kept back. Before that choice the
test half and 952 documents of a Debian system were seen at 0.6, 0.8 and 1.5 %, where more orders were found and 2.6,
2.8 and 4.0 % of the latter flagged. Harmless
texts are also shown disguised, in every reading that the guard makes of them: of a reversed sentence, or of words run
together, some say odd things, and the worst reading counts. Clean documents are shown in their readings too since
model 6: more than a quarter of its predecessor's false alarms on manuals and READMEs came from those alone. So are
the figures for documents, which count the worst reading. How often a disguise alone accuses is tested on the short
texts of both halves, so the test half had a say in what was still to be trained. Names, data formats and sentences of
AgentDojo, by which others may judge the model, were taken out of the training texts.

**Known limits.** It reads words. An order in a wording or language unlike anything it has seen goes by; a harmless
text full of such words may not. An off-topic request in a document is found only where its words give it away, and
texts about injections raise false alarms when they quote some. Who knows a document and writes an order in its words
makes the order less strange. Images and audio are not read. Most texts are English, German, French and Spanish; others
are fewer.
"""


def render_card(version: str, report: Mapping[str, Any], held_out: Mapping[str, Any]) -> str:
    parts = [_INTRODUCTION.format(version=version)]
    for half in ("development", "test"):
        parts.append(_table_with_intervals(f"Judged texts, {half} half: share flagged", report[f"judged {half}"]))
    title = "Clean documents of packages that no training text comes from: share flagged"
    parts.append(_table_with_intervals(title, report["packages"]))
    if held_out:
        lines = [
            "## Held out of training, one family at a time, on the texts of the model named",
            "",
            "| family | model | share | texts |",
            "|---|---|---|---|",
        ]
        for name, found in held_out.items():
            shares = {what: figures for what, figures in found.items() if what != "model"}
            lines += [
                f"| {name}: {what} | {found['model']} | {share:.3f} | {count} |"
                for what, (share, count) in shares.items()
            ]
        parts.append("\n".join(lines) + "\n")
    for kind, title in (("user", "from users"), ("data", "from tools and searches")):
        parts.append(_table(f"Development rows {title}, by source (`:1` attacks, `:0` harmless)", report[kind]))
    return "\n".join(parts)


def _table_with_intervals(title: str, rows: Mapping[str, tuple[float, int]]) -> str:
    lines = [f"## {title}", "", "| texts | share | 95 % interval | number |", "|---|---|---|---|"]
    for name, (share, count) in rows.items():
        low, high = _interval(share, count)
        lines.append(f"| {name} | {share:.3f} | {low:.2f} to {high:.2f} | {count} |")
    return "\n".join(lines) + "\n"


def _interval(share: float, count: int) -> tuple[float, float]:
    """Of a share seen in so many texts, Wilson's interval for 95 %."""
    shrink = 1 + _Z**2 / count
    middle = (share + _Z**2 / (2 * count)) / shrink
    reach = _Z * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    return max(0.0, middle - reach), min(1.0, middle + reach)


_Z = 1.96


def _table(title: str, rows: Mapping[str, tuple[float, int]]) -> str:
    lines = [f"## {title}", "", "| texts | share | number |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {share:.3f} | {count} |" for name, (share, count) in rows.items())]) + "\n"
