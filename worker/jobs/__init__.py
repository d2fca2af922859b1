"""What the worker does, each in bounded bites: claim, carry out, record.

A tick that is missed loses nothing; two workers are safe because the claims are.
"""
