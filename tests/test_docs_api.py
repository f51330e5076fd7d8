"""Every public name is documented: a docstring, an example, a line in docs/api.md."""

import inspect

import pytest
from api_table import KNOWN, OWN, PAGE, members, page


@pytest.mark.parametrize("room", [*OWN, *KNOWN])
def test_every_public_name_has_a_docstring(room):
    assert [name for name, x in members(room) if callable(x) and not (x.__doc__ or "").strip()] == []


@pytest.mark.parametrize("room", OWN)
def test_every_name_of_our_own_has_an_example(room):
    """test_docs.py runs them. What is called by nobody needs none: values, warnings, settings of caches."""
    plain = {"cache_info", "clear_caches"}
    missing = [name for name, x in members(room) if callable(x) and name not in plain
               and (x.__module__ or "").startswith("functrans")
               and not (inspect.isclass(x) and issubclass(x, Exception)) and ">>>" not in (x.__doc__ or "")]
    assert missing == []


def test_the_page_is_up_to_date():
    """If not: python tests/api_table.py"""
    assert PAGE.read_text(encoding="utf-8") == page()
