"""Door 3: the ``gistline`` command."""
