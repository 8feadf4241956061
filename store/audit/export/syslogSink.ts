import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { AuditEntry } from '../../../api/admin.ts';
import type { AuditFormat } from '../../../lib/audit/format.ts';
import { TLS_DEFAULTS } from '../../../lib/tls.ts';
import type { SyslogTarget } from './config.ts';
import type { AuditSink } from './sink.ts';
import { syslogMessages } from './syslogMessage.ts';

const CONNECT_MS = 10_000;
const WRITE_MS = 30_000;
/** Most that IPv4 carries in one datagram; what is longer loses the end of its text (RFC 5426 section 3.2). */
const DATAGRAM_LIMIT_BYTES = 65_000;

/**
 * Syslog over TCP or TLS with octet counting (RFC 6587 section 3.4.1, RFC 5425), or over UDP (RFC 5426).
 *
 * Syslog acknowledges nothing. What was handed to a connection that then breaks may not have arrived, so the last batch is sent
 * again over the next one. Over UDP what is lost is lost.
 */
export class SyslogSink implements AuditSink {
  readonly #target: SyslogTarget;
  readonly #format: AuditFormat;
  #stream: Socket | undefined;
  #datagrams: DatagramSocket | undefined;
  #last: Buffer | undefined;
  #closed = false;

  constructor(target: SyslogTarget, format: AuditFormat) {
    this.#target = target;
    this.#format = format;
  }

  async send(entries: readonly AuditEntry[]): Promise<void> {
    const messages = entries.flatMap((entry) => syslogMessages(entry, this.#format, this.#target.facility));
    if (this.#target.transport === 'UDP') {
      for (const message of messages) await this.#datagram(message);
      return;
    }
    const frames = Buffer.concat(messages.flatMap((message) => [Buffer.from(`${message.length} `), message]));
    if (this.#stream === undefined || this.#stream.destroyed) {
      this.#stream = await this.#connect();
      if (this.#last !== undefined) await this.#write(this.#stream, this.#last);
    }
    await this.#write(this.#stream, frames);
    this.#last = frames;
  }

  close(): void {
    this.#closed = true;
    this.#stream?.destroy();
    this.#datagrams?.close();
    this.#datagrams = undefined;
  }

  #connect(): Promise<Socket> {
    const { caFile, host, port, transport } = this.#target;
    return new Promise((resolve, reject) => {
      const tls = transport === 'TLS';
      const socket = tls
        ? connectTls({
            ...TLS_DEFAULTS,
            host,
            port,
            ...(isIP(host) === 0 && { servername: host }),
            ...(caFile !== undefined && { ca: readFileSync(caFile) }),
          })
        : connect({ host, port });
      const timer = setTimeout(() => socket.destroy(new Error('no connection within 10 s')), CONNECT_MS);
      socket.once(tls ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer);
        socket.setKeepAlive(true, WRITE_MS);
        if (this.#closed) socket.destroy();
        resolve(socket);
      });
      socket.on('error', reject);
      socket.on('end', () => socket.destroy());
      // A receiver has nothing to say.
      socket.resume();
      socket.on('close', () => {
        clearTimeout(timer);
        reject(new Error('the connection was closed'));
        if (this.#stream === socket) this.#stream = undefined;
      });
    });
  }

  #write(socket: Socket, bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const failed = () => reject(new Error('the connection was closed'));
      const timer = setTimeout(() => socket.destroy(new Error('the receiver does not read')), WRITE_MS);
      socket.once('close', failed);
      socket.write(bytes, (error) => {
        clearTimeout(timer);
        socket.off('close', failed);
        if (error) reject(error);
        else resolve();
      });
      if (socket.destroyed) failed();
    });
  }

  #datagram(message: Buffer): Promise<void> {
    const { host, port } = this.#target;
    this.#datagrams ??= createSocket(isIP(host) === 6 ? 'udp6' : 'udp4').on('error', () => {});
    return new Promise((resolve, reject) => {
      this.#datagrams!.send(message.subarray(0, DATAGRAM_LIMIT_BYTES), port, host, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }
}
