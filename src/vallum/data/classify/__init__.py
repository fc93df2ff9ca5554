"""What is in a column or a text: personal, health, financial, credential and special-category data, and its class.

Evidence is what a column is called and what stands in it. The rules are those of `vallum.guards`, and a few more for
words that tell of health and of GDPR article 9. Names and free prose need a recogniser (`others`).
"""

from vallum.data.classify.columns import ColumnClassifier, ColumnReport, Evidence
from vallum.data.classify.kinds import CONTROLS, Category, Control, category_of, class_of, controls_of, highest
from vallum.data.classify.masking import mask_spans
from vallum.data.classify.names import kinds_named
from vallum.data.classify.sampling import detection_probability, missed_at_most, sample_size
from vallum.data.classify.spans import SpanClassifier

__all__ = [
    "CONTROLS",
    "Category",
    "ColumnClassifier",
    "ColumnReport",
    "Control",
    "Evidence",
    "SpanClassifier",
    "category_of",
    "class_of",
    "controls_of",
    "detection_probability",
    "highest",
    "kinds_named",
    "mask_spans",
    "missed_at_most",
    "sample_size",
]
