"""The whole stack, as the tests of many parts together have it."""

from tests.integration.conftest import world

__all__ = ["world"]
