"""The figures of an evaluation beside their definitions."""

import random
import xml.etree.ElementTree as ET

import pytest

from vallum.guards.evaluation import evaluate
from vallum.guards.plot import render_plot
from vallum.kernel.errors import Invalid

CHANCE = random.Random(1)
SCORES = [round(CHANCE.betavariate(2, 5), 2) for _ in range(400)] + [
    round(CHANCE.betavariate(5, 2), 2) for _ in range(150)
]
LABELS = [0] * 400 + [1] * 150


def test_the_area_is_the_chance_that_an_attack_ranks_higher():
    pairs = [(a > h) + 0.5 * (a == h) for a in SCORES[400:] for h in SCORES[:400]]
    assert evaluate(SCORES, LABELS).auc == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)


def test_recall_is_counted_above_a_score_that_few_harmless_exceed():
    result = evaluate(SCORES, LABELS, 0.5)
    harmless = sorted(SCORES[:400])
    for rate, recall in result.recall_at.items():
        thresholds = [t for t in sorted(set(SCORES)) if sum(h > t for h in harmless) <= float(rate) * 400]
        assert recall == pytest.approx(sum(a > thresholds[0] for a in SCORES[400:]) / 150, abs=1e-3)
    assert result.false_alarms == pytest.approx(sum(h >= 0.5 for h in harmless) / 400, abs=1e-3)
    assert [sum(bins) for bins in result.histogram] == [400, 150]


def test_one_kind_of_text_is_no_evaluation():
    with pytest.raises(Invalid, match="label 0 and texts with label 1"):
        evaluate([0.1, 0.2], [0, 0])


def test_the_plot_is_svg_that_holds_no_text_of_others():
    root = ET.fromstring(render_plot(SCORES, LABELS))
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}rect")) == 41
    assert root.find(".//{*}polyline") is not None
