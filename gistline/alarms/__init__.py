"""When an alarm is raised, and what it says. Pure."""
