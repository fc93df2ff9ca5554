"""Asking witnesses over HTTP, as the policy file configures them."""

from pathlib import Path

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.ledger.witness import Witnessing, WitnessPolicy

__all__ = ["open_witnessing", "read_policy"]

_TIMEOUT_SECONDS = 5.0
_MAX_ANSWER_BYTES = 16_384  # some signature lines


def open_witnessing(policy_file: str) -> Witnessing | None:
    """None without a policy file. Raises Invalid for a policy that cannot be read."""
    return Witnessing(read_policy(Path(policy_file)), _HttpTransport()) if policy_file else None


def read_policy(file: Path) -> WitnessPolicy:
    """Raises Invalid naming the line that is wrong."""
    try:
        return WitnessPolicy.parse(file.read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"the witness policy {file} cannot be read: {e}") from e


class _HttpTransport:
    def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        from datetime import timedelta

        from pyreqwest.client import SyncClientBuilder
        from pyreqwest.exceptions import PyreqwestError

        builder = SyncClientBuilder().timeout(timedelta(seconds=_TIMEOUT_SECONDS)).follow_redirects(False)
        try:
            with builder.build() as client, client.post(url).body_bytes(body).build_streamed() as response:
                answer = bytes(response.body_reader.read(_MAX_ANSWER_BYTES) or b"")
                return response.status, answer
        except PyreqwestError as e:
            raise Unavailable(f"it cannot be reached: {type(e).__name__}") from e
