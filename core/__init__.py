"""What the webhook service and the worker share."""
