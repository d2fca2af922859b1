"""The doors to what takes money."""
