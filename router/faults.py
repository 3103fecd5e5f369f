"""What keeps a router from starting or adopting a change; the message says what to do.

* the operator's files and settings
  + MissingKey     a fleet's key is not where the catalogue says
  + NoSuchLedger   the setting of the ledger names no store that can be used
  + BadSetting     another setting can't be followed as it is, or here
  + MissingPart    a setting needs a package that is not installed
  + Unsafe         the settings would open the router to others without a key
* the machine
  + CannotListen   the address can't be had
* a service
  + NoPolicy       AppConfig gives no policy, and none was kept from before
"""


class MissingKey(Exception):  # noqa: N818  (what it says)
    pass


class NoSuchLedger(Exception):  # noqa: N818  (what it says)
    pass


class BadSetting(Exception):  # noqa: N818  (what it says)
    pass


class MissingPart(Exception):  # noqa: N818  (what it says)
    pass


class Unsafe(Exception):  # noqa: N818  (what it says)
    pass


class CannotListen(Exception):  # noqa: N818  (what it says)
    pass


class NoPolicy(Exception):  # noqa: N818  (what it says)
    pass
