"""All loads, in the order in which they run and are shown."""
from __future__ import annotations

from scenarios.load.flat import Flat
from scenarios.load.http_load import HttpLoad
from scenarios.load.latency import Latency
from scenarios.load.load import Load
from scenarios.load.memory import Memory
from scenarios.load.pipe_load import PipeLoad
from scenarios.load.proxies import DIRECT, SHADOWPROXY
from scenarios.load.startup import Startup
from scenarios.load.tapes import Tapes

_HTTP = (DIRECT, "nginx", "envoy", SHADOWPROXY, "fastmcp")
LOADS: dict[str, Load] = {
    load.name: load
    for load in (
        HttpLoad("http-json", "HTTP → HTTP, JSON", "Each answer is one JSON body.", "json", _HTTP, "envoy"),
        HttpLoad("http-sse", "HTTP → HTTP, SSE", "The server answers each request with a stream of one event.", "sse", _HTTP, "envoy"),
        HttpLoad("http-stdio", "HTTP → stdio", "The server is a program that speaks on its standard input and output; a session has its own where the proxy"
                 " makes it so. As children of the proxy they run on its CPU, but are not counted.", "stdio",
                 (SHADOWPROXY, "npm-mcp-proxy", "pypi-mcp-proxy", "supergateway"), "npm-mcp-proxy"),
        PipeLoad(),
        Latency(),
        Startup(),
        Memory(),
        Tapes(),
        Flat(),
    )
}  # fmt: skip
LONG = ("flat",)
