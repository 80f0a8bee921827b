"""The yardstick for the forwarder: the same service as one would write it with grpc.aio, messages passed as bytes.

    python -m benchmarks.passthrough LISTEN UPSTREAM

It changes nothing and looks at nothing. The calls that kube-apiserver makes by the thousand are unary, so they are
handled as such here, which is grpc.aio's faster way; watches and leases' keep-alives are not passed.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import grpc.aio

NO_LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class _Passing(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, upstream: grpc.aio.Channel) -> None:
        self._upstream = upstream
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        found = self._handlers.get(details.method)
        if found is None:
            found = self._handlers[details.method] = self._handler(details.method)
        return found

    def _handler(self, method: str) -> grpc.RpcMethodHandler:
        call = self._upstream.unary_unary(method)

        async def passed(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                answer: bytes = await call(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            return answer

        return grpc.unary_unary_rpc_method_handler(passed)


async def _serve(listen: str, upstream: str) -> None:
    async with grpc.aio.insecure_channel(upstream, options=NO_LIMITS) as channel:
        server = grpc.aio.server(options=NO_LIMITS)
        server.add_generic_rpc_handlers((_Passing(channel),))
        server.add_insecure_port(listen)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
