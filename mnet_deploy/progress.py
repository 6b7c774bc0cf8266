"""What a command says on stderr while it works."""

import sys

from mnet_deploy.terminal import printable


class Progress:
    """Stages are shown on a terminal only; notes always."""

    def __init__(self) -> None:
        """Look once whether stderr is a terminal."""
        self._on_terminal = sys.stderr.isatty()

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        if self._on_terminal:
            print(f"\r\033[K{printable(text)}...", end="", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Say something the user should know about the result."""
        self.done()
        print(f"mnet: {printable(text)}", file=sys.stderr, flush=True)

    def done(self) -> None:
        """Clear the stage that was shown."""
        if self._on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
