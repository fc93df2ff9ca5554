"""Words that tell of health and of GDPR article 9: what a number's form cannot show.

Statements, not topics, as far as a pattern can tell: a label with its value ("religion: …"), a person with a
condition ("diagnosed with …"), a medicine by the stem its international name ends in (WHO, The use of stems in the
selection of INN, 2018), a code with its own form (rsIDs of gene variants). A lexicon finds what is in it: recall on
prose is that of a lexicon, and the figures for structured kinds do not speak for it.
"""

from vallum.guards.expressions import BOUNDARY, Expression, choice, letters, literal, many, maybe, sequence
from vallum.guards.patterns import Rule, RuleGuard

__all__ = ["SENSITIVE_RULES", "build_sensitive_guard"]

NAME = "sensitive"
VERSION = "1"

_CONDITIONS = (
    "adhd", "aids", "alcoholism", "alzheimer's", "anaemia", "anemia", "anorexia", "anxiety disorder", "arthritis",
    "asthma", "autism", "bipolar disorder", "breast cancer", "bulimia", "cancer", "chlamydia", "cirrhosis", "copd",
    "crohn's disease", "cystic fibrosis", "dementia", "depression", "diabetes", "eczema", "endometriosis", "epilepsy",
    "fibromyalgia", "gonorrhea", "gonorrhoea", "heart failure", "hepatitis", "hiv", "hypertension", "hypothyroidism",
    "kidney failure", "leukaemia", "leukemia", "lupus", "lymphoma", "melanoma", "migraine", "multiple sclerosis",
    "obesity", "osteoporosis", "parkinson's", "pneumonia", "psoriasis", "ptsd", "schizophrenia", "sickle cell",
    "stroke", "syphilis", "tuberculosis", "ulcerative colitis",
)  # fmt: skip
_STATEMENTS = (
    "diagnosed with", "suffers from", "suffering from", "treated for", "history of", "tested positive for",
    "patient has", "living with", "hospitalised for", "hospitalized for", "diagnosis:", "condition:",
    "medical history:",
)  # fmt: skip
_STEMS = (
    "mab", "statin", "prazole", "pril", "sartan", "cillin", "mycin", "floxacin", "azepam", "azolam", "oxetine",
    "olol", "dipine", "gliptin", "glutide", "gliflozin", "tidine", "triptan", "vudine", "navir", "tegravir", "ciclovir",
    "azine", "apine", "peridone", "lukast", "parin", "xaban", "formin",
)  # fmt: skip
_NO_MEDICINE = frozenset({"bromazine", "magazine", "april", "benzine", "stairway", "trampoline", "organzine"})
_RELIGIONS = (
    "agnostic", "atheist", "baptist", "buddhist", "catholic", "christian", "hindu", "jewish", "lutheran", "methodist",
    "mormon", "muslim", "orthodox", "pagan", "protestant", "shia", "sikh", "sunni", "taoist",
)  # fmt: skip
_ORIENTATIONS = ("asexual", "bisexual", "gay", "heterosexual", "homosexual", "lesbian", "pansexual", "queer")
_VALUE = sequence(letters("A-Za-z"), many("A-Za-z' -", 1, 40))


def _folded(words: tuple[str, ...]) -> Expression:
    return choice(*(literal(word, folded=True) for word in words))


def _behind(kind: str, words: tuple[str, ...]) -> Rule:
    """A field of a form: the word, a colon, and what was filled in; `race was` and `union of` are prose."""
    gap = many(" ", 0, 2)
    return Rule(kind, sequence(BOUNDARY, _folded(words), gap, letters(":="), gap, _VALUE, BOUNDARY))


def _medicine(candidate: str) -> tuple[int, int] | int:
    return len(candidate) if candidate.lower() in _NO_MEDICINE else (0, len(candidate))


SENSITIVE_RULES = (
    Rule(
        "condition",
        sequence(
            BOUNDARY,
            _folded(_STATEMENTS),
            many(" \\t", 1, 2),
            many("A-Za-z0-9 ", 0, 24),
            _folded(_CONDITIONS),
            BOUNDARY,
        ),
    ),
    Rule(
        "condition",
        sequence(BOUNDARY, _folded(("hiv", "covid")), letters(" -"), _folded(("positive", "negative")), BOUNDARY),
    ),
    Rule("medication", sequence(BOUNDARY, many("A-Za-z", 3, 20), _folded(_STEMS), BOUNDARY), _medicine),
    _behind("religion", ("religion", "faith", "denomination", "konfession")),
    Rule(
        "religion",
        sequence(
            BOUNDARY,
            _folded(("is a", "is an", "as a", "as an", "practising", "practicing", "devout")),
            " ",
            _folded(_RELIGIONS),
            BOUNDARY,
        ),
    ),
    _behind("ethnicity", ("ethnicity", "ethnic origin", "racial origin", "race")),
    _behind("politics", ("political party", "party membership", "political opinion", "voted for")),
    Rule(
        "union",
        sequence(
            BOUNDARY,
            _folded(("member of the", "trade", "labour", "labor")),
            many("A-Za-z ", 1, 30),
            _folded(("union member", "union membership", "trade union", "workers union")),
            BOUNDARY,
        ),
    ),
    _behind("orientation", ("sexual orientation", "sexuality")),
    Rule(
        "orientation",
        sequence(
            BOUNDARY,
            _folded(("identifies as", "came out as", "is openly")),
            " ",
            maybe("a "),
            _folded(_ORIENTATIONS),
            BOUNDARY,
        ),
    ),
    Rule(
        "blood_type",
        sequence(
            BOUNDARY,
            _folded(("blood type", "blood group", "blutgruppe")),
            many(" :=is", 1, 5),
            choice("AB", "A", "B", "O", "0"),
            maybe(" "),
            maybe(_folded(("rh",))),
            letters("+-"),
        ),
    ),
    Rule("gene_variant", sequence(BOUNDARY, "rs", many("0-9", 4, 10), BOUNDARY)),
    Rule(
        "gene_variant",
        sequence(
            BOUNDARY,
            _folded(("BRCA1", "BRCA2", "HTT", "APOE")),
            letters(" -"),
            _folded(("positive", "negative", "mutation", "carrier", "variant")),
            BOUNDARY,
        ),
    ),
    Rule(
        "criminal",
        sequence(
            BOUNDARY,
            _folded(("convicted of", "sentenced for", "previously arrested for", "criminal record:")),
            " ",
            many("A-Za-z", 3, 20),
            BOUNDARY,
        ),
    ),
)


def build_sensitive_guard() -> RuleGuard:
    return RuleGuard(NAME, VERSION, SENSITIVE_RULES)
