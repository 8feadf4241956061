import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { stateFiles } from '../../lib/stateDir.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';

/** Of a store in a cluster (charts/sidekey). */
const CONFIG_FILE = '/etc/sidekey/config.json';

/** Hands standard input to the store's admin socket and what that answers to standard output: the other end of `kubectl exec`. */
export async function adminBridge(stateDir: string | undefined): Promise<void> {
  const path = stateFiles(stateDir ?? configuredStateDir()).adminSocket;
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.on('error', (error) =>
      reject(
        new CliError('NotRunning', `the store on ${path} cannot be reached: ${error.message}`, {
          exit: EXIT.notRunning,
          cause: error,
        }),
      ),
    );
    // Either side may end first; it is over when the store has said all.
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve());
    process.stdin.on('error', () => socket.destroy()).pipe(socket);
    socket.pipe(process.stdout, { end: false });
  });
  // What is still on its way to whoever reads is not lost by our end.
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
}

function configuredStateDir(): string {
  try {
    return JSON.parse(readFileSync(CONFIG_FILE, 'utf8')).stateDir;
  } catch (error) {
    throw new CliError('NoStore', `this is no container of a store: ${CONFIG_FILE} cannot be read`, {
      exit: EXIT.notRunning,
      next: 'name its directory with --state-dir',
      cause: error,
    });
  }
}
