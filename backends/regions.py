"""AWS's regions by their names: which domain their services are under. Pure."""

import re

NAME = re.compile(r"[a-z]{2,8}(-[a-z]{2,12})+-[0-9]{1,2}")

_SUFFIXES = (  # of region names, as botocore's partitions have them; the first that fits
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
)


def suffix(region: str) -> str:
    """Return the domain of the region's partition."""
    return next((s for start, s in _SUFFIXES if region.startswith(start)), "amazonaws.com")
