"""All inbound HTTP: Paystack's events and the API that frontends use."""
