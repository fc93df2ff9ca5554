"""The entry point: the command that the words name, and errors as exit codes."""

import atexit
import gc
import sys

from vallum.cli.tree import named_part
from vallum.kernel.errors import (
    Conflict,
    Denied,
    IntegrityError,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
    VallumError,
)

__all__ = ["EXIT_CODES", "main"]

# The first that fits, so subclasses stand before their parents. docs/cli.md lists them.
EXIT_CODES: tuple[tuple[type[VallumError], int], ...] = (
    (Unauthenticated, 3),
    (Denied, 4),
    (NotFound, 5),
    (Conflict, 6),
    (Invalid, 2),
    (LimitExceeded, 7),
    (IntegrityError, 8),
    (Unavailable, 9),
)


def main() -> None:
    atexit.register(gc.freeze)  # what is left is the system's to take back: a last collection is a quarter of a command
    try:
        named_part(sys.argv[1:])(standalone_mode=True)
    except VallumError as e:
        print(f"vallum: {e}", file=sys.stderr)
        sys.exit(next((code for family, code in EXIT_CODES if isinstance(e, family)), 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left; nobody is there to be told
        sys.exit(141)


if __name__ == "__main__":
    main()
