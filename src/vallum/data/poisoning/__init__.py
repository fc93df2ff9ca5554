"""Rows that somebody, or an accident, put there to teach a model what is wrong. Suspects, with score and reason.

A suspect is for quarantine and a steward's eyes, not proof. What is answered: label errors and flips, triggers in
tables, images and text, floods of near-duplicates, sources that stand out, instructions inside documents and
fine-tuning examples. What is not: poison that changes neither a label nor anything that rows have in common.
"""

from vallum.data.poisoning.disagreement import disagreement
from vallum.data.poisoning.duplicates import near_duplicates
from vallum.data.poisoning.instructions import find_instructions, find_instructions_in_examples
from vallum.data.poisoning.labels import find_mislabelled, find_triggers
from vallum.data.poisoning.search import ABOVE_NEXT, MOVED, Outcome, Patch, judge_patches, search_patch
from vallum.data.poisoning.sources import find_outlier_sources
from vallum.data.poisoning.suspects import Suspect, SuspectKind, merge
from vallum.data.poisoning.texts import find_mislabelled_texts
from vallum.data.poisoning.tokens import find_token_triggers
from vallum.data.poisoning.values import find_value_triggers

__all__ = [
    "ABOVE_NEXT",
    "MOVED",
    "Outcome",
    "Patch",
    "Suspect",
    "SuspectKind",
    "disagreement",
    "find_instructions",
    "find_instructions_in_examples",
    "find_mislabelled",
    "find_mislabelled_texts",
    "find_outlier_sources",
    "find_token_triggers",
    "find_triggers",
    "find_value_triggers",
    "judge_patches",
    "merge",
    "near_duplicates",
    "search_patch",
]
