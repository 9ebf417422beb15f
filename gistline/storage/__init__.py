"""PostgreSQL: tables, sessions and the queries of each aggregate."""
