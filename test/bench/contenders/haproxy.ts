import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST, SECRET, type Upstream } from '../upstream.ts';
import type { Contender } from './contender.ts';
import { freePorts, type Ports, startProxy } from './process.ts';

/** haproxy with one thread that verifies the upstream and shares upstream connections between clients. */
export const haproxy: Contender = {
  name: 'haproxy',
  start: async (upstream) => {
    const ports = await freePorts();
    const config = join(upstream.dir, `haproxy-${ports.plain}.cfg`);
    writeFileSync(config, haproxyConfig(upstream, ports));
    return startProxy('haproxy', ['-db', '-f', config], ports);
  },
};

function haproxyConfig(upstream: Upstream, ports: Ports): string {
  return `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  option http-keep-alive
  http-reuse always
frontend agents
  bind 127.0.0.1:${ports.plain}
  bind 127.0.0.1:${ports.tls} ssl crt ${upstream.bundleFile} curves X25519:P-256 alpn http/1.1
  default_backend api
backend api
  http-request set-header Host ${upstream.authority}
  http-request set-header Authorization "Bearer ${SECRET}"
  server api 127.0.0.1:${upstream.port} ssl verify required ca-file ${upstream.caFile} sni str(${HOST}) verifyhost ${HOST} pool-max-conn 64
`;
}
