"""A faithful Paystack for one machine: its API, its checkout page, its webhooks, and ways to break them."""

from dev.paystack.app import create_app
from dev.paystack.clock import ManualClock, SystemClock
from dev.paystack.process import part
from dev.paystack.sandbox import Sandbox
from dev.paystack.settings import Settings

__all__ = ["ManualClock", "Sandbox", "Settings", "SystemClock", "create_app", "part"]
