"""How the ranks of a run meet. What listens on one machine for that machine listens on its loopback only.

Whoever reaches these ports can take part in the run, and what the processes send each other is pickled.
"""

import ipaddress
import os
import socket
from datetime import timedelta
from urllib.parse import urlsplit

import torch.distributed as dist

from slowfast.engine.cluster import Membership


def join_group(place: Membership, cfg) -> None:
    """Meets the other ranks; each then waits at most DIST.TIMEOUT for the others, here and in every operator."""
    timeout = timedelta(seconds=cfg.DIST.TIMEOUT)
    if place.world_size == place.local_size:  # the processes of one machine need no network to speak to each other
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback_interface())
    store = meeting_store(place, timeout)
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun on one machine keeps its store over restarts (static rendezvous, torch 2.15), and a restarted group
        # would find the addresses of the dead one there.
        store = dist.PrefixStore(f"restart {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = cfg.DIST_BACKEND if cfg.NUM_GPUS else "gloo"
    dist.init_process_group(backend, store=store, world_size=place.world_size, rank=place.rank, timeout=timeout)


def meeting_store(place: Membership, timeout: timedelta) -> dist.Store:
    """The store at `place.init_method`, which rank 0 opens.

    torch would listen at every address of the machine, also for ranks that look for it at an address of the loopback.

    Raises:
        OSError: another program listens at that port.
    """
    address = urlsplit(place.init_method)
    host, port = address.hostname, address.port
    if address.scheme == "env":
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    torchrun_serves = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if place.rank or torchrun_serves or not is_loopback(host):
        return next(dist.rendezvous(place.init_method, place.rank, place.world_size, timeout=timeout))[0]
    family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    try:
        listener = socket.create_server(where[:2], family=family)
    except OSError as error:
        raise OSError(f"The processes cannot meet at {host}:{port}: {error}. Set another port.") from None
    return dist.TCPStore(host, port, place.world_size, True, timeout, master_listen_fd=listener.detach())


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def loopback_interface() -> str:
    """lo, on macOS lo0."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
