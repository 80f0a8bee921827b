"""The streaming server of the runtime: `kubectl exec`, `attach` and `port-forward` arrive here.

    spdy         SPDY/3.1 frames, without sockets
    websocket    WebSocket frames and channels, without sockets
    connections  one client's socket as streams, either protocol
    copying      between descriptors and streams, to be stopped at any moment
    sessions     a command, an attached container; the probes' ExecSync; what is asked of the runtime (`Backend`)
    forwarding   a pod's ports
    server       the URLs, the HTTP upgrade, threads

A connection has a thread that reads it and one that does its work, a command one more for its stdin and (on a terminal)
one for its size, a forwarded connection two. All of them end with the client.
"""

from campaigns.clusters.sandbox.cri.streaming.server import StreamingServer, TooManyRequestsError
from campaigns.clusters.sandbox.cri.streaming.sessions import Attachment, Backend, Execution, run_sync

__all__ = ["Attachment", "Backend", "Execution", "StreamingServer", "TooManyRequestsError", "run_sync"]
