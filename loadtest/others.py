"""Other proxies with the same work as the gateway's plain route: HTTP/1.1 and TLS with HTTP/2 towards
clients, two upstreams in turns on kept connections, `X-Forwarded-*`, no credentials, a trace begun.
Each is one process with one thread for traffic, on the core of the tested process.
"""

import os
import subprocess

from bed import ROOT, TESTED_CORE, Process, accepts, free_ports, wait_until

TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")


def certificate(folder):
    """Self-signed, P-256: files of certificate and key."""
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True, timeout=60,
    )
    return files


class Other(Process):
    """`port` is without TLS, `tls_port` with it."""

    def __init__(self, folder, certificate, upstreams):
        self.port, self.tls_port, *more = free_ports(3)
        # Envoy tells the language by the end of the name.
        file = folder / f"{type(self).__name__.lower()}.yaml"
        file.write_text(self.configuration(folder, certificate, upstreams, *more))
        super().__init__(self.command(folder, file), TESTED_CORE)
        for port in (self.port, self.tls_port):
            wait_until(lambda port=port: accepts(port), type(self).__name__)


class Nginx(Other):
    def command(self, folder, file):
        return ["nginx", "-e", "stderr", "-p", folder, "-c", file]

    def configuration(self, folder, certificate, upstreams, _):
        servers = "\n".join(f"    server 127.0.0.1:{port};" for port in upstreams)
        temporary = "\n".join(
            f"  {name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
{temporary}
  access_log off;
  keepalive_requests 10000;
  upstream two {{
{servers}
    keepalive 64;
    keepalive_requests 1000000;
  }}
  proxy_cache_path {folder}/kept keys_zone=kept:16m;
  server {{
    listen 127.0.0.1:{self.port};
    listen 127.0.0.1:{self.tls_port} ssl http2;
    ssl_certificate {certificate[0]};
    ssl_certificate_key {certificate[1]};
    ssl_protocols TLSv1.2 TLSv1.3;
    location /orders/ {{
      proxy_pass http://two;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "";
      proxy_set_header Host $proxy_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header traceparent "00-$request_id-0123456789abcdef-00";
    }}
    location /kept/ {{
      proxy_pass http://two;
      proxy_cache kept;
      proxy_cache_valid 10m;
    }}
  }}
}}
"""


class HaProxy(Other):
    def command(self, _folder, file):
        return ["haproxy", "-db", "-f", file]

    def configuration(self, folder, certificate, upstreams, _):
        together = folder / "both.pem"
        together.write_text(certificate[0].read_text() + certificate[1].read_text())
        servers = "\n".join(f"  server s{port} 127.0.0.1:{port}" for port in upstreams)
        return f"""
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option forwardfor
  http-reuse aggressive
frontend in
  bind 127.0.0.1:{self.port}
  bind 127.0.0.1:{self.tls_port} ssl crt {together} alpn h2,http/1.1 ssl-min-ver TLSv1.2
  acl orders path_beg /orders/
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header traceparent 00-%[uuid,regsub(-,,g)]-0123456789abcdef-00
  http-request del-header Authorization
  http-request set-header Host orders
  use_backend two if orders
backend two
  balance roundrobin
{servers}
"""


class Envoy(Other):
    def command(self, _folder, file):
        # Not the launcher beside it, whose processor time would be measured.
        [binary] = TARGET.glob("envoy/lib/python3*/site-packages/envoy/_bin/envoy")
        return [binary, "-c", file, "--concurrency", "1", "--base-id", str(self.port), "-l", "error"]

    def configuration(self, folder, certificate, upstreams, admin):
        endpoints = "".join(
            f"""
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}"""
            for port in upstreams
        )
        return f"""
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
{self.listener("plain", self.port, "")}
{self.listener("tls", self.tls_port, TRANSPORT.format(*certificate))}
  clusters:
  - name: two
    connect_timeout: 5s
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers: {{ thresholds: [{{ max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 }}] }}
    load_assignment:
      cluster_name: two
      endpoints:
      - lb_endpoints:{endpoints}
"""

    def listener(self, name, port, transport):
        return f"""
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - {transport}filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          use_remote_address: true
          generate_request_id: false
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_remove: [authorization]
              request_headers_to_add:
              - header: {{ key: x-forwarded-host, value: "%REQ(:AUTHORITY)%" }}
              - header: {{ key: traceparent, value: "00-%UNIQUE_ID%-0123456789abcdef-00" }}
              routes:
              - match: {{ prefix: "/orders/" }}
                route: {{ cluster: two, host_rewrite_literal: orders, timeout: 60s }}
"""


TRANSPORT = """transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {} }}
              private_key: {{ filename: {} }}
      """
