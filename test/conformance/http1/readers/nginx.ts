import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Backend } from './backend.ts';
import { send } from './connection.ts';
import { freePort, listening } from './port.ts';
import type { Reader } from './reader.ts';

/** nginx as a reverse proxy, with its defaults for what it reads. @throws Error if it is not installed */
export async function startNginxReader(): Promise<Reader> {
  const directory = mkdtempSync(join(tmpdir(), 'sidekey-nginx-'));
  const backend = await Backend.start();
  const port = await freePort();
  writeFileSync(join(directory, 'nginx.conf'), configuration(directory, port, backend.port));
  const child = spawn(
    'nginx',
    ['-p', directory, '-c', join(directory, 'nginx.conf'), '-e', join(directory, 'error.log')],
    {
      stdio: 'ignore',
    },
  );
  const stop = async (): Promise<void> => {
    backend.stop();
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await listening(child, port, 'nginx is not installed: apt-get install -y nginx');
  } catch (error) {
    await stop();
    throw error;
  }
  return { read: async (bytes) => backend.take(await send(port, bytes)), stop };
}

function configuration(directory: string, port: number, backendPort: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${directory}/${name};`)
    .join('\n  ');
  return `daemon off;
master_process off;
pid ${directory}/nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  ${temporary}
  # The limits that our own corpus keeps to.
  large_client_header_buffers 8 16k;
  server {
    listen 127.0.0.1:${port} default_server;
    location / {
      proxy_pass http://127.0.0.1:${backendPort}/;
      proxy_method POST;
      proxy_pass_request_headers off;
      proxy_ignore_client_abort on;
      proxy_set_header x-read-port $remote_port;
      proxy_set_header x-read-method $request_method;
      proxy_set_header x-read-target $request_uri;
      proxy_set_header x-read-host $http_host;
    }
  }
}
`;
}
