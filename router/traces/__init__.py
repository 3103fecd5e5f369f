"""Traffic that was recorded, published or made up, as one form: ``Trace``."""
