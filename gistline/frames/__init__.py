"""Frames' bytes: decoded within limits, stored by content."""
