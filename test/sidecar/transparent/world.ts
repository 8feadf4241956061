import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { BANNER_PORT, ODD_PORT } from './addresses.ts';

/** What is out there: a server for TLS and one for plain HTTP that tell what reached them, and one that speaks first. */
const [keyFile = '', certFile = ''] = process.argv.slice(2);
/** Requests for `/slow`, which are never answered, whose connections were closed. */
let givenUp = 0;
const tell: RequestListener = ({ headers, socket, url }, response) => {
  if (url === '/slow') {
    socket.once('close', () => {
      givenUp += 1;
    });
    return;
  }
  const { authorization, host } = headers;
  response.end(
    `${JSON.stringify({ authorization, givenUp, host, url, from: socket.remoteAddress, to: socket.localAddress })}\n`,
  );
};
const tls = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
await Promise.all([
  new Promise<void>((resolve) => createTlsServer(tls, tell).listen(443, '::', resolve)),
  new Promise<void>((resolve) => createTlsServer(tls, tell).listen(ODD_PORT, '::', resolve)),
  new Promise<void>((resolve) => createServer(tell).listen(80, '::', resolve)),
  new Promise<void>((resolve) =>
    createTcpServer((socket) => socket.end('220 at your service\r\n')).listen(BANNER_PORT, '::', resolve),
  ),
]);
console.log('ready');
