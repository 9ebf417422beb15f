"""What the processes tell about themselves: logs, metrics, traces. None of it is needed for the work to be done."""
