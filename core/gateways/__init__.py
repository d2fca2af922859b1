"""The doors to what sells tokens."""
