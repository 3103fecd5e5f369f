"""Our own load on a live fleet: a closed loop of streams, and what was seen of it."""
