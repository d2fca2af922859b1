"""Commands for the people who run Keyfund."""
