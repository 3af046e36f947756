"""A collector that reads what OTLP over HTTP brings by OpenTelemetry's own classes, and by nothing else.

    python3 collector.py FILE PORT

Each span becomes a line of JSON in FILE. `POST /refuse` with a number in the body: so many exports are
answered 503 from now on.
"""

import http.server
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LOOPBACK = "127.0.0.1"
# By the specification ids are hex, where the mapping of protobuf has base64.
IDS = ("traceId", "spanId", "parentSpanId")


def with_bytes(node):
    """The same with ids as the mapping of protobuf wants them."""
    import base64

    if isinstance(node, list):
        return [with_bytes(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in IDS else with_bytes(value)
        for key, value in node.items()
    }


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    refusals = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/refuse":
            Collector.refusals = int(body)
            return self.reply(200, b"")
        if Collector.refusals:
            Collector.refusals -= 1
            return self.reply(503, b"later")
        if (self.path, self.headers["Content-Type"]) != ("/v1/traces", "application/json"):
            return self.reply(404, b"")
        # Unknown fields are errors here, other than in a real collector.
        export = json_format.ParseDict(with_bytes(json.loads(body)), ExportTraceServiceRequest())
        with open(sys.argv[1], "a") as file:
            for line in lines(export):
                file.write(json.dumps(line) + "\n")
        answer = json_format.MessageToJson(ExportTraceServiceResponse())
        return self.reply(200, answer.encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def lines(export):
    for resource in export.resource_spans:
        service = values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "service": service,
                    "name": span.name,
                    "kind": span.kind,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    "start": span.start_time_unix_nano / 1e9,
                    "failed": span.status.code == span.status.STATUS_CODE_ERROR,
                    "attributes": values(span.attributes),
                }


def values(attributes):
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value"))
        for attribute in attributes
    }


http.server.ThreadingHTTPServer((LOOPBACK, int(sys.argv[2])), Collector).serve_forever()
