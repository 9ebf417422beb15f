"""Door 2: a message in, a flow called, acknowledged or retried."""
