"""A model provider for one machine: it does what reaches it, and keeps a bill of what that costs."""

from dev.provider.app import create_app
from dev.provider.desk import Desk
from dev.provider.process import env, part

__all__ = ["Desk", "create_app", "env", "part"]
