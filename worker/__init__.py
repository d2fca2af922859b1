"""The process that leaves nothing undone: APScheduler is its clock, the database its memory."""
