"""Two policies held against each other: in words (``words``) and in money (``compared``)."""
