"""The page on which somebody agrees that the command line on their machine gets a session beside the browser's."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, read_form
from vallum.kernel.errors import Invalid, VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]

_PORT = re.compile(r"[0-9]{2,5}")
_STATE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def pages(console: "ConsoleApp") -> list[Route]:
    room = _CommandLineRoom(console)
    return [
        Route("/console/command-line", console.page(room.ask, signed_in=False)),
        Route("/console/command-line", console.page(room.agree), methods=["POST"]),
    ]


class _CommandLineRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def ask(self, request: Request, visitor: Visitor) -> Response:
        return self._show(visitor, _asked(dict(request.query_params)))

    async def agree(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        asked = _asked(form)
        try:
            visitor = await self._console.step_up(request, visitor, form)
            code = await self._console.perform("hand_over", visitor, body={"challenge": asked["challenge"]})
        except VallumError as e:
            problem = problem_of(e)
            notice = str(e)
            if "step_up" in problem.obligations:
                notice = "Give a code from your authenticator, or sign in afresh: this wants a fresh second factor."
            return self._show(visitor, asked, status=problem.status, notice=notice, failed=True)
        # Nowhere but this machine's own loopback interface, whatever the request says.
        url = f"http://127.0.0.1:{asked['port']}/?{urlencode({'code': code.code, 'state': asked['state']})}"
        return self._console.render("go_on.html", visitor, title="The command line is being signed in", url=url)

    def _show(self, visitor: Visitor, asked: dict[str, str], **values: Any) -> Response:
        return self._console.render("command_line.html", visitor, asked=asked, **values)


def _asked(given: dict[str, str]) -> dict[str, str]:
    """Raises Invalid for an address that the command line would not have made."""
    port, state, challenge = (given.get(name, "") for name in ("port", "state", "challenge"))
    if not (_PORT.fullmatch(port) and 1024 <= int(port) < 65536):
        raise Invalid("this address is not one that vallum login made: run it again")
    if not _STATE.fullmatch(state) or not _CHALLENGE.fullmatch(challenge):
        raise Invalid("this address is not one that vallum login made: run it again")
    return {"port": port, "state": state, "challenge": challenge}
