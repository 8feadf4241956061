import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { createSecureContext, TLSSocket, connect as tlsConnect } from 'node:tls';
import { ClientHelloReader, type HelloProgress } from '../../sidecar/listen/clientHello.ts';
import { createTestCa } from '../../sidecar/upstream/testkit.ts';
import { Random } from '../conformance/http1/mutator.ts';

const CONTEXT = createSecureContext(createTestCa('fuzz').issue());
const CLIENTS = [
  { servername: 'api.example.test' },
  { servername: 'api.example.test', maxVersion: 'TLSv1.2' as const },
  { servername: 'a.test', ALPNProtocols: ['h2', 'http/1.1'], minVersion: 'TLSv1.3' as const },
  {},
];

/**
 * Mutates ClientHellos of real clients for so many seconds: nothing throws, cuts make no difference, and where OpenSSL finds a server name, ours
 * is the same or the bytes are refused. @throws with the bytes and the seed
 */
export async function fuzzClientHello(seconds: number, seed: number): Promise<void> {
  const random = new Random(seed);
  const hellos = await Promise.all(CLIENTS.map(helloOf));
  const endMs = performance.now() + seconds * 1_000;
  let agreed = 0;
  for (let run = 0; performance.now() < endMs; run += 1) {
    const bytes = mutated(random, hellos);
    const whole = read(bytes);
    const cut = random.below(bytes.length + 1);
    const repeat = `${bytes.toString('hex')} cut at ${cut}, run ${run} of seed ${seed}`;
    const inTwo = read(bytes.subarray(0, cut), bytes.subarray(cut));
    assert.deepEqual(inTwo, whole, repeat);
    if (whole.kind !== 'hello') continue;
    const theirs = await openSslName(bytes);
    if (theirs === undefined) continue;
    assert.equal(whole.serverName ?? '', theirs.toLowerCase(), repeat);
    agreed += 1;
  }
  assert.ok(agreed > 0, 'no mutant was read by both');
}

function read(...chunks: Buffer[]): HelloProgress {
  const reader = new ClientHelloReader();
  let progress: HelloProgress = { kind: 'incomplete' };
  for (const chunk of chunks) {
    progress = reader.push(chunk);
    if (progress.kind !== 'incomplete') break;
  }
  return progress;
}

function mutated(random: Random, hellos: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(hellos[random.below(hellos.length)]!);
  for (let count = random.below(4); count > 0; count -= 1) {
    const at = random.below(bytes.length);
    switch (random.below(4)) {
      case 0:
        bytes[at] = random.below(256);
        break;
      case 1:
        bytes[at] = bytes[at]! ^ (1 << random.below(8));
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(8))]);
        break;
      default: {
        const other = hellos[random.below(hellos.length)]!;
        const from = random.below(other.length);
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          other.subarray(from, from + random.below(64)),
          bytes.subarray(at),
        ]);
      }
    }
  }
  return bytes;
}

async function helloOf(options: object): Promise<Buffer> {
  const wire = new Wire();
  // It may be written at once.
  const written = once(wire, 'written');
  const client = tlsConnect({ socket: wire, ...options }).on('error', () => {});
  const [bytes] = await written;
  client.destroy();
  return bytes;
}

/** The server name that OpenSSL reads, empty if none; undefined if it reads no ClientHello. */
function openSslName(bytes: Buffer): Promise<string | undefined> {
  return new Promise((resolve) => {
    const wire = new Wire();
    const server = new TLSSocket(wire, {
      isServer: true,
      secureContext: CONTEXT,
      SNICallback: (name, callback) => {
        resolve(name);
        callback(null, CONTEXT);
      },
    });
    const done = () => {
      clearTimeout(late);
      resolve(undefined);
      server.destroy();
    };
    server.on('error', done);
    // A ServerHello without a question for a name: there was none.
    wire.on('written', (answer: Buffer) => {
      if (answer[0] === 0x16) resolve('');
      done();
    });
    wire.push(bytes);
    const late = setTimeout(done, 50);
  });
}

/** What one end of a connection reads and writes. */
class Wire extends Duplex {
  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.emit('written', chunk);
    callback();
  }
}
