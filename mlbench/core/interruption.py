"""SIGINT, SIGTERM and SIGHUP: the first one stops a run where it can be continued, the second one ends it at once."""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEAT_SECONDS = 1.0  # the same request may come twice at once: from a service manager and from the parent process


class Interruption:
    """What has asked this process to stop. There is one object, `interruption`, since signals belong to the process.

    Attributes:
        signal: The number of the signal; None as long as there was none.
    """

    def __init__(self):
        self.signal: int | None = None
        self.moment = 0.0
        self.deferrals = 0

    def listen(self) -> None:
        """Handle the signals from now on, apart from those that are ignored, as `nohup` and `&` in a script ask for."""
        self.signal = None
        with suppress(ValueError):  # outside the main thread no signal can be handled
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self.handle)

    @contextmanager
    def listening(self) -> Generator[None]:
        """Handle the signals inside the context."""
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        try:
            yield
        finally:
            with suppress(ValueError):
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The handler. Raises KeyboardInterrupt, unless that is deferred."""
        if self.signal is not None:
            if time.monotonic() - self.moment < REPEAT_SECONDS:
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            os._exit(128 + number)  # the first process of a container does not end by the line before
        self.signal, self.moment = number, time.monotonic()
        if not self.deferrals:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was deferred."""
        if self.signal is not None:
            raise KeyboardInterrupt

    @contextmanager
    def deferred(self) -> Generator[None]:
        """Raise no KeyboardInterrupt inside the context, which calls `check` wherever it can stop, but at its end."""
        self.deferrals += 1
        try:
            yield
        except Exception as error:
            if self.signal is not None:
                raise KeyboardInterrupt from error
            raise
        finally:
            self.deferrals -= 1
        self.check()

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal has stopped: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)


interruption = Interruption()
