"""A route found by its name is the table's own, and every resource is looked through."""

from pathlib import Path

import pytest

import vallum.api
from vallum.api import ROUTES, find_route
from vallum.api.lookup import _RESOURCES


def test_every_route_of_the_table_is_found_by_its_name():
    for route in ROUTES:
        assert find_route(route.name) is route


def test_every_resource_is_looked_through():
    folder = Path(vallum.api.__file__).parent / "resources"
    assert sorted(_RESOURCES) == sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("name", ["", "no_such_route", "read_policy ", "perform", "ROUTES", "../read_policy"])
def test_a_name_that_no_route_has_is_a_mistake(name):
    with pytest.raises(KeyError):
        find_route(name)


def test_what_the_package_promises_is_there_and_nothing_else():
    assert sorted(vallum.api.__all__, key=str.lower) == sorted(set(vallum.api.__all__), key=str.lower)
    for name in vallum.api.__all__:
        assert getattr(vallum.api, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = vallum.api.absent
