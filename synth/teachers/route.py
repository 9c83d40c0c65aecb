"""The way to an endpoint: with the key where there is one, and through the proxy where one is meant for it."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from schemas.errors import EvoError
from schemas.text import shown
from synth.teachers.call import CONNECT_S, Endpoint


def endpoint(url: str, key_env: str, timeout_s: float, in_flight: int) -> Endpoint:
    """An endpoint that is asked with the key of the environment.

    Raises:
        EvoError: the key cannot be sent, or the proxy cannot be used.
    """
    proxy = _proxy(url)
    headers = {"accept": "application/json", "accept-encoding": "identity"}  # an answer is small
    if key := _key(key_env):
        headers["authorization"] = f"Bearer {key}"
    try:
        client = httpx.AsyncClient(
            headers=headers,
            # All of it is bounded as a whole where it is used.
            timeout=httpx.Timeout(None, connect=min(CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=in_flight),
            follow_redirects=False,
            trust_env=False,  # it would make every proxy of the environment, those that are not for this address too
            proxy=proxy,
            verify=httpx.create_ssl_context() if url.startswith("https:") else False,
        )
    except ImportError:
        raise EvoError(
            f"the environment sends requests to '{shown(url)}' through a SOCKS proxy, which needs the package socksio; "
            "no teacher was asked; install it, or name the host in NO_PROXY"
        ) from None
    except (ValueError, httpx.InvalidURL):
        raise EvoError(
            f"the environment sends requests to '{shown(url)}' through a proxy whose address cannot be used; no "
            "teacher was asked; mend HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY"
        ) from None
    return Endpoint(url, client, timeout_s)


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
