"""Commands of ``gistline model``, one a file."""
