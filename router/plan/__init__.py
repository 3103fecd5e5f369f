"""The cheapest fleets for a trace's traffic: an integer program, and what each limit costs."""
