"""The cheapest fleets that hold an objective for a trace, as an integer program."""
