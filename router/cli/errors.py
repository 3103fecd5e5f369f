"""How a command ends badly: one message, one exit code, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

import yamlfile
from router.batches.port import StoreFull, StoreUnavailable
from router.faults import (
    BadSetting,
    CannotListen,
    MissingKey,
    MissingPart,
    NoPolicy,
    NoSuchLedger,
    Unsafe,
)
from router.key_rows import KeysUnreadable
from router.ledger.port import LedgerUnavailable

FAILED, REFUSED, INVALID = 1, 2, 3


class Ends(click.ClickException):
    """Ends the command with this message and exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


@contextmanager
def told() -> Iterator[None]:
    """Turn the errors that a user can mend into a message and an exit code."""
    try:
        yield
    except (yamlfile.Invalid, BadSetting, MissingKey, NoSuchLedger) as exc:
        raise Ends(str(exc), INVALID) from None
    except (MissingPart, Unsafe) as exc:
        raise Ends(str(exc), REFUSED) from None
    except (CannotListen, LedgerUnavailable, NoPolicy, StoreFull, StoreUnavailable) as exc:
        raise Ends(str(exc), FAILED) from None
    except UnicodeDecodeError as exc:
        raise Ends(f"not a UTF-8 text: {exc.reason} at byte {exc.start}", INVALID) from None
    except KeysUnreadable as exc:
        raise Ends(f"the store of keys can't be used: {exc}", FAILED) from None
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        raise Ends(f"{where}{exc.strerror or exc}", INVALID) from None
