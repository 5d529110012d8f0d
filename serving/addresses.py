"""Addresses of clients, as limits count them."""

from __future__ import annotations

import functools
import ipaddress

_IPV6_NETWORK_BITS = 64


@functools.lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Returns an IPv4 address as it is, and of an IPv6 one the network of 64 bits.

    Who has one IPv6 address usually has all of its network of 64 bits.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK_BITS), strict=False))
