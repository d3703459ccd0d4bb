"""`python -m services.health_check HOST:PORT [SERVICE]`: exit 0 when a gRPC server says SERVING.

For container health checks and scripts; needs no credential. TLS servers are asked with --ca FILE.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.channels import open_channel
from services.security import ClientSecurity


async def is_serving(target: str, service: str = "", *, timeout: float = 3.0, ca: Path | None = None) -> bool:
    """Whether the server answers SERVING within `timeout` seconds."""
    async with open_channel(target, ClientSecurity(ca=ca)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> None:
    parser = argparse.ArgumentParser(prog="services.health_check", description=__doc__)
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("service", nargs="?", default="", help="full service name; empty: the whole server")
    parser.add_argument("--ca", type=Path, help="CA certificate of a TLS server")
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(is_serving(arguments.target, arguments.service, ca=arguments.ca)) else 1)


if __name__ == "__main__":
    main()
