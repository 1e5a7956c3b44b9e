"""TLS for clients: certificates, client certificates, renewal without a restart, HTTP/2 by agreement."""
from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

import attrs
import httpx
import pytest
import trio
import trustme
from dialogue import META

from shadowproxy import Config, Upstream, open_proxy
from shadowproxy.config import Tls
from shadowproxy.downstream import tls
from shadowproxy.downstream.tls import BadCertificate, Certificates

DEMO = Upstream(command=(sys.executable, "-m", "shadowproxy.cli.demo_server"), warm=0)
HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hello"}, "_meta": META}}


@attrs.frozen
class Authority:
    """A certificate authority, and the files that a server and a client of it have."""

    ca: trustme.CA
    folder: Path

    def issue(self, name: str) -> Tls:
        made = self.ca.issue_cert("localhost", "127.0.0.1", common_name=name)
        made.private_key_pem.write_to_path(self.folder / "key.pem")
        made.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")
        self.ca.cert_pem.write_to_path(self.folder / "ca.pem")
        return Tls(cert=str(self.folder / "cert.pem"), key=str(self.folder / "key.pem"))

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(trustme.CA(), tmp_path)


def config(settings: Tls) -> Config:
    return Config(listen=("127.0.0.1:0",), upstream=DEMO, tls=settings)


async def call(url: str, context: ssl.SSLContext, *, http2: bool = False) -> httpx.Response:
    async with httpx.AsyncClient(verify=context, http2=http2, trust_env=False) as client:
        return await client.post(url, json=CALL, headers=HEADERS)


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_is_served_over_tls(authority: Authority, http2: bool) -> None:
    async with open_proxy(config(authority.issue("server"))) as proxy:
        (url,) = proxy.addresses
        assert url.startswith("https://127.0.0.1:")
        answer = await call(url, authority.trusting(), http2=http2)
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert answer.json()["result"]["content"][0]["text"] == "hello"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx leaves the socket of a refused handshake to the collector
async def test_a_client_must_show_its_certificate_where_one_is_wanted(authority: Authority) -> None:
    settings = attrs.evolve(authority.issue("server"), client_ca=str(authority.folder / "ca.pem"))
    async with open_proxy(config(settings)) as proxy:
        with pytest.raises(httpx.HTTPError):
            await call(proxy.addresses[0], authority.trusting())
        known = authority.trusting()
        known.load_cert_chain(settings.cert, settings.key)
        assert (await call(proxy.addresses[0], known)).status_code == 200


async def test_a_client_without_tls_harms_nobody(authority: Authority) -> None:
    async with open_proxy(config(authority.issue("server"))) as proxy:
        port = int(proxy.addresses[0].split(":")[2].split("/")[0])
        stranger = await trio.open_tcp_stream("127.0.0.1", port)
        async with stranger:
            await stranger.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            with trio.fail_after(10):
                while await stranger.receive_some():
                    pass
        assert (await call(proxy.addresses[0], authority.trusting())).status_code == 200


async def test_a_renewed_certificate_is_taken_up(authority: Authority, autojump_clock: trio.testing.MockClock) -> None:
    settings = authority.issue("first")
    certificates = Certificates(settings)
    before = certificates.context()
    await trio.sleep(tls.LOOK + 1)
    assert certificates.context() is before
    authority.issue("second")
    os.utime(settings.cert, (1, 1))  # another time, however coarse the file system's clock is
    await trio.sleep(tls.LOOK + 1)
    assert certificates.context() is not before


async def test_a_renewal_that_cannot_be_loaded_leaves_the_old_one(authority: Authority, autojump_clock: trio.testing.MockClock,
                                                                  caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    settings = authority.issue("first")
    certificates = Certificates(settings)
    before = certificates.context()
    Path(settings.cert).write_text("half a certificate")
    os.utime(settings.cert, (1, 1))
    await trio.sleep(tls.LOOK + 1)
    assert certificates.context() is before
    assert "the old one stays" in caplog.text


async def test_files_that_cannot_be_used_are_named(authority: Authority) -> None:
    settings = authority.issue("server")
    with pytest.raises(BadCertificate, match=r"nowhere\.pem"):
        async with open_proxy(config(attrs.evolve(settings, cert="nowhere.pem"))):
            raise AssertionError
    with pytest.raises(BadCertificate, match="client authority"):
        Certificates(attrs.evolve(settings, client_ca="nowhere.pem"))
