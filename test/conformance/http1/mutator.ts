import { REFUSED, TAKEN } from './corpus.ts';
import { REFUSED_RESPONSES, TAKEN_RESPONSES } from './responseCorpus.ts';

/** A client's bytes, or an upstream's with the method that they answer; one character per byte (latin1). */
export interface Input {
  readonly message: string;
  /** Of the request that it answers; undefined if it is a client's. */
  readonly answers: string | undefined;
}

const REQUESTS: readonly string[] = [...TAKEN, ...REFUSED].map(({ message }) => message);
const RESPONSES: readonly string[] = [...TAKEN_RESPONSES, ...REFUSED_RESPONSES].map(({ message }) => message);
const METHODS = ['GET', 'HEAD', 'POST', 'CONNECT'];
/** Longer ones would take all the time, and tell little more. */
const MESSAGE_LIMIT_BYTES = 4096;

/** What parsers trip over. */
const TOKENS = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  '\n\n',
  '\0',
  ' ',
  '\t',
  '\x0b',
  '\x0c',
  '\x7f',
  '\x80',
  '\xff',
  ':',
  ';',
  ',',
  '"',
  '#',
  '@',
  '%',
  '\\',
  '//',
  '*',
  '0\r\n\r\n',
  '0\r\nX: 1\r\n\r\n',
  '5\r\nabcde\r\n',
  '1;a=b\r\nx\r\n',
  'ffffffffffffffff\r\n',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/2.0',
  'GET / HTTP/1.1\r\n',
  'Host: a.example\r\n',
  'Host:',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Connection: close\r\n',
  'Connection: upgrade\r\n',
  'Upgrade: websocket\r\n',
  'Connection: x\r\n',
  'Expect: 100-continue\r\n',
  'Trailer: X\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n',
  'HTTP/1.1 304 X\r\n',
  'Keep-Alive: timeout=5\r\n',
  'chunked',
  '9007199254740993',
];

/** A stream of numbers below 1 that a seed determines (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** A message of the corpus, changed in a few places. */
export function mutant(random: Random): Input {
  const isRequest = random.next() < 0.7;
  const corpus = isRequest ? REQUESTS : RESPONSES;
  let message = random.pick(corpus).slice(0, MESSAGE_LIMIT_BYTES);
  for (let changes = random.below(5); changes > 0; changes--) message = change(message, corpus, random);
  return { message: message.slice(0, 2 * MESSAGE_LIMIT_BYTES), answers: isRequest ? undefined : random.pick(METHODS) };
}

function change(message: string, corpus: readonly string[], random: Random): string {
  const at = random.below(message.length + 1);
  const end = Math.min(message.length, at + 1 + random.below(random.next() < 0.5 ? 3 : 40));
  switch (random.below(7)) {
    case 0:
      return message.slice(0, at) + String.fromCharCode(random.below(256)) + message.slice(at + 1);
    case 1:
      return message.slice(0, at) + random.pick(TOKENS) + message.slice(at);
    case 2:
      return message.slice(0, at) + random.pick(TOKENS) + message.slice(end);
    case 3:
      return message.slice(0, at) + message.slice(end);
    case 4:
      return message.slice(0, end) + message.slice(at);
    case 5: {
      const other = random.pick(corpus).slice(0, MESSAGE_LIMIT_BYTES);
      return message.slice(0, at) + other.slice(random.below(other.length + 1));
    }
    default:
      return changeLine(message, random);
  }
}

/** Takes a line out, or puts one before another: such messages stay well-formed more often than others. */
function changeLine(message: string, random: Random): string {
  const lines = message.split('\r\n');
  const [line] = lines.splice(random.below(lines.length), 1);
  if (random.next() < 0.7)
    lines.splice(random.below(lines.length + 1), 0, line!, ...(random.next() < 0.3 ? [line!] : []));
  return lines.join('\r\n');
}
