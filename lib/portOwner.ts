import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface PortOwner {
  pid: number;
  command: string;
}

/** State LISTEN in /proc/net/tcp. */
const LISTEN = '0A';

/** Which process listens on a TCP port of this machine, as far as we may see: other users' processes stay unknown. */
export function portOwner(port: number): PortOwner | undefined {
  try {
    return process.platform === 'linux' ? fromProc(port) : fromLsof(port);
  } catch {
    return undefined;
  }
}

/** `port 15080 is in use by nginx (pid 123)` */
export function portInUse(port: number): string {
  const owner = portOwner(port);
  return `port ${port} is in use${owner === undefined ? ' by another process' : ` by ${owner.command} (pid ${owner.pid})`}`;
}

function fromProc(port: number): PortOwner | undefined {
  const sockets = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of lines(table)) {
      const fields = line.trim().split(/\s+/);
      const [, local = '', , state] = fields;
      if (state === LISTEN && Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16) === port)
        sockets.add(`socket:[${fields[9]}]`);
    }
  }
  for (const pid of readdirSync('/proc')) {
    if (/^[0-9]+$/.test(pid) && holds(pid, sockets))
      return { pid: Number(pid), command: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() };
  }
  return undefined;
}

function lines(table: string): string[] {
  try {
    return readFileSync(table, 'latin1').split('\n').slice(1);
  } catch {
    return []; // No IPv6 on this machine.
  }
}

function holds(pid: string, sockets: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => sockets.has(readlinkSync(`/proc/${pid}/fd/${fd}`)));
  } catch {
    return false; // Gone meanwhile, or not ours to see.
  }
}

function fromLsof(port: number): PortOwner | undefined {
  const output = execFileSync('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], {
    encoding: 'utf8',
    timeout: 2_000,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const pid = /^p([0-9]+)$/m.exec(output)?.[1];
  const command = /^c(.+)$/m.exec(output)?.[1];
  return pid === undefined || command === undefined ? undefined : { pid: Number(pid), command };
}
