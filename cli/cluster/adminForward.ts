import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { loadKubeconfig } from '../../lib/kube/kubeconfig.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { type Folder, folderAt } from '../folder.ts';
import { type Access, isReady, type Pod } from './access.ts';
import { release } from './release.ts';

/** What `sidekey admin-bridge` of the image is called by. */
const BRIDGE = ['/usr/local/bin/node', '/sidekey/cli.mjs', 'admin-bridge'];
const CONTAINER = 'store';

/**
 * The admin socket of a store in a cluster, here: each connection is led through the API server into the store's pod, where
 * `sidekey admin-bridge` hands it on. So whoever may exec into that pod owns the store, and no port of it has to be open.
 */
export class AdminForward {
  /** Stands in for the folder of a store on this machine. */
  readonly folder: Folder;
  readonly #root: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  private constructor(root: string, server: Server) {
    this.#root = root;
    this.#server = server;
    this.folder = folderAt(root);
    mkdirSync(this.folder.files.dir, { recursive: true, mode: 0o700 });
    mkdirSync(dirname(this.folder.files.adminSocket), { recursive: true, mode: 0o700 });
  }

  /** To whichever replica serves. @throws CliError NotInstalled, StoreNotReady, NoCluster */
  static async open(access: Access): Promise<AdminForward> {
    const { namespace, pods } = await release(access, 'store');
    // A sealed store is not ready, and has an owner to speak to all the same.
    const pod = pods.find(isReady) ?? pods.find(({ status }) => status?.phase === 'Running');
    if (pod === undefined)
      throw new CliError('StoreNotReady', `no pod of the store runs in namespace ${namespace}`, {
        exit: EXIT.notRunning,
        next: `see why: kubectl -n ${namespace} describe pods -l app.kubernetes.io/component=store`,
      });
    return AdminForward.to(access, pod);
  }

  /** To the store in that pod. */
  static async to(access: Access, { metadata: { name, namespace } }: Pod): Promise<AdminForward> {
    const { Exec } = await import('@kubernetes/client-node');
    const { context, kubeconfig: file } = access.flags;
    const exec = new Exec(await loadKubeconfig({ context, file }));
    let forward: AdminForward;
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      forward.#connections.add(socket);
      socket.on('close', () => forward.#connections.delete(socket));
      socket.on('error', () => socket.destroy());
      const said = new PassThrough();
      const stdin = socket.pipe(new PassThrough());
      exec
        .exec(namespace, name, CONTAINER, BRIDGE, socketWriter(socket), said, stdin, false, (status) => {
          if (status.status === 'Success') socket.end();
          else socket.destroy(new Error(status.message));
        })
        .then((ws) => {
          if (socket.destroyed) ws.close();
          else socket.on('close', () => ws.close());
        })
        .catch((error: Error) => socket.destroy(error));
      said.resume();
    });
    forward = new AdminForward(mkdtempSync(join(tmpdir(), 'sidekey-kubectl-')), server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(forward.folder.files.adminSocket, resolve);
    });
    server.unref();
    return forward;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** The socket as a stream that the end of the command's output does not close before its status is known. */
function socketWriter(socket: Socket): Writable {
  return new Writable({
    write: (chunk, _encoding, done) => {
      socket.write(chunk, () => done());
    },
  });
}
