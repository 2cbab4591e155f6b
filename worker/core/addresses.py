"""Public network addresses; the others belong to this host, its neighbours or its provider."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

# The IPv6 registry delegates global unicast from this block alone (RFC 4291 §2.4, IANA).
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

# RFC 6052 §2.1: the last 32 bits are the IPv4 address that a translator will connect to.
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")

_REFUSED_V6: Final = (
    IPv6Network("2001::/23"),  # IETF protocols; Teredo (RFC 4380) hides an IPv4 address in it
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4 (RFC 3056) hides an IPv4 address in it
    IPv6Network("3fff::/20"),  # documentation (RFC 9637), which Python 3.11 does not know
)

_REFUSED_V4: Final = (
    IPv4Network("192.0.0.0/24"),  # IETF protocols; parts of it are "global" to Python
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, withdrawn by RFC 7526
    IPv4Network("168.63.129.16/32"),  # Azure's host agent: a public number that answers from inside
)


def is_public(address: str) -> bool:
    """Return whether `address`, an IPv4 or IPv6 address in any spelling that the resolver returns, is public.

    Loopback, private, link-local (with the metadata services), shared, multicast, reserved and documentation
    addresses are not; an IPv4 address inside an IPv6 one (mapped, NAT64) is judged as itself. A text that
    is no address is not public either.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    inner = _embedded(parsed)
    if inner is not None:
        return _is_public_v4(inner)
    return parsed in _GLOBAL_UNICAST and parsed.is_global and not any(parsed in network for network in _REFUSED_V6)


def _is_public_v4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _REFUSED_V4)
    )


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
