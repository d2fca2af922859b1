"""The Paystack sandbox, held against Paystack's own payloads."""
