import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { errorText } from '../lib/errors.ts';
import { stateFiles } from '../lib/stateDir.ts';

/** Of a store in a cluster (charts/sidekey). */
const CONFIG_FILE = '/etc/sidekey/config.json';

/**
 * The other end of an `exec` into the store's container: hands standard input to the store's admin socket, and what that answers to
 * standard output. A program of its own, since every call of an owner starts one beside the store, in its container's memory.
 *
 * Arguments: the state directory, if it is not the one that the container's configuration names.
 */
function main(stateDir = configuredStateDir()): void {
  const path = stateFiles(stateDir).adminSocket;
  const socket = connect({ path, allowHalfOpen: true });
  socket.on('error', (error) => fail(`the store on ${path} cannot be reached: ${error.message}`));
  // Either side may end first; it is over when the store has said all, and what is on its way to whoever reads is not lost by our end.
  socket.on('end', () => socket.end());
  socket.on('close', () => process.stdout.write('', () => process.exit()));
  process.stdin.on('error', () => socket.destroy()).pipe(socket);
  socket.pipe(process.stdout, { end: false });
}

function configuredStateDir(): string {
  try {
    return JSON.parse(readFileSync(CONFIG_FILE, 'utf8')).stateDir;
  } catch (error) {
    return fail(`this is no container of a store: ${CONFIG_FILE} cannot be read: ${errorText(error)}`);
  }
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

main(...process.argv.slice(2, 3));
