import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { send } from './connection.ts';
import type { Reader, Reading } from './reader.ts';

/** Node's own parser (llhttp), with its defaults. */
export async function startNodeReader(): Promise<Reader> {
  const readings = new Map<number, Reading[]>();
  const server = createServer({ insecureHTTPParser: false }, (request, response) => {
    const port = request.socket.remotePort!;
    let bodyBytes = 0;
    request.on('error', () => {});
    request.on('data', (chunk: Buffer) => {
      bodyBytes += chunk.length;
    });
    request.on('end', () => {
      const hosts = request.rawHeaders.filter((_, at) => at % 2 === 1 && /^host$/i.test(request.rawHeaders[at - 1]!));
      const reading = { method: request.method!, target: request.url!, host: hosts.join('|'), bodyBytes };
      readings.set(port, [...(readings.get(port) ?? []), reading]);
      response.end();
    });
  });
  // Otherwise the client's FIN calls off what it had asked for.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    async read(bytes) {
      const clientPort = await send(port, bytes);
      const taken = readings.get(clientPort) ?? [];
      readings.delete(clientPort);
      return taken;
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
