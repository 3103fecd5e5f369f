"""The ledger on SQLite: not there yet."""
