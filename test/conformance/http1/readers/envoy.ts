import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ENVOY } from '../../../bench/contenders/envoy.ts';
import { send } from './connection.ts';
import { freePort, listening } from './port.ts';
import type { Reader, Reading } from './reader.ts';

const PATIENCE_MS = 4_000;

/** `$ENVOY_BINARY`, or what is on PATH, or what `make bench` and CI install. Undefined: there is none. */
export function envoyBinary(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const onPath = (env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'envoy'));
  return [env.ENVOY_BINARY ?? '', ...onPath, ENVOY].find((file) => file !== '' && executable(file));
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A line of the access log: a request that was answered, or the end of a connection. */
type Line = { port: number; closed: true } | ({ port: number; status: number } & Reading);

/** Envoy, which answers by itself whatever it has read completely, and says in its log what that was. */
export async function startEnvoyReader(binary: string): Promise<Reader> {
  const directory = mkdtempSync(join(tmpdir(), 'sidekey-envoy-'));
  const port = await freePort();
  const config = join(directory, 'envoy.json');
  writeFileSync(config, JSON.stringify(configuration(port)));
  const flags = ['--concurrency', '1', '--disable-hot-restart', '--file-flush-interval-msec', '1', '-l', 'off'];
  const child = spawn(binary, ['-c', config, ...flags], { stdio: ['ignore', 'pipe', 'ignore'] });
  const log = new Log(child);
  const stop = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await listening(child, port, `${binary} cannot be started`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { read: async (bytes) => log.of(await send(port, bytes)), stop };
}

/** What Envoy says on standard output, by the port of its client. */
class Log {
  readonly #readings = new Map<number, Reading[]>();
  readonly #closed = new Map<number, () => void>();
  readonly #over = new Set<number>();

  constructor(child: ChildProcess) {
    createInterface({ input: child.stdout! }).on('line', (text) => this.#add(JSON.parse(text)));
  }

  /** All that was read on a connection, once Envoy says that it is over. @throws Error if it does not say so */
  async of(port: number): Promise<readonly Reading[]> {
    if (!this.#over.delete(port)) await this.#end(port);
    const readings = this.#readings.get(port) ?? [];
    this.#readings.delete(port);
    this.#over.delete(port);
    return readings;
  }

  #end(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`Envoy says nothing of port ${port}`)), PATIENCE_MS);
      this.#closed.set(port, () => {
        clearTimeout(timer);
        this.#closed.delete(port);
        resolve();
      });
    });
  }

  #add(line: Line): void {
    const { port } = line;
    if ('closed' in line) {
      this.#over.add(port);
      this.#closed.get(port)?.();
    } else if (line.status === 200) {
      const { method, target, host, bodyBytes } = line;
      this.#readings.set(port, [...(this.#readings.get(port) ?? []), { method, target, host: host ?? '', bodyBytes }]);
    }
  }
}

const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;
const toStdout = (format: object) => ({
  name: 'envoy.access_loggers.stdout',
  typed_config: {
    '@type': type('access_loggers.stream.v3.StdoutAccessLog'),
    log_format: { json_format: { port: '%DOWNSTREAM_REMOTE_PORT%', ...format } },
  },
});

function configuration(port: number) {
  const reading = {
    status: '%RESPONSE_CODE%',
    method: '%REQ(:METHOD)%',
    target: '%REQ(:PATH)%',
    host: '%REQ(:AUTHORITY)%',
    bodyBytes: '%BYTES_RECEIVED%',
  };
  const manager = {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
      stat_prefix: 'reader',
      codec_type: 'HTTP1',
      // As much as it can: what it refuses it cannot read differently.
      http_protocol_options: { accept_http_10: true },
      access_log: [toStdout(reading)],
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { safe_regex: { regex: '.*' } }, direct_response: { status: 200 } }],
          },
        ],
      },
      http_filters: [
        {
          // Answers only what has come to its end.
          name: 'envoy.filters.http.buffer',
          typed_config: { '@type': type('filters.http.buffer.v3.Buffer'), max_request_bytes: 1_000_000 },
        },
        { name: 'envoy.filters.http.router', typed_config: { '@type': type('filters.http.router.v3.Router') } },
      ],
    },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: 'reader',
          address: { socket_address: { address: '127.0.0.1', port_value: port } },
          access_log: [toStdout({ closed: true })],
          filter_chains: [{ filters: [manager] }],
        },
      ],
    },
  };
}
