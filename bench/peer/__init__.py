"""Keyfund beside a published Django package for Paystack (paystack-django), on the same PostgreSQL."""
