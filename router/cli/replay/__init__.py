"""``sluice replay``: what policies would have cost and done over a trace."""
