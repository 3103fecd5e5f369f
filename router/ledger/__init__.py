"""The ledger: what was charged to whom, and how much of each budget is left.

`entry`, `fleet_time` and `port` are values and protocols; `sqlite` and `dynamo` are the stores.
"""
