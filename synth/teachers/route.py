"""The way to an endpoint: with the key where there is one, and through the proxy where one is meant for it."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.text import shown
from evoembedding.synth.teachers.call import CONNECT_S, Bounded, Endpoint


def endpoint(url: str, key_env: str, timeout_s: float, in_flight: int) -> Endpoint:
    """An endpoint that is asked with the key of the environment.

    Raises:
        EvoError: the key cannot be sent, or the proxy cannot be used.
    """
    import openai

    proxy, key = _proxy(url), _key(key_env)
    try:
        transport = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=in_flight),
            trust_env=False,  # it would make every proxy of the environment, those that are not for this address too
            proxy=httpx2.Proxy(proxy) if proxy else None,
            verify=httpx2.create_ssl_context() if url.startswith("https:") else False,
        )
        client = httpx2.AsyncClient(
            transport=Bounded(transport),
            # All of it is bounded as a whole where it is used.
            timeout=httpx2.Timeout(None, connect=min(CONNECT_S, timeout_s)),
            follow_redirects=False,
            trust_env=False,
        )
    except ImportError:
        raise EvoError(
            f"the environment sends requests to '{shown(url)}' through a SOCKS proxy, which needs the package socksio; "
            "no teacher was asked; install it, or name the host in NO_PROXY"
        ) from None
    except (ValueError, httpx2.InvalidURL):
        raise EvoError(
            f"the environment sends requests to '{shown(url)}' through a proxy whose address cannot be used; no "
            "teacher was asked; mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY"
        ) from None
    asked = openai.AsyncOpenAI(
        base_url=url,
        # The client insists on one; `Endpoint` sends none where there is none.
        api_key=key or "none",
        organization="",
        default_headers={"Accept-Encoding": "identity"},  # an answer is small
        max_retries=0,  # retries are ours: the library's own would hide 429s, and could not go to another replica
        timeout=client.timeout,
        http_client=client,
    )
    return Endpoint(url, asked, timeout_s, keyless=not key)


def _key(name: str) -> str:
    key = os.environ.get(name, "")
    for place, character in enumerate(key):
        at_an_end = place in (0, len(key) - 1)
        if not " " <= character <= "~" or (character == " " and at_an_end):
            where = "at its end" if place == len(key) - 1 else f"as character {place + 1} of {len(key)}"
            raise EvoError(
                f"the API key in ${name} holds U+{ord(character):04X} {where}, which no header can carry; no teacher "
                f"was asked; set {name} to the key alone"
            )
    return key


def _proxy(url: str) -> str | None:
    """The environment's proxy for an address. There is none on the way to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _here(host) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
