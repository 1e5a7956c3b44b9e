"""The proxies that are measured: how each is started, and which program or package it needs.

In: a `Place` (ports, a folder, the plan). Out: a command line. HTTP proxies listen on `place.port`, at /mcp; pipes speak MCP on their own
standard input and output. What is missing is told by `missing`, with what to install, before anything runs.
"""
from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenarios.load import peers
from scenarios.load.plan import Plan

INSTALL_PEERS = "python scenarios/load/peers.py"
SHADOWPROXY, DIRECT = "shadowproxy", "direct"


@dataclass(frozen=True)
class Place:
    """Where a proxy stands: it listens on `port`; behind it is `upstream` (a port of loopback), or `command` if that is 0."""

    plan: Plan
    folder: Path
    port: int
    upstream: int
    command: tuple[str, ...] = ()
    settings: str = ""  # shadowproxy's, as TOML

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.upstream}/mcp"


@dataclass(frozen=True)
class Proxy:
    """One kind of proxy. `most`: more connections than that would only measure its timeouts."""

    title: str
    start: Callable[[Place], list[str]]
    present: Callable[[Path], object]  # in the folder of peers
    get: str = INSTALL_PEERS
    most: int = 1 << 20


def shadowproxy(place: Place) -> list[str]:
    return [*place.plan.proxy, "reverse", *_settings(place), "--listen", f"127.0.0.1:{place.port}", *_target(place)]


def shadowproxy_on_stdio(place: Place) -> list[str]:
    return [*place.plan.proxy, "forward", *_settings(place), *_target(place)]


def _settings(place: Place) -> list[str]:
    if not place.settings:
        return []
    file = place.folder / "shadowproxy.toml"
    file.write_text(place.settings)
    return ["--config", str(file)]


def _target(place: Place) -> list[str]:
    return [place.url] if place.upstream else ["--", *place.command]


def nginx(place: Place) -> list[str]:
    folder = place.folder
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; {temporary}
  upstream server {{ server 127.0.0.1:{place.upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096; keepalive_requests 100000000;
    location / {{ proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 600s; }}
  }}
}}
""")
    return ["nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder), "-e", f"{folder}/nginx.log"]


def envoy(place: Place) -> list[str]:
    http = "type.googleapis.com/envoy.extensions.filters."
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{http}http.router.v3.Router"}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "server", "timeout": "0s"}}]}]
    manager = {"@type": f"{http}network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in",
               "route_config": {"virtual_hosts": hosts}, "http_filters": [router]}  # fmt: skip
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"address": _address(place.port), "filter_chains": [{"filters": filters}]}
    behind = {"endpoint": {"address": _address(place.upstream)}}
    many = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 20000)
    server = {"name": "server", "type": "STATIC", "circuit_breakers": {"thresholds": [many]},
              "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [behind]}]}}  # fmt: skip
    (place.folder / "envoy.yaml").write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [server]}}))
    program = str(peers.envoy(place.plan.peers))
    return [program, "-c", f"{place.folder}/envoy.yaml", "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def fastmcp(place: Place) -> list[str]:
    program = place.folder / "fastmcp_proxy.py"
    program.write_text(f"from fastmcp.server import create_proxy\ncreate_proxy({place.url!r}, name='bench').run("
                       f"transport='http', host='127.0.0.1', port={place.port}, show_banner=False, log_level='error')\n")  # fmt: skip
    return [str(_python(place.plan.peers, "v-fastmcp", "python")), str(program)]


def npm_mcp_proxy(place: Place) -> list[str]:
    return [*_script(place, "mcp-proxy"), "--host", "127.0.0.1", "--port", str(place.port), "--server", "stream", "--", *place.command]


def supergateway(place: Place) -> list[str]:
    return [*_script(place, "supergateway"), "--stdio", shlex.join(place.command), "--outputTransport", "streamableHttp", "--stateful",
            "--port", str(place.port), "--logLevel", "none"]  # fmt: skip


def supergateway_on_stdio(place: Place) -> list[str]:
    return [*_script(place, "supergateway"), "--streamableHttp", place.url, "--outputTransport", "stdio", "--logLevel", "none"]


def pypi_mcp_proxy(place: Place) -> list[str]:
    return [str(_python(place.plan.peers, "v-mcpproxy", "mcp-proxy")), "--port", str(place.port), "--log-level", "ERROR", "--", *place.command]


def pypi_mcp_proxy_on_stdio(place: Place) -> list[str]:
    return [str(_python(place.plan.peers, "v-mcpproxy", "mcp-proxy")), "--log-level", "ERROR", "--transport", "streamablehttp", place.url]


def _script(place: Place, package: str) -> list[str]:
    return [str(peers.node(place.plan.peers)), str(peers.npm_script(place.plan.peers, package))]


def _python(folder: Path, environment: str, program: str) -> Path | None:
    path = folder / environment / "bin" / program
    return path if path.exists() else None


def _npm(package: str) -> Callable[[Path], object]:
    return lambda folder: peers.npm_script(folder, package) and peers.node(folder)


#: With HTTP in front, and HTTP or a command behind.
PROXIES = {
    SHADOWPROXY: Proxy("shadowproxy", shadowproxy, lambda _: True),
    "nginx": Proxy("nginx", nginx, lambda _: shutil.which("nginx"), "apt-get install nginx-light"),
    "envoy": Proxy("Envoy", envoy, peers.envoy),
    "fastmcp": Proxy("FastMCP proxy", fastmcp, lambda folder: _python(folder, "v-fastmcp", "python"), most=32),
    "npm-mcp-proxy": Proxy("npm mcp-proxy", npm_mcp_proxy, _npm("mcp-proxy")),
    "pypi-mcp-proxy": Proxy("PyPI mcp-proxy", pypi_mcp_proxy, lambda folder: _python(folder, "v-mcpproxy", "mcp-proxy")),
    "supergateway": Proxy("supergateway", supergateway, _npm("supergateway")),
}
#: With a pipe in front, and HTTP behind.
PIPES = {
    SHADOWPROXY: Proxy("shadowproxy", shadowproxy_on_stdio, lambda _: True),
    "pypi-mcp-proxy": Proxy("PyPI mcp-proxy", pypi_mcp_proxy_on_stdio, lambda folder: _python(folder, "v-mcpproxy", "mcp-proxy")),
    "supergateway": Proxy("supergateway", supergateway_on_stdio, _npm("supergateway")),
}


def title(row: str) -> str:
    """A row's name for people."""
    return PROXIES[row].title if row in PROXIES else row


def missing(plan: Plan, proxies: dict[str, Proxy]) -> list[str]:
    """What must be installed before these can be measured, one line each."""
    return [f"{proxy.title} is not installed: {proxy.get}" for proxy in proxies.values() if not proxy.present(plan.peers)]
