"""Who can be reached under an address: this machine, a private network, everybody."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from anytimenet.core.delivery.addresses import Address
from anytimenet.core.errors import DeliveryError, UnreachableError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Reach(IntEnum):
    """From whom a server can be seen; nothing that a public server says leads to one of less reach."""

    THIS_MACHINE = 0
    PRIVATE = 1
    PUBLIC = 2


@dataclass(frozen=True)
class Endpoint:
    """One numeric address of a server: what a socket is connected to, once it has been judged.

    Attributes:
        family: of the socket.
        place: host and port as the system has them.
        reach: who can be reached there.
    """

    family: socket.AddressFamily
    place: Any
    reach: Reach


def reach_of(number: str) -> Reach:
    """Who can be reached under a numeric address.

    >>> [reach_of(one).name for one in ("127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "9.9.9.9")]
    ['THIS_MACHINE', 'PRIVATE', 'PRIVATE', 'PUBLIC']
    """
    found = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        found = inner or found
    if found.is_loopback or found.is_unspecified:
        return Reach.THIS_MACHINE
    return Reach.PUBLIC if found.is_global and not found.is_multicast else Reach.PRIVATE


def endpoints(address: Address, least: Reach) -> list[Endpoint]:
    """The numeric addresses of a server, of which the first that answers is taken.

    They are looked up once and then connected to as numbers: between the look and the connection no name
    server can change its mind.

    Args:
        address: of a file.
        least: the reach that every one of them must have.

    Raises:
        DeliveryError: if the name is unknown, one of its addresses reaches less far than `least`, or
            http leads away from this machine.
        UnreachableError: if the name cannot be looked up now.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreachableError(
            f"{address.host} cannot be looked up ({reason}): check the URL and the network"
        ) from error
    known = [Endpoint(family, place, reach_of(str(place[0]))) for family, _, _, _, place in found]
    lowest = min(known, key=lambda endpoint: endpoint.reach)
    if lowest.reach < least:
        where = "this machine" if lowest.reach is Reach.THIS_MACHINE else "a private network"
        raise DeliveryError(
            f"{address} leads into {where} ({lowest.place[0]}) from a server outside it, and is refused: "
            "give the URL of the place itself"
        )
    if address.scheme == "http" and any(one.reach is not Reach.THIS_MACHINE for one in known):
        raise DeliveryError(f"{address} is not encrypted, and http is for this machine alone: use https")
    return known
