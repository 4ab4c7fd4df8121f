"""A collector of traces that speaks OTLP over HTTP, by OpenTelemetry's own protobuf definitions.

Arguments: the port on loopback, and a file. Each span is written there as a line of JSON, with its resource; what cannot be parsed as a
line with `fault`. A GET of /status/503 has it answer 503 from then on, and of /status/200 be well again.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

status = 200


def values(attributes) -> dict:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def lines(request):
    for resource_spans in request.resource_spans:
        resource = values(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    "resource": resource,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "begin": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": values(span.attributes),
                    "status": span.status.code,
                    "whole": MessageToDict(span),
                }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global status
        status = int(self.path.rsplit("/", 1)[1])
        self.answer(200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = []
        try:
            if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
                raise ValueError(f"{self.path} {self.headers['Content-Type']}")
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            told = list(lines(request))
        except Exception as fault:
            told = [{"fault": repr(fault)}]
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.writelines(json.dumps({**line, "answered": status, "authorization": self.headers.get("Authorization")}) + "\n" for line in told)
        self.answer(status, ExportTraceServiceResponse().SerializeToString())

    def answer(self, code: int, body: bytes):
        self.send_response(code)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
