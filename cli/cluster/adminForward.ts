import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Exec } from '@kubernetes/client-node';
import { loadKubeconfig } from '../../lib/kube/kubeconfig.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { type Folder, folderAt } from '../folder.ts';
import { type Access, isReady, type Pod } from './access.ts';
import { lead } from './execStream.ts';
import { release } from './release.ts';

/**
 * The admin socket of a store in a cluster, here: each connection is led through the API server into the store's pod, where
 * store/adminBridge.ts hands it on. So whoever may exec into that pod owns the store, and no port of it has to be open.
 */
export class AdminForward {
  /** Stands in for the folder of a store on this machine. */
  readonly folder: Folder;
  readonly #root: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  private constructor(exec: Exec, pod: Pod) {
    this.#root = mkdtempSync(join(tmpdir(), 'sidekey-kubectl-'));
    this.folder = folderAt(this.#root);
    mkdirSync(this.folder.files.dir, { recursive: true, mode: 0o700 });
    mkdirSync(dirname(this.folder.files.adminSocket), { recursive: true, mode: 0o700 });
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#connections.add(socket);
      socket.on('close', () => this.#connections.delete(socket));
      lead(socket, exec, pod);
    });
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
  static async to(access: Access, pod: Pod): Promise<AdminForward> {
    const { Exec } = await import('@kubernetes/client-node');
    const { context, kubeconfig: file } = access.flags;
    const forward = new AdminForward(new Exec(await loadKubeconfig({ context, file })), pod);
    await new Promise<void>((resolve, reject) => {
      forward.#server.once('error', reject).listen(forward.folder.files.adminSocket, resolve);
    });
    forward.#server.unref();
    return forward;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
