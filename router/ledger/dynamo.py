"""The ledger on DynamoDB: not there yet."""
