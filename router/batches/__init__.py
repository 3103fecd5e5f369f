"""Files and batches of the OpenAI Batch API: the deferrable lane (docs/lanes.md)."""
