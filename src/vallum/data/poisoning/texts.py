"""Texts whose label their words do not support.

Texts are weighed words (TF-IDF), brought down to a few hundred directions in which words go together (latent semantic
analysis), and then judged as rows of a table. Needs the extra `poisoning`.
"""

from collections.abc import Sequence

from vallum.data.poisoning.labels import find_mislabelled
from vallum.data.poisoning.suspects import Suspect
from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["find_mislabelled_texts"]

_MAX_CHARS = 20_000  # read of one text: a longer one says more of the same
_MAX_WORDS = 30_000  # different ones
_DIRECTIONS = 150
_WORD = r"\w+"


def find_mislabelled_texts(texts: Sequence[str], labels: Sequence[object], *, seed: int) -> list[Suspect]:
    """Texts whose label is less supported by their words than another, the surest first.

    Raises Invalid unless there are two labels or more, one for each of 20 texts or more, in which some words repeat.
    """
    try:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as e:
        raise Unavailable("looking for poisoned texts needs scikit-learn: install the extra vallum[poisoning]") from e
    if len(texts) != len(labels):
        raise Invalid("looking for wrong labels takes one label for each text")
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=_MAX_WORDS, token_pattern=_WORD)
    try:
        weighed = words.fit_transform([text[:_MAX_CHARS] for text in texts])
    except ValueError as e:  # no word is in two texts
        raise Invalid("the texts have no words in common to tell their labels by") from e
    directions = min(_DIRECTIONS, weighed.shape[1] - 1, len(texts) - 1)
    if directions < 2:
        raise Invalid("the texts have too few words in common to tell their labels by")
    features = TruncatedSVD(directions, random_state=seed).fit_transform(weighed)
    return find_mislabelled(features, labels, seed=seed)
