"""What a request through the gateway costs: CPU, latency and memory, beside the bare upstream and LiteLLM's proxy.

    .venv/bin/python bench/gateway.py [--requests 5000] [--litellm PATH_TO_ITS_VENV] [--growth 100000]

One worker each, plain HTTP, keep-alive, a local upstream that costs next to nothing. Vallum runs with everything on:
an API key, policy, limits, secrets and personal data both ways, and a durable entry before each answer. LiteLLM runs
with a master key and its content filter. CPU is user and system time of every process of the server, from /proc.
"""

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")

CONFIGURATION = """
[providers.bench]
kind = "openai"
url = "http://127.0.0.1:{port}/v1"
unsafe_plain_http = true

[models.bench]
provider = "bench"

[applications.bench]
owner = "bench"
models = ["bench"]
keep_content_days = {keep}
limits = {{ requests_per_minute = 100000000, tokens_per_day = 1000000000, concurrent = 1000 }}
limits_per_key = {{ requests_per_minute = 100000000 }}

[applications.bench.guards.input]
secrets = "block"
pii = "redact"

[applications.bench.guards.output]
secrets = "block"
pii = "redact"
"""

LITELLM = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://127.0.0.1:{port}/v1", api_key: x}}
guardrails:
  - guardrail_name: filter
    litellm_params:
      guardrail: litellm_content_filter
      mode: [pre_call, post_call]
      default_on: true
      patterns:
        - {{pattern_type: prebuilt, pattern_name: email, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: us_ssn, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: aws_access_key, action: BLOCK}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def processes(root: int) -> list[int]:
    """A process and all its descendants."""
    found = [root]
    for pid in found:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def cpu_seconds(root: int) -> float:
    total = 0
    for pid in processes(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return total / TICKS


def largest_mib(root: int) -> float:
    """The resident memory of the process that serves: the largest of the tree's children."""
    sizes = []
    for pid in processes(root)[1:] or [root]:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]
        except OSError:
            continue
    return round(max(sizes), 1)


def load(port: int, key: str, requests: int, concurrent: int, *, stream: bool = False) -> dict[str, float]:
    command = [sys.executable, str(HERE / "load.py"), str(port), key, "bench", "--requests", str(requests)]
    command += ["--concurrent", str(concurrent), *(["--stream"] if stream else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the load failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout))


def measure(server: subprocess.Popen[str], port: int, key: str, requests: int) -> dict[str, object]:
    load(port, key, min(500, requests), 32)
    load(port, key, 100, 8, stream=True)
    figures: dict[str, object] = {}
    for name, count, concurrent, stream in (
        ("json_32", requests, 32, False), ("json_1", max(200, requests // 5), 1, False),
        ("stream_32", max(200, requests // 5), 32, True),
    ):  # fmt: skip
        before = cpu_seconds(server.pid)
        figure = load(port, key, count, concurrent, stream=stream)
        figure["cpu_ms"] = round((cpu_seconds(server.pid) - before) / count * 1000, 3)
        figures[name] = figure
    figures["memory_mib"] = largest_mib(server.pid)
    return figures


def start_vallum(folder: Path, upstream_port: int, keep: int) -> tuple[subprocess.Popen[str], int, str]:
    vallum = [str(Path(sys.executable).with_name("vallum"))]
    port = free_port()
    config = folder / "bench.toml"
    config.write_text(CONFIGURATION.format(port=upstream_port, keep=keep))
    data = ["--data", str(folder / "data")]
    subprocess.run([*vallum, "migrate", *data], check=True, capture_output=True)
    subprocess.run([*vallum, "apply", str(config), *data], check=True, capture_output=True)
    issued = subprocess.run(
        [*vallum, "keys", "issue", "bench", "--label", "bench", *data], check=True, capture_output=True, text=True
    )
    command = [*vallum, "up", *data, "--port", str(port), "--unsafe-plain-http", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    server.stdout.readline()
    return server, port, issued.stdout.strip()


def start_litellm(folder: Path, venv: Path, upstream_port: int) -> tuple[subprocess.Popen[str], int, str]:
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(port=upstream_port))
    command = [str(venv / "bin" / "litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--num_workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=1).close()
            return server, port, "sk-bench"
        except OSError:
            time.sleep(0.5)
    raise SystemExit("LiteLLM did not start")


def stop(server: subprocess.Popen[str]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()


_FILL_LOADS, _FILL_REQUESTS = 3, 30_000


def growth(server: subprocess.Popen[str], port: int, key: str, requests: int) -> dict[str, object]:
    """The worker's memory as it fills and then as it runs: a leak is a slope that does not end."""
    filling = []
    for _ in range(_FILL_LOADS):  # connections, caches and the allocator
        load(port, key, _FILL_REQUESTS, 32)
        filling.append(largest_mib(server.pid))
    load(port, key, requests, 32)
    after = largest_mib(server.pid)
    grew = round(after - filling[-1], 1)
    return {"requests": requests, "filling_mib": filling, "after_mib": after, "grew_mib": grew}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--keep", type=int, default=0, help="days that contents are kept; 0 seals none")
    parser.add_argument("--litellm", type=Path, help="a virtual environment with litellm[proxy]")
    parser.add_argument("--growth", type=int, default=0, help="requests over which memory may grow")
    given = parser.parse_args()
    upstream_port = free_port()
    upstream = subprocess.Popen(
        [sys.executable, str(HERE / "upstream.py"), str(upstream_port)], stdout=subprocess.PIPE, text=True
    )
    assert upstream.stdout is not None
    upstream.stdout.readline()
    figures: dict[str, object] = {"python": platform.python_version(), "cores": os.cpu_count()}
    try:
        figures["upstream"] = {
            "json_32": load(upstream_port, "x", given.requests, 32), "json_1": load(upstream_port, "x", 1000, 1)
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            server, port, key = start_vallum(Path(folder), upstream_port, given.keep)
            try:
                figures["vallum"] = measure(server, port, key, given.requests)
                if given.growth:
                    figures["growth"] = growth(server, port, key, given.growth)
            finally:
                stop(server)
            if given.litellm:
                server, port, key = start_litellm(Path(folder), given.litellm, upstream_port)
                try:
                    figures["litellm"] = measure(server, port, key, max(300, given.requests // 10))
                finally:
                    stop(server)
    finally:
        upstream.kill()
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
