import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backend } from './backend.ts';
import { send } from './connection.ts';
import type { Reader } from './reader.ts';

const START_LIMIT_MS = 10_000;

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
    await listening(child, port);
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  let failure: Error | undefined;
  child.on('error', () => {
    failure = new Error('nginx is not installed: apt-get install -y nginx');
  });
  child.on('exit', (code) => {
    failure = new Error(`nginx ended with ${code}`);
  });
  for (let waitedMs = 0; waitedMs < START_LIMIT_MS; waitedMs += 20) {
    if (failure !== undefined) throw failure;
    const socket = connect(port, '127.0.0.1');
    const open = await Promise.race([once(socket, 'connect'), once(socket, 'close')]).then(
      () => !socket.destroyed,
      () => false,
    );
    socket.destroy();
    if (open) return;
    await sleep(20);
  }
  throw new Error('nginx does not listen');
}
