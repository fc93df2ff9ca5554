"""The console: rooms rendered on the server, over the same routes as the API and through the same gate.

Answers cross-site scripting (strict content security policy, escaping by default, no inline script), cross-site
request forgery (a token bound to the session, and the Origin header) and clickjacking (no framing).
"""

from vallum.console.app import ConsoleApp

__all__ = ["ConsoleApp"]
