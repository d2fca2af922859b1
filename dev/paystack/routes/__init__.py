"""What the sandbox answers over HTTP: Paystack's own routes, the checkout page, and the controls."""
