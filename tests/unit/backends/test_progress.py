"""The lines that a long job leaves behind, on a terminal and in a log."""

import io

from backends.engines.progress import SECONDS_BETWEEN_LINES, teller


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_progress_in_one_line_and_keeps_the_rest():
    terminal = Terminal()
    say = teller(terminal)
    for text in ("unpacking it", "building: 1 %", "building: 2 %", "built: /0.3", "bye"):
        say(text)
    assert terminal.getvalue() == (
        "unpacking it\nbuilding: 1 %\r\x1b[Kbuilding: 2 %\nbuilt: /0.3\nbye\n"
    )


def test_a_log_gets_progress_now_and_then_and_everything_else():
    log, seconds = io.StringIO(), iter([0, 1, SECONDS_BETWEEN_LINES - 1, SECONDS_BETWEEN_LINES])
    say = teller(log, lambda: next(seconds))
    for text in ("start", "1 %", "2 %", "note", "3 %", "4 %", "end"):
        say(text)
    assert log.getvalue().splitlines() == ["start", "1 %", "note", "4 %", "end"]
