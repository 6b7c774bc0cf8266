"""Every error that the toolkit raises on purpose.

    MnetError
    ├── SpecError (ValueError)          a model, an option or an input file that cannot be used
    │   └── ForeignHead                 a classifier that the family does not have, on a body of the family
    ├── ConversionError                 a converter failed or wrote something unexpected
    ├── FidelityError                   a result was written but computes something else than its source
    ├── ResultFormatError               a saved file is not what its format says
    └── DeviceError
        ├── DeviceUnavailable           not there, or not ready
        ├── LinkLost                    the connection ended before the result was complete
        ├── CommandFailed               a program ended with an error
        ├── CommandTimeout              a program did not end in time
        └── ToolMissing                 a program or package is not installed

A message says what was expected, what was received and what to try, in one line.
"""

from collections.abc import Sequence


class MnetError(Exception):
    """The root: the command line prints it as one line and exits with `exit_code`."""

    exit_code = 2


class SpecError(MnetError, ValueError):
    """A model description, an option or an input file that cannot be used."""


class ForeignHead(SpecError):
    """A checkpoint whose body is of the family and whose classifier is not."""


class ConversionError(MnetError):
    """A converter failed, or wrote something that it should not have written."""

    exit_code = 1


class FidelityError(MnetError):
    """A converted file computes something else than the model it was made from."""

    exit_code = 1


class ResultFormatError(MnetError):
    """A saved file is not what its format field says."""


class DeviceError(MnetError):
    """Something went wrong on, or on the way to, a device (this machine included)."""

    exit_code = 3


class DeviceUnavailable(DeviceError):
    """The device is not there, or not ready."""


class LinkLost(DeviceError):
    """The connection ended before the result was complete."""


class CommandFailed(DeviceError):
    """A program ended with an error.

    Attributes:
        command: the argument list that was started.
        return_code: its exit status; negative is the number of the signal that killed it.
        output: the end of what it printed.
    """

    def __init__(self, message: str, *, command: Sequence[str], return_code: int, output: str) -> None:
        super().__init__(message)
        self.command = tuple(command)
        self.return_code = return_code
        self.output = output


class CommandTimeout(DeviceError):
    """A program did not end in time and was stopped."""


class ToolMissing(DeviceError):
    """A program or a Python package is not installed."""

    def __init__(self, tool: str, how_to_install: str, *, where: str = "here") -> None:
        super().__init__(f"{tool} is not installed {where}; {how_to_install}")
        self.tool = tool
        self.how_to_install = how_to_install
