"""Alembic's revisions, oldest first by date."""
