"""Every kind that a rule finds has a category and a class."""

from vallum.data.classify import Category, category_of, class_of
from vallum.data.classify.sensitive import SENSITIVE_RULES
from vallum.guards.pii import PII_RULES
from vallum.guards.secrets import SECRET_RULES


def test_credentials_are_restricted_whatever_their_kind():
    assert {(category_of(r.kind, "secrets"), class_of(r.kind, "secrets")) for r in SECRET_RULES} == {
        (Category.CREDENTIAL, "restricted")
    }


def test_health_and_article_9_are_restricted():
    found = {rule.kind: category_of(rule.kind, "sensitive") for rule in SENSITIVE_RULES}
    assert set(found.values()) == {Category.HEALTH, Category.SPECIAL}
    assert {class_of(kind, "sensitive") for kind in found} == {"restricted"}


def test_nothing_that_rules_find_is_less_than_confidential():
    assert {class_of(rule.kind) for rule in PII_RULES} == {"confidential", "restricted"}
    assert class_of("a_kind_of_tomorrow") == "confidential"
    assert class_of("us_ssn") == class_of("iban") == class_of("diagnosis_code") == "restricted"
    assert class_of("email") == class_of("ip_address") == "confidential"
