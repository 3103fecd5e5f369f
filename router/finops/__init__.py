"""What FinOps reads: reports, FOCUS rows, reconciliation. Pure: no I/O, no clock."""
