"""What the service and the worker both do: push an account, settle a payment."""
