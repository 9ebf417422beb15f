"""A real PostgreSQL and a real Redis in a folder of their own, for machines without servers."""
