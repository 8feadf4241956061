/** A response to a `method` request (GET if it does not say), one character per byte (latin1), and whether it is refused. */
export interface RefusedResponse {
  readonly name: string;
  readonly message: string;
  readonly method?: string;
}

/** `body`: what is read as its payload. `left`: bytes that are not part of it. */
export interface TakenResponse extends RefusedResponse {
  readonly status: number;
  readonly body: string;
  /** The connection ends with it. */
  readonly closes?: boolean;
  readonly left?: string;
  /** Statuses of the interim answers before it. */
  readonly interim?: readonly number[];
}

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

export const REFUSED_RESPONSES: readonly RefusedResponse[] = [
  { name: 'an empty line first', message: `\r\n${OK}Content-Length: 0\r\n\r\n` },
  { name: 'another protocol', message: 'SSH-2.0-OpenSSH_9.6\r\n\r\n' },
  { name: 'HTTP/0.9', message: '<html>\r\n\r\n' },
  { name: 'HTTP/2.0', message: 'HTTP/2.0 200 OK\r\n\r\n' },
  { name: 'HTTP/1.2', message: 'HTTP/1.2 200 OK\r\n\r\n' },
  { name: 'http/1.1', message: 'http/1.1 200 OK\r\n\r\n' },
  { name: 'no status', message: 'HTTP/1.1\r\n\r\n' },
  { name: 'a status of two digits', message: 'HTTP/1.1 20 OK\r\n\r\n' },
  { name: 'a status of four digits', message: 'HTTP/1.1 2000 OK\r\n\r\n' },
  { name: 'a status below 100', message: 'HTTP/1.1 099 OK\r\n\r\n' },
  { name: 'a status with a sign', message: 'HTTP/1.1 +20 OK\r\n\r\n' },
  { name: 'two spaces before the status', message: 'HTTP/1.1  200 OK\r\n\r\n' },
  { name: 'tab before the status', message: 'HTTP/1.1\t200 OK\r\n\r\n' },
  { name: 'NUL in the reason phrase', message: 'HTTP/1.1 200 O\0K\r\n\r\n' },
  { name: 'status line ended by LF', message: 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n' },
  { name: 'CR in the status line', message: 'HTTP/1.1 200 O\rK\r\n\r\n' },
  { name: 'field ended by LF', message: `${OK}X: 1\nContent-Length: 0\r\n\r\n` },
  { name: 'CR in a value', message: `${OK}X: a\rb\r\n\r\n` },
  { name: 'NUL in a value', message: `${OK}X: a\0\r\n\r\n` },
  { name: 'a folded value', message: `${OK}X: a\r\n b\r\n\r\n` },
  { name: 'space before a colon', message: `${OK}Content-Length : 0\r\n\r\n` },
  { name: 'a line without a colon', message: `${OK}X\r\n\r\n` },
  { name: 'CL with TE', message: `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n` },
  {
    name: 'CL with TE in the answer to HEAD',
    message: `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
    method: 'HEAD',
  },
  { name: 'CL that differ', message: `${OK}Content-Length: 5\r\nContent-Length: 0\r\n\r\n` },
  { name: 'CL that are equal', message: `${OK}Content-Length: 0\r\nContent-Length: 0\r\n\r\n` },
  { name: 'CL as a list', message: `${OK}Content-Length: 0, 0\r\n\r\n` },
  { name: 'CL that is no number', message: `${OK}Content-Length: x\r\n\r\n` },
  { name: 'TE: gzip, chunked', message: `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n` },
  { name: 'TE: identity', message: `${OK}Transfer-Encoding: identity\r\n\r\n` },
  { name: 'TE twice', message: `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n` },
  { name: 'TE in HTTP/1.0', message: 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' },
  { name: 'Connection names Set-Cookie', message: `${OK}Connection: set-cookie\r\nContent-Length: 0\r\n\r\n` },
  { name: 'chunk ended by LF', message: `${CHUNKED}1\r\na\n0\r\n\r\n` },
  { name: 'chunk size ended by LF', message: `${CHUNKED}1\na\r\n0\r\n\r\n` },
  { name: 'a chunk size that is no number', message: `${CHUNKED}x\r\na\r\n0\r\n\r\n` },
  { name: 'Set-Cookie as a trailer', message: `${CHUNKED}0\r\nSet-Cookie: a=b\r\n\r\n` },
  { name: 'a length that is not reached', message: `${OK}Content-Length: 5\r\n\r\nabc` },
  { name: 'chunks that do not end', message: `${CHUNKED}3\r\nabc\r\n` },
  { name: 'trailers that do not end', message: `${CHUNKED}0\r\nX: 1\r\n` },
];

export const TAKEN_RESPONSES: readonly TakenResponse[] = [
  { name: 'a length', message: `${OK}Content-Length: 5\r\n\r\nabcde`, status: 200, body: 'abcde' },
  {
    name: 'a length, and bytes after it',
    message: `${OK}Content-Length: 5\r\n\r\nabcdefg`,
    status: 200,
    body: 'abcde',
    left: 'fg',
  },
  { name: 'a length of 0', message: `${OK}Content-Length: 0\r\n\r\n`, status: 200, body: '' },
  { name: 'chunks', message: `${CHUNKED}2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n`, status: 200, body: 'abcde' },
  {
    name: 'chunks with trailers',
    message: `${CHUNKED}2\r\nab\r\n0\r\nX-Sum: 1\r\nETag: "x"\r\n\r\nHTTP`,
    status: 200,
    body: 'ab',
    left: 'HTTP',
  },
  {
    name: 'neither length nor chunks',
    message: `${OK}X: 1\r\n\r\nab\r\n\r\nc`,
    status: 200,
    body: 'ab\r\n\r\nc',
    closes: true,
  },
  { name: 'no reason phrase', message: 'HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na', status: 200, body: 'a' },
  {
    name: 'no reason phrase and no space',
    message: 'HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na',
    status: 200,
    body: 'a',
  },
  {
    name: 'a reason phrase above ASCII',
    message: 'HTTP/1.1 200 \xc3\xa9 t\t\r\nContent-Length: 1\r\n\r\na',
    status: 200,
    body: 'a',
  },
  { name: 'a status of its own', message: 'HTTP/1.1 999 No\r\nContent-Length: 1\r\n\r\na', status: 999, body: 'a' },
  {
    name: 'HEAD with a length',
    message: `${OK}Content-Length: 5\r\n\r\nHTTP`,
    method: 'HEAD',
    status: 200,
    body: '',
    left: 'HTTP',
  },
  { name: 'HEAD with chunks', message: CHUNKED, method: 'HEAD', status: 200, body: '' },
  {
    name: '304 with a length',
    message: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
    status: 304,
    body: '',
  },
  { name: '204', message: 'HTTP/1.1 204 No Content\r\n\r\n', status: 204, body: '' },
  {
    name: '204 with a length of 0',
    message: 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
    status: 204,
    body: '',
  },
  {
    name: '204 with a length',
    message: 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab',
    status: 204,
    body: '',
    closes: true,
    left: 'ab',
  },
  {
    name: '204 with chunks',
    message: 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n',
    status: 204,
    body: '',
    closes: true,
  },
  { name: '200 to CONNECT', message: `${OK}\r\n\x16\x03`, method: 'CONNECT', status: 200, body: '', left: '\x16\x03' },
  {
    name: '403 to CONNECT',
    message: 'HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno',
    method: 'CONNECT',
    status: 403,
    body: 'no',
  },
  {
    name: '100, 103, then the answer',
    message: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}Content-Length: 1\r\n\r\na`,
    status: 200,
    body: 'a',
    interim: [100, 103],
  },
  {
    name: '101',
    message: 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x00',
    status: 101,
    body: '',
    left: '\x81\x00',
  },
  {
    name: 'Connection: close',
    message: `${OK}Connection: Close\r\nContent-Length: 1\r\n\r\na`,
    status: 200,
    body: 'a',
    closes: true,
  },
  { name: 'HTTP/1.0', message: 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', status: 200, body: 'a', closes: true },
  {
    name: 'HTTP/1.0 that keeps the connection',
    message: 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na',
    status: 200,
    body: 'a',
  },
];
