"""Where releases meet the other parts of the platform."""
