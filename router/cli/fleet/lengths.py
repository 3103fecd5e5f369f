"""``IN+OUT``: the lengths of a request, in tokens."""

import re

import click

Lengths = tuple[int, int]


class _Lengths(click.ParamType[Lengths]):
    name = "IN+OUT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Lengths:
        found = re.fullmatch(r"(\d{1,7})\+(\d{1,7})", str(value))
        if found is None or not int(found[1]) or not int(found[2]):
            self.fail(f"`{value}` is not IN+OUT (valid: tokens above 0, as 200+200)", param, ctx)
        return int(found[1]), int(found[2])


LENGTHS = _Lengths()
