import { readFile } from 'node:fs';
import type { Socket } from 'node:net';
import { endianness } from 'node:os';
import { addressBytes } from '../../lib/addressBytes.ts';

/** The column of /proc/net/tcp behind the addresses that holds the inode; 0: no process has the socket open any more. */
const INODE_COLUMN = 7;

/**
 * Tells whether a local agent has closed its socket altogether, after its FIN.
 *
 * A FIN alone may be just the end of a request whose answer is still awaited (half-close), and the network tells no more until
 * something is written. An agent that gave up must not leave a model computing, though; as it shares our network namespace, the
 * kernel's table of sockets has both ends. Elsewhere than on Linux, and for peers elsewhere, nothing is known.
 */
export class ClosedPeers {
  #waiting: { socket: Socket; gone: () => void }[] = [];
  #reading = false;

  /** Calls back, later, if the other end is closed. */
  ask(socket: Socket, gone: () => void): void {
    if (process.platform !== 'linux') return;
    this.#waiting.push({ socket, gone });
    if (!this.#reading) this.#read();
  }

  /** One reading of the table answers all who have asked. */
  #read(): void {
    this.#reading = true;
    const asked = this.#waiting;
    this.#waiting = [];
    const v6 = asked.some(({ socket }) => socket.remoteFamily === 'IPv6');
    readFile(v6 ? '/proc/net/tcp6' : '/proc/net/tcp', 'latin1', (error, table) => {
      this.#reading = false;
      if (error === null) for (const { socket, gone } of asked) if (isClosed(table, socket)) gone();
      if (this.#waiting.length > 0) this.#read();
    });
  }
}

function isClosed(table: string, socket: Socket): boolean {
  const theirs = endpoint(socket.remoteAddress, socket.remotePort);
  const ours = endpoint(socket.localAddress, socket.localPort);
  if (theirs === undefined || ours === undefined) return false;
  const columns = columnsBehind(table, `: ${theirs} ${ours} `) ?? onlyColumnsBehind(table, `: ${theirs} `);
  return columns?.[INODE_COLUMN - 1] === '0';
}

/** A redirected peer has the address that it dialled for the other end, which we are not told: its own one must do, if it is but once there. */
function onlyColumnsBehind(table: string, local: string): string[] | undefined {
  const start = table.indexOf(local);
  if (start === -1 || table.includes(local, start + 1)) return undefined;
  // Without the address of the other end, which is the first column then.
  return columnsBehind(table, local)?.slice(1);
}

function columnsBehind(table: string, start: string): string[] | undefined {
  const at = table.indexOf(start);
  if (at === -1) return undefined;
  const end = table.indexOf('\n', at);
  return table.slice(at + start.length, end === -1 ? undefined : end).split(/ +/);
}

/** As the table writes it: each 32-bit word of the address in the byte order of the machine. */
function endpoint(address: string | undefined, port: number | undefined): string | undefined {
  const bytes = address === undefined || port === undefined ? undefined : addressBytes(address);
  if (bytes === undefined || port === undefined) return undefined;
  const words = Buffer.from(bytes);
  if (endianness() === 'LE') words.swap32();
  return `${words.toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}
