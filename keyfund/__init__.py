"""Every command of Keyfund in one program."""
