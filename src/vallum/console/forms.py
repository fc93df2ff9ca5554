"""A form that changes something: proves the second factor if it brought one, makes its change, says what was done."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import Response

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, read_form
from vallum.kernel.errors import VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp, Handler

__all__ = ["Form", "Show", "changing"]

Form = dict[str, str]

_STEP_UP = "This wants a fresh second factor: give the code your authenticator shows with the form."


class Show(Protocol):
    """The page that the form stands on, with what came of it."""

    async def __call__(
        self, request: Request, visitor: Visitor, *, status: int = 200, notice: str = "", failed: bool = False
    ) -> Response: ...


def changing(
    console: "ConsoleApp", change: Callable[[Request, Visitor, Form], Awaitable[str]], show: Show
) -> "Handler":
    """`change` performs a route and returns the sentence to show; what it raises is shown on the same page."""

    async def handler(request: Request, visitor: Visitor) -> Response:
        given = await read_form(request, visitor)
        try:
            visitor = await console.step_up(request, visitor, given)
            said = await change(request, visitor, given)
        except VallumError as e:
            visitor = getattr(request.state, "visitor", visitor)
            problem, notice = problem_of(e), str(e)
            if "step_up" in problem.obligations:
                notice = _STEP_UP
            return await show(request, visitor, status=problem.status, notice=notice, failed=True)
        return await show(request, visitor, notice=said)

    return handler
