"""The settings: `Config` and its parts, made by hand or read from TOML.

In: keyword arguments (`Config(...)`), TOML text (`load`). Out: frozen values that are valid, or `ConfigError`. No I/O.
"""
from __future__ import annotations

from shadowproxy.config.document import Fault, InvalidConfig, load, read, structure
from shadowproxy.config.recording import Record
from shadowproxy.config.replaying import Replay
from shadowproxy.config.settings import MIB, Config, Limits, Log, Timeouts, Tls, Upstream

__all__ = ["MIB", "Config", "Fault", "InvalidConfig", "Limits", "Log", "Record", "Replay", "Timeouts", "Tls", "Upstream", "load", "read", "structure"]
