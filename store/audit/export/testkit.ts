import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { onTestFinished } from 'vitest';
import { z } from 'zod';

export interface ParsedSyslog {
  priority: number;
  at: string;
  host: string;
  app: string;
  process: string;
  messageId: string;
  data: Record<string, string>;
  text: string;
}

const HEADER =
  /^<([0-9]{1,3})>1 ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) /;

/** A message by the grammar of RFC 5424 section 6, and nothing else. @throws Error */
export function parseSyslog(bytes: Buffer): ParsedSyslog {
  const message = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  const header = HEADER.exec(message);
  if (header === null) throw new Error(`no RFC 5424 header: ${message.slice(0, 200)}`);
  const [whole, priority, at, host, app, process, messageId] = header as unknown as string[];
  if (Number(priority) > 191) throw new Error(`PRI ${priority}`);
  let rest = message.slice(whole!.length);
  const data: Record<string, string> = {};
  const open = /^\[[!-~]{1,32}?(?=[ \]])/.exec(rest);
  if (open === null || /[="]/.test(open[0])) throw new Error('no structured data');
  rest = rest.slice(open[0].length);
  while (!rest.startsWith(']')) {
    const parameter = /^ ([^\s="\]]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/.exec(rest);
    if (parameter === null) throw new Error(`no SD-PARAM: ${rest.slice(0, 100)}`);
    data[parameter[1]!] = parameter[2]!.replace(/\\(["\\\]])/g, '$1');
    rest = rest.slice(parameter[0].length);
  }
  if (!rest.startsWith('] \ufeff')) throw new Error('no BOM before the text');
  return {
    priority: Number(priority),
    at: at!,
    host: host!,
    app: app!,
    process: process!,
    messageId: messageId!,
    data,
    text: rest.slice(3),
  };
}

/** A syslog receiver over TCP or TLS that takes octet counting (RFC 6587 section 3.4.1) and nothing else. */
export class SyslogReceiver {
  readonly messages: ParsedSyslog[] = [];
  readonly faults: Error[] = [];
  readonly sockets: Socket[] = [];
  port = 0;
  #server: Server | undefined;
  readonly #tls: TlsOptions | undefined;

  constructor(tls?: TlsOptions) {
    this.#tls = tls;
    onTestFinished(() => this.stop());
  }

  async start(): Promise<this> {
    const accept = (socket: Socket) => this.#accept(socket);
    this.#server = this.#tls === undefined ? createServer(accept) : createTlsServer(this.#tls, accept);
    await once(this.#server.listen(this.port, '127.0.0.1'), 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  stop(): void {
    this.#server?.close();
    for (const socket of this.sockets.splice(0)) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.sockets.push(socket);
    let held = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      try {
        for (;;) {
          const space = held.indexOf(0x20);
          if (space === -1) {
            if (held.length > 10) throw new Error('no octet count');
            return;
          }
          const count = held.toString('latin1', 0, space);
          if (!/^[1-9][0-9]*$/.test(count)) throw new Error(`octet count ${JSON.stringify(count)}`);
          const end = space + 1 + Number(count);
          if (held.length < end) return;
          this.messages.push(parseSyslog(held.subarray(space + 1, end)));
          held = held.subarray(end);
        }
      } catch (error) {
        this.faults.push(error as Error);
        socket.destroy();
      }
    });
  }
}

const Scalar = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ boolValue: z.boolean() }),
  // 64-bit integers are decimal strings in the JSON mapping.
  z.strictObject({ intValue: z.string().regex(/^-?[0-9]{1,19}$/) }),
  z.strictObject({ doubleValue: z.number() }),
]);
const AnyValue: z.ZodType<unknown> = z.lazy(() =>
  z.union([
    Scalar,
    z.strictObject({ arrayValue: z.strictObject({ values: z.array(AnyValue) }) }),
    z.strictObject({ kvlistValue: z.strictObject({ values: z.array(KeyValue) }) }),
  ]),
);
const KeyValue = z.strictObject({ key: z.string().min(1), value: AnyValue });
const Attributes = z
  .array(KeyValue)
  .refine((all) => new Set(all.map(({ key }) => key)).size === all.length, { error: 'a key is there twice' });
const Nanos = z.string().regex(/^[1-9][0-9]{18}$/);

/** ExportLogsServiceRequest in the JSON mapping of opentelemetry-proto 1.x; members that it does not have are refused. */
export const ExportLogsServiceRequest = z.strictObject({
  resourceLogs: z
    .array(
      z.strictObject({
        resource: z.strictObject({ attributes: Attributes }),
        scopeLogs: z.array(
          z.strictObject({
            scope: z.strictObject({ name: z.string(), version: z.string() }),
            logRecords: z.array(
              z.strictObject({
                timeUnixNano: Nanos,
                observedTimeUnixNano: Nanos,
                severityNumber: z.int().min(1).max(24),
                severityText: z.string(),
                eventName: z.string(),
                body: AnyValue,
                attributes: Attributes,
              }),
            ),
          }),
        ),
      }),
    )
    .min(1),
});

/** An OTLP receiver that checks strictly. `next` says how the next request is answered. */
export class OtlpReceiver {
  /** `log.record.uid` of all that was taken, in order. */
  readonly ids: string[] = [];
  readonly faults: unknown[] = [];
  readonly headers: Record<string, unknown>[] = [];
  answer: () => { status: number; headers?: Record<string, string>; body?: unknown } = () => ({
    status: 200,
    body: {},
  });
  port = 0;

  async start(): Promise<this> {
    const server = createHttpServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.headers.push(request.headers);
        const { status, headers = {}, body } = this.answer();
        if (status === 200) this.#take(request.method, request.url, request.headers, Buffer.concat(chunks));
        response.writeHead(status, { 'content-type': 'application/json', ...headers });
        response.end(JSON.stringify(body ?? {}));
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    this.port = (server.address() as AddressInfo).port;
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return this;
  }

  #take(method: string | undefined, url: string | undefined, headers: Record<string, unknown>, body: Buffer): void {
    const parsed = ExportLogsServiceRequest.safeParse(JSON.parse(body.toString()));
    if (method !== 'POST' || url !== '/v1/logs' || headers['content-type'] !== 'application/json')
      this.faults.push(`${method} ${url} ${headers['content-type']}`);
    if (!parsed.success) {
      this.faults.push(parsed.error.issues);
      return;
    }
    for (const { scopeLogs } of parsed.data.resourceLogs)
      for (const { logRecords } of scopeLogs)
        for (const { attributes } of logRecords) {
          const id = attributes.find(({ key }) => key === 'log.record.uid')?.value as { stringValue: string };
          this.ids.push(id.stringValue);
        }
  }
}
