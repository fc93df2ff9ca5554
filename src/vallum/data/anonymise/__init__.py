"""What may be done to a value before it leaves, how much that helps, and statistics that give nobody away.

Transformations are pure functions of a value and a key; which column gets which is a purpose's plan. None of them
makes a data set anonymous by itself: `assess` says what is left to fear.
"""

from vallum.data.anonymise.budget import BudgetSpent, PrivacyBudget, Spending
from vallum.data.anonymise.groups import Groups, closeness, diversity, group_rows
from vallum.data.anonymise.plan import (
    Generalise,
    Hash,
    Keep,
    Mask,
    PurposePlan,
    Redact,
    ShiftDate,
    Spans,
    Tokenise,
    Treatment,
    Treatments,
    function_of,
)
from vallum.data.anonymise.risk import RiskReport, assess, group_risk
from vallum.data.anonymise.statistics import private_count, private_histogram, private_mean, private_sum
from vallum.data.anonymise.tokens import MemoryVault, Tokeniser, TokenVault
from vallum.data.anonymise.values import (
    date_of,
    generalise_date,
    generalise_number,
    generalise_prefix,
    keyed_hash,
    mask,
    redact,
    shift_date,
    shifted_days,
)

__all__ = [
    "BudgetSpent",
    "Generalise",
    "Groups",
    "Hash",
    "Keep",
    "Mask",
    "MemoryVault",
    "PrivacyBudget",
    "PurposePlan",
    "Redact",
    "RiskReport",
    "ShiftDate",
    "Spans",
    "Spending",
    "TokenVault",
    "Tokenise",
    "Tokeniser",
    "Treatment",
    "Treatments",
    "assess",
    "closeness",
    "date_of",
    "diversity",
    "function_of",
    "generalise_date",
    "generalise_number",
    "generalise_prefix",
    "group_risk",
    "group_rows",
    "keyed_hash",
    "mask",
    "private_count",
    "private_histogram",
    "private_mean",
    "private_sum",
    "redact",
    "shift_date",
    "shifted_days",
]
