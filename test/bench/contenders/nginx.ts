import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST, nginxHead, SECRET, type Upstream } from '../upstream.ts';
import type { Contender } from './contender.ts';
import { freePorts, type Ports, startProxy } from './process.ts';

/** nginx as a reverse proxy that verifies the upstream, keeps its connections and spools nothing to disk. */
export const nginx: Contender = {
  name: 'nginx',
  start: async (upstream) => {
    const ports = await freePorts();
    const config = join(upstream.dir, `nginx-${ports.plain}.conf`);
    writeFileSync(config, nginxConfig(upstream, ports));
    return startProxy('nginx', ['-c', config, '-e', 'stderr'], ports);
  },
};

function nginxConfig(upstream: Upstream, ports: Ports): string {
  return `${nginxHead(upstream.dir, `nginx-${ports.plain}`)}
  tcp_nodelay on;
  upstream api { server 127.0.0.1:${upstream.port}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 300s; }
  server {
    listen 127.0.0.1:${ports.plain};
    listen 127.0.0.1:${ports.tls} ssl;
    ssl_certificate ${upstream.certFile}; ssl_certificate_key ${upstream.keyFile};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:prime256v1;
    location / {
      proxy_pass https://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host ${upstream.authority};
      proxy_set_header Authorization "Bearer ${SECRET}";
      proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_server_name on; proxy_ssl_name ${HOST};
      proxy_ssl_verify on; proxy_ssl_trusted_certificate ${upstream.caFile};
      proxy_request_buffering off; proxy_max_temp_file_size 0;
    }
  }
}
`;
}
