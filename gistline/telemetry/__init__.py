"""What the processes tell about themselves: logs and metrics. None of it is needed for the work to be done."""
