"""`python -m trainer.bench.bare_server HEX`: a grpcio server as it comes, without anything of ours.

Answers every GetExperiment with the message in the argument; `trainerd bench --wire` compares with it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc
from autoresearch.trainer.v1 import trainer_pb2 as pb

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name


async def serve(answer: pb.GetExperimentResponse) -> None:
    """Prints its address as a daemon does."""

    async def get(request: pb.GetExperimentRequest, context: Any) -> pb.GetExperimentResponse:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        get,
        request_deserializer=pb.GetExperimentRequest.FromString,
        response_serializer=pb.GetExperimentResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE_NAME, {"GetExperiment": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(json.dumps({"grpc": f"127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(pb.GetExperimentResponse.FromString(bytes.fromhex(sys.argv[1]))))
